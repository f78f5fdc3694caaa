import { type KeyObject, createHash, createPrivateKey, createPublicKey, hkdfSync, sign, verify } from 'node:crypto';

/** What a sealed run says of itself, in words that stay. Sums are decimal text of minor units, times ISO 8601 in UTC. */
export interface Manifest {
  readonly format: 'recon-manifest/1';
  /** 1, 2, 3, … over all manifests of this hub. */
  readonly sequence: number;
  readonly previousManifestSha256: string | null;
  readonly run: {
    readonly id: string;
    readonly kind: string;
    readonly rgs: string;
    readonly operator: string;
    readonly businessDate: string | null;
    /** Null: all time. */
    readonly window: { readonly from: string; readonly to: string } | null;
    readonly zone: string;
    readonly cutoff: string;
    readonly graceSeconds: number;
    /** The window had not ended. Manifests of earlier builds do not have it. */
    readonly provisional?: boolean;
    /** Decimals of currencies that the partners count otherwise than ISO 4217. */
    readonly exponents: Readonly<Record<string, number>>;
    readonly asOf: string;
    readonly sealedAt: string;
  };
  /** Heads of the audit log and of the history of exceptions when the run was signed. Manifests of earlier builds do not have them. */
  readonly audit?: {
    readonly audit: { readonly entries: number; readonly hash: string };
    readonly actions: { readonly entries: number; readonly hash: string };
  };
  /** What the run found; see RunCounts. */
  readonly counts: object;
  readonly totals: readonly ManifestTotal[];
  /** The file that /report.csv gives without options. */
  readonly report: {
    readonly version: 1;
    readonly mediaType: 'text/csv';
    readonly rows: number;
    readonly bytes: number;
    readonly sha256: string;
  };
  readonly signing: { readonly algorithm: 'Ed25519'; readonly keyId: string; readonly publicKey: string };
}

export interface ManifestTotal {
  readonly businessDate: string | null;
  readonly currency: string;
  readonly direction: string;
  readonly side: 'rgs' | 'operator' | 'hub';
  readonly count: number;
  readonly sumMinor: string;
}

export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

export interface SignedManifest {
  readonly manifest: Manifest;
  /** Hex SHA-256 of the manifest's canonical JSON; the next manifest names it. */
  readonly sha256: string;
  /** Base64 Ed25519 over the same bytes. */
  readonly signature: string;
  /** Of one more file that was made of the same run, when it was asked for. */
  readonly file?: FileProof;
}

/** The hub's word about a file that the manifest itself does not name: a workbook, NDJSON, a CSV in another form. */
export interface FileProof {
  readonly statement: {
    readonly format: 'recon-file/1';
    /** The manifest that it belongs to. */
    readonly manifestSha256: string;
    /** Format and options, for people. */
    readonly form: string;
    readonly bytes: number;
    readonly sha256: string;
  };
  /** Base64 Ed25519 over the statement's canonical JSON, by the manifest's key. */
  readonly signature: string;
}

/**
 * JSON in one form only: keys in order of their code units, no spaces, whole numbers. For such values this is RFC 8785, so other
 * languages have a library that makes the same bytes. Throws for a number that is not safe: sums are text.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError(`${value} has no canonical form here; amounts are text`);
    return String(value === 0 ? 0 : value);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`a manifest cannot hold ${typeof value}`);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([name, part]) => `${JSON.stringify(name)}:${canonicalJson(part)}`).join(',')}}`;
}

export function sha256Hex(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** PKCS #8 of an Ed25519 key is this and the 32 bytes of its seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
/** SubjectPublicKeyInfo of an Ed25519 key is this and its 32 bytes. */
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * The hub's key for manifests, made from a secret text. Asymmetric, so that an auditor can verify without being able to sign:
 * with an HMAC whoever can check a file can also make one.
 */
export class ManifestKey {
  private readonly privateKey: KeyObject;
  /** Base64 of the 32 bytes. */
  readonly publicKey: string;
  /** First 16 hex digits of the public key's SHA-256. */
  readonly keyId: string;

  constructor(secret: string) {
    const seed = Buffer.from(hkdfSync('sha256', secret, '', 'integration-hub reconciliation manifest', 32));
    this.privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' });
    this.publicKey = createPublicKey(this.privateKey)
      .export({ format: 'der', type: 'spki' })
      .subarray(SPKI_ED25519.length)
      .toString('base64');
    this.keyId = keyIdOf(this.publicKey);
  }

  /** Fills in the key and signs. */
  sign(unsigned: Omit<Manifest, 'signing'>): SignedManifest {
    const manifest: Manifest = {
      ...unsigned,
      signing: { algorithm: 'Ed25519', keyId: this.keyId, publicKey: this.publicKey },
    };
    const bytes = Buffer.from(canonicalJson(manifest));
    return { manifest, sha256: sha256Hex(bytes), signature: this.signature(bytes) };
  }

