import { randomBytes, randomUUID } from 'node:crypto';
import { ConfigError, describeConfig, parseConfig as parseEnvironment } from '../../src/config/config';
import { productionEnvironment } from '../support/hub/production-environment';

const PRODUCTION = productionEnvironment();

/** An environment for development, unless it says otherwise. */
const parseConfig = (env: Readonly<Record<string, string | undefined>>) =>
  parseEnvironment({ NODE_ENV: 'development', ...env });

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('an environment of nothing but NODE_ENV=development', () => {
  it('is a hub for development, with the defaults of the contract', () => {
    expect(parseConfig({})).toMatchObject({
      production: false,
      port: 8000,
      role: 'all',
      databaseUrl: undefined,
      dataDir: '.data',
      tokens: { rgs: ['change_token'], operator: ['change_token'], ops: ['change_token'], finance: ['change_token'] },
      hmacSecret: 'change_secret',
      operatorHmacSecret: 'change_secret',
      signatureRequired: true,
      timestampSkewSeconds: 300,
      operatorBaseUrl: 'http://localhost:8001/',
      rgsWebhookUrl: 'http://localhost:8002/webhooks',
      supportedCurrencies: ['USD', 'EUR'],
      playerIdTemplate: '{playerId}',
      operatorTimeoutMs: 10_000,
      maxRetries: 3,
      retryBackoffSeconds: 1,
      rateLimitPerMinute: 6000,
      allowClearDb: true,
    });
  });

  it('is the same as one in which every variable is set to nothing, as compose files do', () => {
    const read = new Set<string>();
    parseEnvironment(
      new Proxy({}, { get: (_target, name) => (name === 'NODE_ENV' ? 'test' : void read.add(String(name))) }),
    );
    expect(read.size).toBeGreaterThan(30);
    expect(parseConfig(Object.fromEntries([...read].map((name) => [name, '  '])))).toEqual(parseConfig({}));
  });
});

describe('a token', () => {
  it('of its own opens its access beside BEARER_TOKEN, which opens all four', () => {
    expect(parseConfig({ RGS_TOKEN: 'mine', BEARER_TOKEN: 'master' }).tokens).toEqual({
      rgs: ['mine', 'master'],
      operator: ['master'],
      ops: ['master'],
      finance: ['master'],
    });
  });

  it('that equals BEARER_TOKEN stands once', () => {
    expect(parseConfig({ RGS_TOKEN: 'change_token' }).tokens.rgs).toEqual(['change_token']);
  });

  it.each(['two words', 'tökén', 'a'.repeat(513), 'tab\tbed'])(
    '%j could never be sent in a header, so it is refused',
    (token) => {
      expect(faultsOf({ OPS_TOKEN: token })).toEqual([
        expect.stringMatching(/^OPS_TOKEN must be 1 to 512 visible ASCII/),
      ]);
    },
  );
});

it('OPERATOR_HMAC_SECRET is its own secret, and HMAC_SECRET when it is not set', () => {
  expect(parseConfig({ HMAC_SECRET: 'a' })).toMatchObject({ hmacSecret: 'a', operatorHmacSecret: 'a' });
  expect(parseConfig({ HMAC_SECRET: 'a', OPERATOR_HMAC_SECRET: 'b' })).toMatchObject({
    hmacSecret: 'a',
    operatorHmacSecret: 'b',
  });
});

