import { baseUrlViolation, shownUrl } from '../kernel/base-url';
import { EXCEPTIONS, type Exception, type NamedSecret, weaknessesOf } from './production';

/** `auto`: for people on a terminal, for machines elsewhere. */
export type LogFormat = 'auto' | 'json' | 'pretty';

/**
 * Everything the environment decides, read and checked once. Faults are collected, so a person who sets up a hub sees
 * all of them at once. Units are in the names; defaults are those of docs/integration.md and .env.example (a test keeps
 * the three in step).
 */
export interface Config {
  readonly production: boolean;
  /** What production would refuse and INSECURE_ACCEPTED lets pass; a word that is listed in vain has no faults. */
  readonly insecureAccepted: readonly AcceptedException[];
  readonly port: number;
  readonly host: string;
  readonly role: 'all' | 'api' | 'worker';
  readonly logLevel: string;
  readonly logFormat: LogFormat;

  /** Undefined: an embedded Postgres under `dataDir`. */
  readonly databaseUrl: string | undefined;
  /**
   * The same database past a pooler, for what needs a session: LISTEN, and the advisory lock of migrations. Undefined:
   * `databaseUrl`.
   */
  readonly databaseDirectUrl: string | undefined;
  /**
   * The same database as the role that owns the tables; migrations run as it. Undefined: `databaseUrl` names one role
   * for all, or another process migrates.
   */
  readonly databaseOwnerUrl: string | undefined;
  /** A streaming replica for reports. Undefined: `databaseUrl`. */
  readonly reportsDatabaseUrl: string | undefined;
  readonly dataDir: string;
  /** Whether this process may use a `dataDir` that another process holds. */
  readonly dataDirShared: boolean;
  /** Undefined: a stable one that is looked for. */
  readonly embeddedDatabasePort: number | undefined;
  readonly databasePoolSize: number;
  /** After which a statement of a request or a delivery is abandoned with its connection. */
  readonly databaseStatementSeconds: number;
  readonly migrateOnStart: boolean;

  /** From "not ready" to closing the port, for balancers to look away. */
  readonly drainSeconds: number;
  /** From SIGTERM to the end, come what may; must be below the time after which the supervisor kills. */
  readonly shutdownTimeoutSeconds: number;

  /** Tokens by what they open; a token may be in several lists. */
  readonly tokens: {
    readonly rgs: readonly string[];
    readonly operator: readonly string[];
    readonly ops: readonly string[];
    readonly finance: readonly string[];
  };
  readonly hmacSecret: string;
  readonly operatorHmacSecret: string;
  /** Any text; the key that signs manifests of reconciliation runs is made from it. */
  readonly reconSigningKey: string;
  /**
   * Where signed checkpoints of the audit log are appended; outside of the database's reach. Undefined: to the log
   * only.
   */
  readonly auditCheckpointFile: string | undefined;
  /** Major units of any currency up to which one person may accept or ignore an exception. */
  readonly reconAcceptLimit: number;
  readonly signatureRequired: boolean;
  /**
   * Least version of the signature that the game server of the environment must send, and the same for its operator.
   */
  readonly signatureVersionRequired: 1 | 2;
  readonly operatorSignatureVersionRequired: 1 | 2;
  /** Under which callers know the hub; part of what they sign. Undefined: the Host header of each request. */
  readonly publicBaseUrl: string | undefined;
  readonly timestampSkewSeconds: number;

  readonly operatorBaseUrl: string;
  readonly rgsWebhookUrl: string;
  readonly supportedCurrencies: readonly string[];
  readonly playerIdTemplate: string;
  /** Lets a start change where money goes while other processes live by the former rows. */
  readonly partnerChangeAccepted: boolean;

