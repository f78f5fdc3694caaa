import { SECRET_LENGTH_MIN, isPublishedDefault, weaknessOf } from './secret-strength';

/** What production refuses unless INSECURE_ACCEPTED names it, and what each word stands for. */
export const EXCEPTIONS = {
  weak_secrets: `secrets of fewer than ${SECRET_LENGTH_MIN} characters, or ones that can be guessed`,
  shared_secrets: 'one secret under two names',
  bearer_token: 'BEARER_TOKEN',
  embedded_database: 'no DATABASE_URL',
  database_superuser: 'a DATABASE_URL whose role is a superuser of the server',
  http_partners: 'partners that are called without TLS',
  unsigned_requests: 'SIGNATURE_REQUIRED=false',
} as const;

export type Exception = keyof typeof EXCEPTIONS;

/** Something that production refuses. Without an exception there is no way to accept it. */
export interface Weakness {
  readonly variable: string;
  readonly problem: string;
  readonly exception?: Exception;
}

/** A secret and the variable that holds it; a list of tokens is several. */
export interface NamedSecret {
  readonly variable: string;
  readonly value: string;
}

export interface ProductionFacts {
  readonly secrets: readonly NamedSecret[];
  readonly databaseUrl: string | undefined;
  /** Undefined: not set, so that the default would be called. */
  readonly partnerUrls: Readonly<Record<string, string | undefined>>;
  readonly signatureRequired: boolean;
  readonly allowClearDb: boolean;
}

const KEYS = ['HMAC_SECRET', 'RECON_SIGNING_KEY'];
const TOKENS = ['RGS_TOKEN', 'OPERATOR_TOKEN', 'OPS_TOKEN', 'FINANCE_TOKEN'];

/** Everything that production refuses in these facts, in the order in which a person would fix it. */
export function weaknessesOf(facts: ProductionFacts): Weakness[] {
  return [...missing(facts), ...weakSecrets(facts.secrets), ...sharedSecrets(facts.secrets), ...otherWeaknesses(facts)];
}

function missing({ secrets }: ProductionFacts): Weakness[] {
  const given = new Set(secrets.map(({ variable }) => variable));
  // With BEARER_TOKEN the message asks for the others instead, unless it was accepted: then it replaces them.
  const wanted = given.has('BEARER_TOKEN') ? KEYS : [...TOKENS, ...KEYS];
  const faults: Weakness[] = wanted
    .filter((variable) => !given.has(variable))
    .map((variable) => ({ variable, problem: 'is missing' }));
  if (given.has('HMAC_SECRET') && !given.has('OPERATOR_HMAC_SECRET'))
    faults.push({
      variable: 'OPERATOR_HMAC_SECRET',
      problem: 'is missing, so that the key of the RGS would sign for the operator, too',
      exception: 'shared_secrets',
    });
  return faults;
}

function weakSecrets(secrets: readonly NamedSecret[]): Weakness[] {
  return secrets.flatMap(({ variable, value }): Weakness[] => {
    if (isPublishedDefault(value))
      return [{ variable, problem: 'is a published default such as change_token, or reads like one' }];
    const problem = weaknessOf(value);
    return problem === undefined ? [] : [{ variable, problem, exception: 'weak_secrets' }];
  });
}

/** Compared without case: a secret that differs in its case alone is found with the first guess. */
function sharedSecrets(secrets: readonly NamedSecret[]): Weakness[] {
  return secrets.flatMap(({ variable, value }, index): Weakness[] => {
    const twin = secrets
      .slice(0, index)
      .find((other) => other.variable !== variable && other.value.toLowerCase() === value.toLowerCase());
    return twin === undefined
      ? []
      : [{ variable, problem: `holds the same secret as ${twin.variable}`, exception: 'shared_secrets' }];
  });
}

function otherWeaknesses(facts: ProductionFacts): Weakness[] {
  const faults: Weakness[] = [];
  if (facts.secrets.some(({ variable }) => variable === 'BEARER_TOKEN'))
    faults.push({
      variable: 'BEARER_TOKEN',
      problem: `opens everything; set ${TOKENS.join(', ')} instead`,
      exception: 'bearer_token',
    });
  if (facts.databaseUrl === undefined)
    faults.push({
      variable: 'DATABASE_URL',
      problem: 'is missing; the embedded PostgreSQL has no backup, no replica and no other machine',
      exception: 'embedded_database',
    });
  for (const [variable, url] of Object.entries(facts.partnerUrls)) {
    if (url === undefined)
      faults.push({ variable, problem: 'is missing; its default is for development', exception: 'http_partners' });
    else if (new URL(url).protocol === 'http:')
      faults.push({ variable, problem: 'is http://; partners are called over https', exception: 'http_partners' });
  }
  if (!facts.signatureRequired)
    faults.push({
      variable: 'SIGNATURE_REQUIRED',
      problem: 'is false, which lets unsigned requests move money',
      exception: 'unsigned_requests',
    });
  if (facts.allowClearDb) faults.push({ variable: 'ALLOW_CLEAR_DB', problem: 'must not be true in production' });
  return faults;
}