describe('a value that is wrong', () => {
  it.each([
    ['PORT', 'eighty'],
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '8000.5'],
    ['ROLE', 'both'],
    ['LOG_LEVEL', 'loud'],
    ['DATABASE_URL', 'mysql://localhost/hub'],
    ['DATABASE_URL', 'not a url'],
    ['DATABASE_POOL_SIZE', '1'],
    ['MIGRATE_ON_START', 'yes'],
    ['SIGNATURE_REQUIRED', '0'],
    ['SIGNATURE_REQUIRED', 'FALSE'],
    ['TIMESTAMP_SKEW_SECONDS', '0'],
    ['TIMESTAMP_SKEW_SECONDS', 'NaN'],
    ['TIMESTAMP_SKEW_SECONDS', 'Infinity'],
    ['OPERATOR_BASE_URL', 'localhost:8001'],
    ['OPERATOR_BASE_URL', 'file:///etc/passwd'],
    ['RGS_WEBHOOK_URL', '/webhooks'],
    ['OPERATOR_BASE_URL', 'https://casino.example/api#v2'],
    ['RGS_WEBHOOK_URL', 'https://games.example/hook?key=a#'],
    ['CONNECT_TIMEOUT_MS', '0'],
    ['SUPPORTED_CURRENCIES', 'usd'],
    ['SUPPORTED_CURRENCIES', 'USD,,EUR'],
    ['PLAYER_ID_TEMPLATE', 'casino-'],
    ['OPERATOR_TIMEOUT_MS', '99'],
    ['MAX_RETRIES', '1.5'],
    ['RETRY_BACKOFF_SECONDS', '-0.1'],
    ['RATE_LIMIT_PER_MINUTE', '-1'],
    ['OUTBOX_RETRY_SCHEDULE_SECONDS', '1,5,soon'],
    ['OUTBOX_RETRY_SCHEDULE_SECONDS', '1,,5'],
    ['OUTBOX_RETRY_SCHEDULE_SECONDS', '1,-5'],
    ['OUTBOX_LEASE_SECONDS', '5'],
    ['ALLOW_CLEAR_DB', 'on'],
  ])('%s=%s is a fault with the name of the variable', (name, value) => {
    const faults = faultsOf({ [name]: value });
    expect(faults.length).toBeGreaterThan(0);
    for (const fault of faults) expect(fault).toMatch(new RegExp(`^${name} `));
  });

  it('is told together with all others, in one message', () => {
    const wrong = {
      PORT: 'x',
      ROLE: 'x',
      OPERATOR_BASE_URL: 'x',
      SUPPORTED_CURRENCIES: 'x',
      MAX_RETRIES: 'x',
      ALLOW_CLEAR_DB: 'x',
    };
    expect(() => parseConfig(wrong)).toThrow(ConfigError);
    expect(faultsOf(wrong).map((fault) => fault.split(' ')[0])).toEqual(expect.arrayContaining(Object.keys(wrong)));
    expect(new ConfigError(faultsOf(wrong)).message.split('\n')).toHaveLength(1 + Object.keys(wrong).length);
  });

  it('never shows a secret in the message', () => {
    const message = new ConfigError(faultsOf({ ...PRODUCTION, OPS_TOKEN: 'change_very_secret', PORT: 'x' })).message;
    expect(message).toContain('OPS_TOKEN');
    expect(message).not.toContain('very_secret');
  });
});

it('a lease must outlast a call, or a second replica would send the same movement', () => {
  expect(faultsOf({ OPERATOR_TIMEOUT_MS: '60000', OUTBOX_LEASE_SECONDS: '60' })).toEqual([
    expect.stringMatching(/^OUTBOX_LEASE_SECONDS must exceed OPERATOR_TIMEOUT_MS/),
  ]);
  expect(faultsOf({ OPERATOR_TIMEOUT_MS: '60000', OUTBOX_LEASE_SECONDS: '61' })).toEqual([]);
  expect(parseConfig({ OPERATOR_TIMEOUT_MS: '60000' }).outboxLeaseSeconds).toBeGreaterThan(61);
});

