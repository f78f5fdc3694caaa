import { HubKey, isSigned, keyIdOf, sha256Hex } from '../../audit/hub-key';
import { canonicalJson } from '../../json/canonical-json';

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

/** Signs manifests of reports, and files that belong to them. */
export class ManifestKey extends HubKey {
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
