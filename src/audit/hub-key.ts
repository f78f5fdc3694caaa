import { type KeyObject, createHash, createPrivateKey, createPublicKey, hkdfSync, sign, verify } from 'node:crypto';

/** PKCS #8 of an Ed25519 key is this and the 32 bytes of its seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');
/** SubjectPublicKeyInfo of an Ed25519 key is this and its 32 bytes. */
const SPKI_ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * The hub's key for what auditors verify, checkpoints of the audit log and manifests of reports, made from a secret
 * text. Asymmetric, so that an auditor can verify without being able to sign: with an HMAC a reader that can check a
 * file can also make one.
 */
export class HubKey {
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

  /** Base64 Ed25519. */
  signature(bytes: Buffer): string {
    return sign(null, bytes, this.privateKey).toString('base64');
  }
}

export function sha256Hex(bytes: string | Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** First 16 hex digits of the SHA-256 of a base64 public key. */
export function keyIdOf(publicKey: string): string {
  return sha256Hex(Buffer.from(publicKey, 'base64')).slice(0, 16);
}

/** Whether an Ed25519 signature (base64) over the bytes is of this key (base64 of 32 bytes). */
export function isSigned(bytes: Buffer, signature: string, publicKey: string): boolean {
  const raw = Buffer.from(publicKey, 'base64');
  if (raw.length !== 32) return false;
  const key = createPublicKey({ key: Buffer.concat([SPKI_ED25519, raw]), format: 'der', type: 'spki' });
  return verify(null, bytes, key, Buffer.from(signature, 'base64'));
}