describe('in production', () => {
  const namesOf = (env: Record<string, string>) => faultsOf(env).map((fault) => fault.split(' ')[0]);
  const without = (...names: string[]) =>
    Object.fromEntries(Object.entries(PRODUCTION).filter(([name]) => !names.includes(name)));

  it.each(['production', 'prod', 'staging', 'Development', 'developement', 'TEST', 'dev', 'test2', '', ' '])(
    'which NODE_ENV=%j is, a hub does not start on the known secrets',
    (value) => {
      expect(namesOf({ NODE_ENV: value })).toEqual(
        expect.arrayContaining([
          'RGS_TOKEN',
          'OPERATOR_TOKEN',
          'OPS_TOKEN',
          'FINANCE_TOKEN',
          'HMAC_SECRET',
          'RECON_SIGNING_KEY',
          'DATABASE_URL',
        ]),
      );
      expect(parseConfig({ ...PRODUCTION, NODE_ENV: value })).toMatchObject({ production: true, allowClearDb: false });
    },
  );

  it('which an environment without NODE_ENV is, too', () => {
    expect(() => parseEnvironment({})).toThrow(ConfigError);
    expect(parseEnvironment(without('NODE_ENV')).production).toBe(true);
    for (const value of ['development', 'test', ' test '])
      expect(parseConfig({ NODE_ENV: value }).production).toBe(false);
  });

  it('it starts with secrets of its own, and cannot clear the database', () => {
    expect(parseConfig(PRODUCTION)).toMatchObject({
      production: true,
      allowClearDb: false,
      insecureAccepted: [],
      tokens: { rgs: [PRODUCTION.RGS_TOKEN], finance: [PRODUCTION.FINANCE_TOKEN] },
    });
  });

  it('it names everything that it refuses in one message, and shows no secret', () => {
    const weak = {
      NODE_ENV: 'prod',
      BEARER_TOKEN: 'x',
      RGS_TOKEN: 'hunter2',
      OPS_TOKEN: 'hunter2',
      HMAC_SECRET: 'Change_secret',
      SIGNATURE_REQUIRED: 'false',
      ALLOW_CLEAR_DB: 'true',
      OPERATOR_BASE_URL: 'http://casino.example/',
      PORT: 'x',
    };
    expect(new Set(namesOf(weak))).toEqual(
      new Set([
        'BEARER_TOKEN',
        'RGS_TOKEN',
        'OPS_TOKEN',
        'HMAC_SECRET',
        'OPERATOR_HMAC_SECRET',
        'RECON_SIGNING_KEY',
        'SIGNATURE_REQUIRED',
        'ALLOW_CLEAR_DB',
        'OPERATOR_BASE_URL',
        'RGS_WEBHOOK_URL',
        'DATABASE_URL',
        'PORT',
      ]),
    );
    expect(new ConfigError(faultsOf(weak)).message).not.toMatch(/hunter2|Change_secret/);
  });

  const SECRETS = [
    'RGS_TOKEN',
    'OPERATOR_TOKEN',
    'OPS_TOKEN',
    'FINANCE_TOKEN',
    'HMAC_SECRET',
    'OPERATOR_HMAC_SECRET',
    'RECON_SIGNING_KEY',
  ];

  it.each([
    'change_token',
    'changeme',
    'Change_secret',
    'CHANGE-ME',
    'please_change_this_secret_before_you_go_live',
    'ch4nge_me',
    'change_' + 'x9f2k7'.repeat(9),
    'ChangeIt1234567890ChangeIt1234567890',
  ])('the default %s is refused under every name, whatever is accepted', (value) => {
    for (const name of SECRETS)
      expect(
        namesOf({ ...PRODUCTION, [name]: value, INSECURE_ACCEPTED: 'weak_secrets,shared_secrets,bearer_token' }),
      ).toEqual([name]);
  });

  it.each([
    'x',
    'password',
    'secret',
    '0',
    'a'.repeat(31),
    'a'.repeat(64),
    'abc'.repeat(20),
    'password'.repeat(5),
    'P@ssw0rd'.repeat(5),
    'secret_secret_secret_secret_secret',
    'abcdefghijklmnopqrstuvwxyz0123456789',
    '0123456789abcdef0123456789abcdef',
    'aabbccddeeffgghhiijjkkllmmnnoopp',
    '1234567890'.repeat(4),
    'qwertyuiopasdfghjklzxcvbnm123456',
    'my-very-long-secret-token-for-the-operator',
    'ThisIsTheProductionSecretOfTheHub',
    'k9x2'.repeat(8),
    'testtesttesttesttesttesttesttest1',
    'ab'.repeat(40),
    '-'.repeat(40),
    '11111111111111111111111111111112',
  ])('the weak secret %s is refused under every name', (value) => {
    for (const name of SECRETS)
      expect(faultsOf({ ...PRODUCTION, [name]: value })).toEqual([
        expect.stringMatching(
          new RegExp(`^${name} (has \\d+ characters|can be guessed).*INSECURE_ACCEPTED=weak_secrets`),
        ),
      ]);
  });

  it('every random secret is taken: hexadecimal, base64, a UUID', () => {
    for (let round = 0; round < 3_000; round += 1) {
      const env = {
        HMAC_SECRET: randomBytes(16 + (round % 33)).toString('hex'),
        RGS_TOKEN: randomBytes(24 + (round % 25)).toString('base64url'),
        OPERATOR_HMAC_SECRET: randomBytes(24).toString('base64'),
        FINANCE_TOKEN: randomUUID(),
      };
      expect({ env, faults: faultsOf({ ...PRODUCTION, ...env }) }).toEqual({ env, faults: [] });
    }
  });

  it('each person of a list has a token that is strong and nobody else has', () => {
    const [one, two] = [
      PRODUCTION.RECON_SIGNING_KEY!.split('').reverse().join(''),
      PRODUCTION.HMAC_SECRET!.split('').reverse().join(''),
    ];
    expect(faultsOf({ ...PRODUCTION, OPS_TOKEN: `${one},${two}` })).toEqual([]);
    expect(namesOf({ ...PRODUCTION, OPS_TOKEN: `${one},short` })).toEqual(['OPS_TOKEN']);
    expect(faultsOf({ ...PRODUCTION, OPS_TOKEN: one, FINANCE_TOKEN: `${two},${one}` })).toEqual([
      expect.stringMatching(/^FINANCE_TOKEN holds the same secret as OPS_TOKEN/),
    ]);
    expect(namesOf({ ...PRODUCTION, OPS_TOKEN: ',' })).toEqual(['OPS_TOKEN']);
  });

  it('no two of the names hold one secret, in any case of its letters', () => {
    for (const [index, name] of SECRETS.entries())
      for (const twin of SECRETS.slice(0, index))
        for (const value of [PRODUCTION[twin]!, PRODUCTION[twin]!.toUpperCase()])
          expect(faultsOf({ ...PRODUCTION, [name]: value })).toEqual([
            expect.stringContaining(`${name} holds the same secret as ${twin}`),
          ]);
    expect(faultsOf(without('OPERATOR_HMAC_SECRET'))).toEqual([
      expect.stringMatching(/^OPERATOR_HMAC_SECRET is missing.*INSECURE_ACCEPTED=shared_secrets/),
    ]);
  });

  it.each([
    ['bearer_token', { BEARER_TOKEN: 'e8c1f0a97b3d5264e8c1f0a97b3d5264'.split('').reverse().join('') + 'q0w9' }],
    ['http_partners', { OPERATOR_BASE_URL: 'http://casino.example/' }],
    ['http_partners', { RGS_WEBHOOK_URL: 'HTTP://games.example/webhooks' }],
    ['http_partners', { OPERATOR_BASE_URL: '' }],
    ['embedded_database', { DATABASE_URL: '' }],
    ['unsigned_requests', { SIGNATURE_REQUIRED: 'false' }],
    ['weak_secrets', { OPS_TOKEN: 'short' }],
    ['shared_secrets', { OPERATOR_HMAC_SECRET: '' }],
  ])('%s must be accepted by that word, which is told at the start', (word, env: Record<string, string>) => {
    const [name = ''] = Object.keys(env);
    expect(faultsOf({ ...PRODUCTION, ...env })).toEqual([
      expect.stringMatching(new RegExp(`^${name} .*INSECURE_ACCEPTED=${word}`)),
    ]);
    expect(
      faultsOf({
        ...PRODUCTION,
        ...env,
        INSECURE_ACCEPTED:
          'shared_secrets,unsigned_requests,weak_secrets,http_partners,embedded_database,bearer_token'.replace(
            word,
            '',
          ),
      }),
    ).toHaveLength(1);
    expect(parseConfig({ ...PRODUCTION, ...env, INSECURE_ACCEPTED: ` ${word} ,` }).insecureAccepted).toEqual([
      { exception: word, faults: [expect.stringMatching(new RegExp(`^${name} `))] },
    ]);
  });

  it('an accepted BEARER_TOKEN stands in for the four', () => {
    const bearer = PRODUCTION.RGS_TOKEN!;
    const env = {
      ...without('RGS_TOKEN', 'OPERATOR_TOKEN', 'OPS_TOKEN', 'FINANCE_TOKEN'),
      BEARER_TOKEN: bearer,
      INSECURE_ACCEPTED: 'bearer_token',
    };
    expect(parseConfig(env).tokens).toEqual({ rgs: [bearer], operator: [bearer], ops: [bearer], finance: [bearer] });
  });

  it('a word of INSECURE_ACCEPTED that is not known is refused, and one that nothing needs is told', () => {
    expect(faultsOf({ ...PRODUCTION, INSECURE_ACCEPTED: 'everything' })).toEqual([
      expect.stringMatching(/^INSECURE_ACCEPTED knows no "everything"; it takes weak_secrets,/),
    ]);
    expect(parseConfig({ ...PRODUCTION, INSECURE_ACCEPTED: 'http_partners' }).insecureAccepted).toEqual([
      { exception: 'http_partners', faults: [] },
    ]);
  });

  it('ALLOW_CLEAR_DB=true is refused, and there is no word for it', () => {
    expect(faultsOf({ ...PRODUCTION, ALLOW_CLEAR_DB: 'true' })).toEqual([
      'ALLOW_CLEAR_DB must not be true in production',
    ]);
  });
});

it('what is logged about the configuration holds no secret', () => {
  const secrets = {
    BEARER_TOKEN: 'secret-1',
    RGS_TOKEN: 'secret-2',
    HMAC_SECRET: 'secret-3',
    OPERATOR_HMAC_SECRET: 'secret-4',
    DATABASE_URL: 'postgres://hub:secret-5@db:5432/hub',
    OPERATOR_BASE_URL: 'https://user:secret-6@casino/',
    RGS_WEBHOOK_URL: 'https://rgs/hook?key=secret-7',
  };
  const line = JSON.stringify(describeConfig(parseConfig(secrets)));
  expect(line).toContain('db:5432');
  expect(line).not.toContain('secret-');
});
