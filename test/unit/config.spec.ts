import { ConfigError, describeConfig, parseConfig } from '../../src/config/config';

/** All that production demands, and nothing that it refuses. */
const PRODUCTION = { NODE_ENV: 'production', RGS_TOKEN: 'r-1', OPERATOR_TOKEN: 'o-1', OPS_TOKEN: 'p-1', FINANCE_TOKEN: 'f-1', HMAC_SECRET: 's-1', RECON_SIGNING_KEY: 'k-1' };

function faultsOf(env: Record<string, string>): readonly string[] {
  try {
    parseConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('an empty environment', () => {
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
    parseConfig(new Proxy({}, { get: (_target, name) => void read.add(String(name)) }));
    expect(read.size).toBeGreaterThan(30);
    expect(parseConfig(Object.fromEntries([...read].map((name) => [name, '  '])))).toEqual(parseConfig({}));
  });
});

describe('a token', () => {
  it('of its own opens its access beside BEARER_TOKEN, which opens all four', () => {
    expect(parseConfig({ RGS_TOKEN: 'mine', BEARER_TOKEN: 'master' }).tokens).toEqual({ rgs: ['mine', 'master'], operator: ['master'], ops: ['master'], finance: ['master'] });
  });

  it('that equals BEARER_TOKEN stands once', () => {
    expect(parseConfig({ RGS_TOKEN: 'change_token' }).tokens.rgs).toEqual(['change_token']);
  });

  it.each(['two words', 'tökén', 'a'.repeat(513), 'tab\tbed'])('%j could never be sent in a header, so it is refused', (token) => {
    expect(faultsOf({ OPS_TOKEN: token })).toEqual([expect.stringMatching(/^OPS_TOKEN must be 1 to 512 visible ASCII/)]);
  });
});

it('OPERATOR_HMAC_SECRET is its own secret, and HMAC_SECRET when it is not set', () => {
  expect(parseConfig({ HMAC_SECRET: 'a' })).toMatchObject({ hmacSecret: 'a', operatorHmacSecret: 'a' });
  expect(parseConfig({ HMAC_SECRET: 'a', OPERATOR_HMAC_SECRET: 'b' })).toMatchObject({ hmacSecret: 'a', operatorHmacSecret: 'b' });
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
    const wrong = { PORT: 'x', ROLE: 'x', OPERATOR_BASE_URL: 'x', SUPPORTED_CURRENCIES: 'x', MAX_RETRIES: 'x', ALLOW_CLEAR_DB: 'x' };
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
  expect(faultsOf({ OPERATOR_TIMEOUT_MS: '60000', OUTBOX_LEASE_SECONDS: '60' })).toEqual([expect.stringMatching(/^OUTBOX_LEASE_SECONDS must exceed OPERATOR_TIMEOUT_MS/)]);
  expect(faultsOf({ OPERATOR_TIMEOUT_MS: '60000', OUTBOX_LEASE_SECONDS: '61' })).toEqual([]);
  expect(parseConfig({ OPERATOR_TIMEOUT_MS: '60000' }).outboxLeaseSeconds).toBeGreaterThan(61);
});

describe('with NODE_ENV=production', () => {
  it('starts with secrets of its own, and cannot clear the database', () => {
    expect(parseConfig(PRODUCTION)).toMatchObject({ production: true, allowClearDb: false, tokens: { rgs: ['r-1'], operator: ['o-1'], ops: ['p-1'], finance: ['f-1'] } });
  });

  it('names every secret that is missing', () => {
    expect(faultsOf({ NODE_ENV: 'production' }).map((fault) => fault.split(' ')[0])).toEqual(['RGS_TOKEN', 'OPERATOR_TOKEN', 'OPS_TOKEN', 'FINANCE_TOKEN', 'HMAC_SECRET', 'RECON_SIGNING_KEY']);
  });

  it('names every secret that still has a default, and not those that do not', () => {
    const names = ['BEARER_TOKEN', 'RGS_TOKEN', 'OPERATOR_TOKEN', 'OPS_TOKEN', 'FINANCE_TOKEN', 'HMAC_SECRET', 'OPERATOR_HMAC_SECRET', 'RECON_SIGNING_KEY'];
    const defaults = Object.fromEntries(names.map((name) => [name, `change_${name.toLowerCase()}`]));
    expect(faultsOf({ NODE_ENV: 'production', ...defaults }).map((fault) => fault.split(' ')[0]).sort()).toEqual([...names].sort());
    for (const name of names) expect(faultsOf({ ...PRODUCTION, [name]: 'change_me' }).map((fault) => fault.split(' ')[0])).toEqual([name]);
  });

  it('takes a BEARER_TOKEN of its own in place of the four', () => {
    expect(parseConfig({ NODE_ENV: 'production', BEARER_TOKEN: 'own', HMAC_SECRET: 's', RECON_SIGNING_KEY: 'k' }).tokens.finance).toEqual(['own']);
  });

  it('refuses ALLOW_CLEAR_DB=true', () => {
    expect(faultsOf({ ...PRODUCTION, ALLOW_CLEAR_DB: 'true' })).toEqual([expect.stringMatching(/^ALLOW_CLEAR_DB /)]);
  });
});

it('what is logged about the configuration holds no secret', () => {
  const secrets = { BEARER_TOKEN: 'secret-1', RGS_TOKEN: 'secret-2', HMAC_SECRET: 'secret-3', OPERATOR_HMAC_SECRET: 'secret-4', DATABASE_URL: 'postgres://hub:secret-5@db:5432/hub', OPERATOR_BASE_URL: 'https://user:secret-6@casino/', RGS_WEBHOOK_URL: 'https://rgs/hook?key=secret-7' };
  const line = JSON.stringify(describeConfig(parseConfig(secrets)));
  expect(line).toContain('db:5432');
  expect(line).not.toContain('secret-');
});
