/** What `openssl rand -hex 16` gives; less than that is a password. */
export const SECRET_LENGTH_MIN = 32;
/** Half of what 32 random hex digits hold, so that no random secret of the least length is ever refused. */
const BITS_MIN = 64;

/** Words that people write where a secret belongs, and rows of keys. They count nothing. */
const WORDS = [
  'qwertyuiop',
  'asdfghjkl',
  'zxcvbnm',
  'qwerty',
  'azerty',
  '1q2w3e4r',
  '1234567890',
  '123456',
  'production',
  'integration',
  'signature',
  'operator',
  'password',
  'passwort',
  'passwd',
  'finance',
  'default',
  'example',
  'private',
  'bearer',
  'secret',
  'letmein',
  'welcome',
  'casino',
  'dragon',
  'monkey',
  'master',
  'signing',
  'apikey',
  'token',
  'admin',
  'hello',
  'guest',
  'debug',
  'local',
  'hmac',
  'pass',
  'root',
  'test',
  'demo',
  'user',
  'this',
  'that',
  'with',
  'very',
  'long',
  'real',
  'prod',
  'wallet',
  'recon',
].sort((a, b) => b.length - a.length);

const LOOK_ALIKES: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'l',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '9': 'g',
  '@': 'a',
  $: 's',
  '!': 'i',
};

/**
 * Whether a text is one of the defaults that our documents publish, or reads like one: change_token, Change_secret,
 * ch4nge-me.
 */
export function isPublishedDefault(secret: string): boolean {
  return [secret.toLowerCase(), readAsLetters(secret)].some((text) => text.replace(/[^a-z]/g, '').includes('change'));
}

/** Why a secret is too weak for production, without showing any of it; undefined when it is not. */
export function weaknessOf(secret: string): string | undefined {
  const { length } = [...secret];
  if (length < SECRET_LENGTH_MIN) return `has ${length} characters and needs ${SECRET_LENGTH_MIN}`;
  return bitsOf(secret) < BITS_MIN
    ? 'can be guessed, since words, repeats or rows of characters make up most of it'
    : undefined;
}

/**
 * A lower bound by simple means. A library that knows dictionaries (zxcvbn) would also find sentences; its word lists
 * cost more memory than the rest of the hub's start, for a check that `openssl rand` passes always.
 */
function bitsOf(secret: string): number {
  const readings = [secret.toLowerCase(), readAsLetters(secret)].map((text) => onePeriod(withoutWords(text)));
  return Math.min(...readings.map((text) => Math.min(entropyOf([...text]), entropyOf(stepsOf(text)))));
}

function readAsLetters(text: string): string {
  return [...text.toLowerCase()].map((character) => LOOK_ALIKES[character] ?? character).join('');
}

function withoutWords(text: string): string {
  return WORDS.reduce((rest, word) => rest.replaceAll(word, ''), text);
}

/** `abcabcab` is `abc`. */
function onePeriod(text: string): string {
  for (let length = 1; length < text.length; length += 1)
    if (text.startsWith(text.slice(length))) return text.slice(0, length);
  return text;
}

/** Rows such as `abcdef` or `13579` have one step only. */
function stepsOf(text: string): number[] {
  return [...text].slice(1).map((character, index) => character.charCodeAt(0) - text.charCodeAt(index));
}

/** Shannon's, of the single signs, over the whole text; in bits. */
function entropyOf(signs: readonly (string | number)[]): number {
  const counts = new Map<string | number, number>();
  for (const sign of signs) counts.set(sign, (counts.get(sign) ?? 0) + 1);
  return [...counts.values()].reduce((bits, count) => bits - count * Math.log2(count / signs.length), 0);
}