  readonly operatorTimeoutMs: number;
  /** For name, TCP and TLS of a connection to a partner, apart from the timeout of the call. */
  readonly connectTimeoutMs: number;
  readonly maxRetries: number;
  readonly retryBackoffSeconds: number;
  /** Calls per minute to one destination over all replicas; 0 = no limit. */
  readonly rateLimitPerMinute: number;
  readonly callbackTimeoutSeconds: number;
  /** Age from which a debit is not delivered any more; 0 = never. */
  readonly debitDeadlineSeconds: number;
  /** How long after "I do not know it" the operator is asked again before a debit counts as never arrived. */
  readonly resolveGraceSeconds: number;
  /** Age from which an open round is listed for ops. */
  readonly roundOverdueMinutes: number;

  /** Maximum of concurrent calls to one destination. */
  readonly outboxConcurrency: number;
  readonly outboxLeaseSeconds: number;
  /** Upper bounds of the full-jitter delay before attempt 2, 3, …; the message is given up after the last. */
  readonly outboxRetryScheduleSeconds: readonly number[];
  readonly outboxMessageRetentionDays: number;
  readonly outboxAttemptRetentionDays: number;
  readonly breakerFailures: number;
  readonly breakerOpenSeconds: number;

  /** How long a reconciliation run belongs to a process that says nothing; a third of it is the heartbeat. */
  readonly reconLeaseSeconds: number;
  /** Parts of a run's window in which each list is read at once; only for partners that heed `from` and `to`. */
  readonly reconListShards: number;

  /** Unmatched callbacks of one operator that are kept at the same time. */
  readonly unmatchedCallbacksMax: number;

  readonly allowClearDb: boolean;

  /** Who may read /swagger and what is below it. */
  readonly apiDocs: 'public' | 'token' | 'off';
  /** Refused requests, and API documents, that this process answers a second; more of them wait. 0 = no limit. */
  readonly refusalsPerSecond: number;
}

export interface AcceptedException {
  readonly exception: Exception;
  readonly faults: readonly string[];
}