  /** Adds the digest of one more file of the same run. */
  signFile(
    signed: SignedManifest,
    form: string,
    { bytes, sha256 }: { readonly bytes: number; readonly sha256: string },
  ): SignedManifest {
    const statement: FileProof['statement'] = {
      format: 'recon-file/1',
      manifestSha256: signed.sha256,
      form,
      bytes,
      sha256,
    };
    return { ...signed, file: { statement, signature: this.signature(Buffer.from(canonicalJson(statement))) } };
  }

  /** Base64 Ed25519. */
  signature(bytes: Buffer): string {
    return sign(null, bytes, this.privateKey).toString('base64');
  }
}

/** First 16 hex digits of the SHA-256 of a base64 public key. */
export function keyIdOf(publicKey: string): string {
  return sha256Hex(Buffer.from(publicKey, 'base64')).slice(0, 16);
}

/**
 * What is wrong with a signed manifest and, when given, a file; empty when all is well. `trustedKey` (base64) is the key that the reader
 * had from the hub by another way. Without it only the manifest's own key is used, and that shows that nothing was changed by accident, not who signed.
 */
export function manifestFaults(
  signed: unknown,
  file: { readonly bytes: number; readonly sha256: string } | null,
  trustedKey?: string,
): string[] {
  const { manifest, sha256, signature } = (isObject(signed) ? signed : {}) as Partial<SignedManifest>;
  if (!isObject(manifest) || typeof sha256 !== 'string' || typeof signature !== 'string')
    return ['this is no signed manifest: "manifest", "sha256" and "signature" are expected'];
  if (manifest.format !== 'recon-manifest/1')
    return [`the manifest has the unknown format ${JSON.stringify(manifest.format)}`];
  if (!isObject(manifest.signing) || typeof manifest.signing.publicKey !== 'string' || !isObject(manifest.report))
    return ['the manifest is not whole'];
  const faults: string[] = [];
  let bytes: Buffer;
  try {
    bytes = Buffer.from(canonicalJson(manifest));
  } catch (error) {
    if (error instanceof TypeError) return [`the manifest has no canonical form: ${error.message}`];
    throw error;
  }
  if (sha256Hex(bytes) !== sha256) faults.push('the manifest was changed: its SHA-256 is not the one beside it');
  const key = trustedKey ?? manifest.signing.publicKey;
  if (manifest.signing.keyId !== keyIdOf(key))
    faults.push(`the manifest was signed with the key ${manifest.signing.keyId}, not with ${keyIdOf(key)}`);
  if (!isSigned(bytes, signature, key)) faults.push('the signature does not fit the manifest');
  if (file !== null && isObject(signed) && 'file' in signed) faults.push(...fileFaults(signed.file, sha256, file, key));
  else if (file !== null) {
    if (file.bytes !== manifest.report.bytes)
      faults.push(`the file has ${file.bytes} bytes, the report had ${manifest.report.bytes}`);
    if (file.sha256 !== manifest.report.sha256)
      faults.push('the file was changed: its SHA-256 is not the one of the report');
  }
  return faults;
}

function fileFaults(
  proof: unknown,
  manifestSha256: string,
  file: { readonly bytes: number; readonly sha256: string },
  key: string,
): string[] {
  const { statement, signature } = (isObject(proof) ? proof : {}) as Partial<FileProof>;
  if (!isObject(statement) || typeof signature !== 'string' || statement.format !== 'recon-file/1')
    return ['the statement about the file is not whole'];
  const faults: string[] = [];
  if (!isSigned(Buffer.from(textOf(statement)), signature, key))
    faults.push('the signature does not fit the statement about the file');
  if (statement.manifestSha256 !== manifestSha256)
    faults.push('the statement about the file belongs to another manifest');
  if (file.bytes !== statement.bytes)
    faults.push(`the file has ${file.bytes} bytes, the report had ${statement.bytes}`);
  if (file.sha256 !== statement.sha256) faults.push('the file was changed: its SHA-256 is not the one of the report');
  return faults;
}

/** Canonical, or nothing where there is no such form; nothing is signed. */
function textOf(value: unknown): string {
  try {
    return canonicalJson(value);
  } catch (error) {
    if (error instanceof TypeError) return '';
    throw error;
  }
}

/** Whether an Ed25519 signature (base64) over the bytes is of this key (base64 of 32 bytes). */
export function isSigned(bytes: Buffer, signature: string, publicKey: string): boolean {
  const raw = Buffer.from(publicKey, 'base64');
  if (raw.length !== 32) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, raw]), format: 'der', type: 'spki' });
  return verify(null, bytes, key, Buffer.from(signature, 'base64'));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