/** Names every variable that is wrong; the message is for the person who starts the hub. */
export class ConfigError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(
      `The hub does not start, since its environment is wrong:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    );
    this.name = 'ConfigError';
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Any other value is production, and so is none: a typing error must not open a hub on known secrets. */
export function isProduction(env: Environment): boolean {
  return !['development', 'test'].includes(env.NODE_ENV?.trim() ?? '');
}

/** The role that this URL names, if it names one. */
export function roleOf(url: string): string {
  return decodeURIComponent(new URL(url).username);
}

/** The owner grants its rights to the role of DATABASE_URL, so that one must be named, and another. */
function ownerViolations(
  read: Reader,
  {
    databaseUrl,
    databaseDirectUrl,
    databaseOwnerUrl,
  }: Pick<Config, 'databaseUrl' | 'databaseDirectUrl' | 'databaseOwnerUrl'>,
): void {
  if (databaseOwnerUrl === undefined || databaseUrl === undefined) return;
  const role = roleOf(databaseUrl);
  if (role === '')
    read.fault('DATABASE_URL', 'must name its role beside DATABASE_OWNER_URL, which grants it its rights');
  else if (role === roleOf(databaseOwnerUrl))
    read.fault(
      'DATABASE_OWNER_URL',
      `names the role "${role}" as DATABASE_URL does; the hub serves as another one than the owner of its tables`,
    );
  if (databaseDirectUrl !== undefined && roleOf(databaseDirectUrl) !== role)
    read.fault('DATABASE_DIRECT_URL', 'must name the same role as DATABASE_URL');
}

export type DatabaseConfig = Pick<
  Config,
  'databaseUrl' | 'databaseDirectUrl' | 'databaseOwnerUrl' | 'dataDir' | 'allowClearDb'
>;

/** What a tool needs that only looks at the database, so that it runs where no secret is. */
export function parseDatabaseConfig(env: Environment): DatabaseConfig {
  const read = new Reader(env);
  const config = {
    databaseUrl: read.databaseUrl('DATABASE_URL'),
    databaseDirectUrl: read.databaseUrl('DATABASE_DIRECT_URL'),
    databaseOwnerUrl: read.databaseUrl('DATABASE_OWNER_URL'),
    dataDir: read.text('DATA_DIR', '.data'),
    allowClearDb: read.flag('ALLOW_CLEAR_DB', !isProduction(env)),
  };
  ownerViolations(read, config);
  if (read.faults.length > 0) throw new ConfigError(read.faults);
  return config;
}

/** Reads an environment; throws ConfigError with every fault. */
export function parseConfig(env: Environment): Config {
  const read = new Reader(env);
  const production = isProduction(env);
  const operatorTimeoutMs = read.integer('OPERATOR_TIMEOUT_MS', 10_000, 100, 120_000);

  const bearer = read.token('BEARER_TOKEN') ?? (production ? undefined : 'change_token');
  const withBearer = (own: readonly string[]): readonly string[] => [
    ...new Set(bearer === undefined ? own : [...own, bearer]),
  ];
  const own = {
    rgs: listOf(read.token('RGS_TOKEN')),
    operator: listOf(read.token('OPERATOR_TOKEN')),
    ops: read.staffTokens('OPS_TOKEN'),
    finance: read.staffTokens('FINANCE_TOKEN'),
  };
  const tokens = {
    rgs: withBearer(own.rgs),
    operator: withBearer(own.operator),
    ops: withBearer(own.ops),
    finance: withBearer(own.finance),
  };
  const keys = {
    HMAC_SECRET: read.optional('HMAC_SECRET'),
    OPERATOR_HMAC_SECRET: read.optional('OPERATOR_HMAC_SECRET'),
    RECON_SIGNING_KEY: read.optional('RECON_SIGNING_KEY'),
  };
  const hmacSecret = keys.HMAC_SECRET ?? 'change_secret';
  const accepted = read.exceptions('INSECURE_ACCEPTED');

  const config: Config = {
    production,
    insecureAccepted: [],
    port: read.integer('PORT', 8000, 0, 65_535),
    host: read.text('HOST', '0.0.0.0'),
    role: read.choice('ROLE', 'all', ['all', 'api', 'worker']),
    logLevel: read.choice('LOG_LEVEL', 'info', ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    logFormat: read.choice<LogFormat>('LOG_FORMAT', 'auto', ['auto', 'json', 'pretty']),
    databaseUrl: read.databaseUrl('DATABASE_URL'),
    databaseDirectUrl: read.databaseUrl('DATABASE_DIRECT_URL'),
    databaseOwnerUrl: read.databaseUrl('DATABASE_OWNER_URL'),
    reportsDatabaseUrl: read.databaseUrl('REPORTS_DATABASE_URL'),
    dataDir: read.text('DATA_DIR', '.data'),
    dataDirShared: read.flag('DATA_DIR_SHARED', false),
    embeddedDatabasePort:
      read.optional('EMBEDDED_DATABASE_PORT') === undefined
        ? undefined
        : read.integer('EMBEDDED_DATABASE_PORT', 0, 1, 65_535),
    databasePoolSize: read.integer('DATABASE_POOL_SIZE', 10, 2, 500),
    databaseStatementSeconds: read.number('DATABASE_STATEMENT_SECONDS', 4, 0.5, 60),
    migrateOnStart: read.flag('MIGRATE_ON_START', true),
    drainSeconds: read.number('DRAIN_SECONDS', 0.2, 0, 60),
    shutdownTimeoutSeconds: read.number('SHUTDOWN_TIMEOUT_SECONDS', 30, 1, 600),
    tokens,
    hmacSecret,
    operatorHmacSecret: keys.OPERATOR_HMAC_SECRET ?? hmacSecret,
    auditCheckpointFile: read.text('AUDIT_CHECKPOINT_FILE', '') || undefined,
    reconSigningKey: keys.RECON_SIGNING_KEY ?? 'change_recon_signing_key',
    reconAcceptLimit: read.integer('RECON_ACCEPT_LIMIT', 100, 0, 1_000_000_000),
    signatureRequired: read.flag('SIGNATURE_REQUIRED', true),
    signatureVersionRequired: read.choice('SIGNATURE_VERSION_REQUIRED', '1', ['1', '2']) === '2' ? 2 : 1,
    operatorSignatureVersionRequired:
      read.choice('OPERATOR_SIGNATURE_VERSION_REQUIRED', '1', ['1', '2']) === '2' ? 2 : 1,
    publicBaseUrl: read.url('PUBLIC_BASE_URL', undefined, ['http:', 'https:']),
    timestampSkewSeconds: read.integer('TIMESTAMP_SKEW_SECONDS', 300, 1, 86_400),
    operatorBaseUrl: read.baseUrl('OPERATOR_BASE_URL', 'http://localhost:8001/'),
    rgsWebhookUrl: read.baseUrl('RGS_WEBHOOK_URL', 'http://localhost:8002/webhooks'),
    supportedCurrencies: read.currencies('SUPPORTED_CURRENCIES', 'USD,EUR'),
    playerIdTemplate: read.template('PLAYER_ID_TEMPLATE', '{playerId}', '{playerId}'),
    partnerChangeAccepted: read.flag('PARTNER_CHANGE_ACCEPTED', false),
    operatorTimeoutMs,
    connectTimeoutMs: read.integer('CONNECT_TIMEOUT_MS', 5_000, 100, 60_000),
    maxRetries: read.integer('MAX_RETRIES', 3, 0, 20),
    retryBackoffSeconds: read.number('RETRY_BACKOFF_SECONDS', 1, 0, 60),
    rateLimitPerMinute: read.number('RATE_LIMIT_PER_MINUTE', 6000, 0, 10_000_000),
    callbackTimeoutSeconds: read.number('CALLBACK_TIMEOUT_SECONDS', 60, 0.1, 86_400),
    debitDeadlineSeconds: read.number('DEBIT_DEADLINE_SECONDS', 60, 0, 86_400),
    resolveGraceSeconds: read.number('RESOLVE_GRACE_SECONDS', 10, 0, 3600),
    roundOverdueMinutes: read.number('ROUND_OVERDUE_MINUTES', 60, 0, 525_600),
    outboxConcurrency: read.integer('OUTBOX_CONCURRENCY', 256, 1, 1000),
    outboxLeaseSeconds: read.number('OUTBOX_LEASE_SECONDS', Math.max(30, (operatorTimeoutMs / 1000) * 2 + 10), 1, 3600),
    outboxRetryScheduleSeconds: read.numbers(
      'OUTBOX_RETRY_SCHEDULE_SECONDS',
      '1,5,15,60,300,1800,7200,18000,36000,50400,72000,86400',
    ),
    outboxMessageRetentionDays: read.integer('OUTBOX_MESSAGE_RETENTION_DAYS', 90, 14, 36_500),
    outboxAttemptRetentionDays: read.integer('OUTBOX_ATTEMPT_RETENTION_DAYS', 30, 14, 36_500),
    breakerFailures: read.integer('BREAKER_FAILURES', 10, 1, 10_000),
    breakerOpenSeconds: read.number('BREAKER_OPEN_SECONDS', 10, 0.05, 3600),
    reconLeaseSeconds: read.number('RECON_LEASE_SECONDS', 30, 1, 3600),
    reconListShards: read.integer('RECON_LIST_SHARDS', 1, 1, 8),
    unmatchedCallbacksMax: read.integer('UNMATCHED_CALLBACKS_MAX', 100_000, 0, 100_000_000),
    allowClearDb: read.flag('ALLOW_CLEAR_DB', !production),
    apiDocs: read.choice('API_DOCS', 'public', ['public', 'token', 'off']),
    refusalsPerSecond: read.number('REFUSALS_PER_SECOND', 200, 0, 100_000),
  };

  // A lease that can run out while the call is still waiting would let a second replica send the same movement.
  if (config.outboxLeaseSeconds * 1000 < config.operatorTimeoutMs + 1000)
    read.fault(
      'OUTBOX_LEASE_SECONDS',
      `must exceed OPERATOR_TIMEOUT_MS by at least one second (${config.operatorTimeoutMs} ms)`,
    );
  if (config.shutdownTimeoutSeconds < config.drainSeconds + 1)
    read.fault(
      'SHUTDOWN_TIMEOUT_SECONDS',
      `must exceed DRAIN_SECONDS by at least one second (${config.drainSeconds} s)`,
    );
  ownerViolations(read, config);
  // The embedded database has one address, and it is not known before it runs.
  for (const [name, url] of [
    ['DATABASE_DIRECT_URL', config.databaseDirectUrl],
    ['DATABASE_OWNER_URL', config.databaseOwnerUrl],
    ['REPORTS_DATABASE_URL', config.reportsDatabaseUrl],
  ] as const)
    if (url !== undefined && config.databaseUrl === undefined) read.fault(name, 'is only of use beside DATABASE_URL');
  const secrets: NamedSecret[] = [
    ...named('BEARER_TOKEN', production ? listOf(bearer) : []),
    ...named('RGS_TOKEN', own.rgs),
    ...named('OPERATOR_TOKEN', own.operator),
    ...named('OPS_TOKEN', own.ops),
    ...named('FINANCE_TOKEN', own.finance),
    ...Object.entries(keys).flatMap(([variable, value]) => named(variable, listOf(value))),
  ];
  const partnerUrls = {
    OPERATOR_BASE_URL: read.optional('OPERATOR_BASE_URL') && config.operatorBaseUrl,
    RGS_WEBHOOK_URL: read.optional('RGS_WEBHOOK_URL') && config.rgsWebhookUrl,
  };
  const weaknesses = production ? weaknessesOf({ ...config, secrets, partnerUrls }) : [];
  for (const { variable, problem, exception } of weaknesses)
    if (exception === undefined || !accepted.includes(exception))
      read.fault(
        variable,
        exception === undefined ? problem : `${problem} (or accept it: INSECURE_ACCEPTED=${exception})`,
      );
  if (read.faults.length > 0) throw new ConfigError(read.faults);
  const insecureAccepted = accepted.map((exception) => ({
    exception,
    faults: weaknesses
      .filter((weakness) => weakness.exception === exception)
      .map(({ variable, problem }) => `${variable} ${problem}`),
  }));
  return { ...config, insecureAccepted };
}

/** What may be logged: secrets only as "configured". */
export function describeConfig(config: Config): Record<string, unknown> {
  const {
    tokens,
    hmacSecret: _hmac,
    reconSigningKey: _reconSigningKey,
    operatorHmacSecret: _operatorHmac,
    databaseUrl,
    databaseDirectUrl,
    databaseOwnerUrl,
    reportsDatabaseUrl,
    ...open
  } = config;
  return {
    ...open,
    operatorBaseUrl: shownUrl(config.operatorBaseUrl),
    rgsWebhookUrl: shownUrl(config.rgsWebhookUrl),
    database: databaseUrl === undefined ? 'embedded' : new URL(databaseUrl).host,
    ...(databaseDirectUrl === undefined ? {} : { databaseDirect: new URL(databaseDirectUrl).host }),
    ...(databaseOwnerUrl === undefined ? {} : { databaseOwner: new URL(databaseOwnerUrl).host }),
    ...(reportsDatabaseUrl === undefined ? {} : { reportsDatabase: new URL(reportsDatabaseUrl).host }),
    tokensConfigured: Object.fromEntries(Object.entries(tokens).map(([name, list]) => [name, list.length])),
    hmacSecretConfigured: true,
  };
}

function listOf(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value];
}

function named(variable: string, values: readonly string[]): NamedSecret[] {
  return values.map((value) => ({ variable, value }));
}

class Reader {
  readonly faults: string[] = [];

  constructor(private readonly env: Environment) {}

  fault(name: string, problem: string): void {
    this.faults.push(`${name} ${problem}`);
  }

  text(name: string, fallback: string): string {
    return this.raw(name) ?? fallback;
  }

  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.number(name, fallback, min, max);
    if (Number.isInteger(value)) return value;
    this.fault(name, 'must be a whole number');
    return fallback;
  }

  number(name: string, fallback: number, min: number, max: number): number {
    const raw = this.raw(name);
    if (raw === undefined) return fallback;
    const value = Number(raw);
    if (Number.isFinite(value) && value >= min && value <= max) return value;
    this.fault(name, `must be a number from ${min} to ${max}, not "${raw}"`);
    return fallback;
  }

  numbers(name: string, fallback: string): readonly number[] {
    const parts = this.text(name, fallback)
      .split(',')
      .map((part) => part.trim());
    const values = parts.map(Number);
    // Number('') is 0: a comma too many must not become a retry without delay.
    if (parts.every((part) => part !== '') && values.every((value) => Number.isFinite(value) && value >= 0))
      return values;
    this.fault(name, 'must be a list of seconds such as 1,5,15');
    return [];
  }

  flag(name: string, fallback: boolean): boolean {
    return this.choice(name, String(fallback), ['true', 'false']) === 'true';
  }

  choice<T extends string>(name: string, fallback: string, allowed: readonly T[]): T {
    const value = this.text(name, fallback);
    const found = allowed.find((candidate) => candidate === value);
    if (found !== undefined) return found;
    this.fault(name, `must be one of ${allowed.join(', ')}, not "${value}"`);
    return allowed[0] as T;
  }

  url(name: string, fallback: string | undefined, schemes: readonly string[]): string | undefined {
    const value = this.raw(name) ?? fallback;
    if (value === undefined) return undefined;
    if (URL.canParse(value) && schemes.includes(new URL(value).protocol)) return value;
    this.fault(name, `must be a URL with ${schemes.join(' or ')}`);
    return fallback;
  }

  baseUrl(name: string, fallback: string): string {
    const value = this.raw(name) ?? fallback;
    const fault = baseUrlViolation(value);
    if (fault === null) return value;
    this.fault(name, fault);
    return fallback;
  }

  currencies(name: string, fallback: string): readonly string[] {
    const values = this.text(name, fallback)
      .split(',')
      .map((value) => value.trim());
    if (values.every((value) => /^[A-Z]{3,8}$/.test(value))) return [...new Set(values)];
    this.fault(name, 'must be a list of ISO 4217 codes such as USD,EUR');
    return [];
  }

  template(name: string, fallback: string, placeholder: string): string {
    const value = this.text(name, fallback);
    if (!value.includes(placeholder)) this.fault(name, `must contain ${placeholder}`);
    return value;
  }

  databaseUrl(name: string): string | undefined {
    return this.url(name, undefined, ['postgres:', 'postgresql:']);
  }

  optional(name: string): string | undefined {
    return this.raw(name);
  }

  token(name: string): string | undefined {
    const value = this.raw(name);
    if (value !== undefined && !/^[\x21-\x7e]{1,512}$/.test(value))
      this.fault(
        name,
        'must be 1 to 512 visible ASCII characters without spaces, as an Authorization header can carry',
      );
    return value;
  }

  /** People sign with their tokens, so each has one: a list with commas. */
  staffTokens(name: string): readonly string[] {
    return [...new Set((this.token(name) ?? '').split(',').filter((one) => one !== ''))];
  }

  exceptions(name: string): readonly Exception[] {
    const words = (this.raw(name) ?? '')
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== '');
    const isException = (word: string): word is Exception => Object.hasOwn(EXCEPTIONS, word);
    for (const word of words)
      if (!isException(word)) this.fault(name, `knows no "${word}"; it takes ${Object.keys(EXCEPTIONS).join(', ')}`);
    return [...new Set(words.filter(isException))];
  }

  /** An empty variable counts as not set: compose files and .env files pass empty strings for what is left out. */
  private raw(name: string): string | undefined {
    const value = this.env[name]?.trim();
    return value === undefined || value === '' ? undefined : value;
  }
}
