import { canonicalJson } from '../json/canonical-json';
import type { AuditHeads } from './audit-chain';
import { isSigned, keyIdOf } from './hub-key';

/**
 * The hub's statement about its logs at one moment. Kept outside the database, it proves their contents, also against
 * an attacker who may write there.
 */
export interface Checkpoint extends AuditHeads {
  readonly format: 'audit-checkpoint/1';
  readonly at: string;
  readonly keyId: string;
}

export interface SignedCheckpoint {
  readonly checkpoint: Checkpoint;
  /** Base64 Ed25519 over the checkpoint's canonical JSON, by the hub's key. */
  readonly signature: string;
}

/** Heads that a file proves, and what is wrong with the file. */
export interface Witnesses {
  readonly heads: readonly (AuditHeads & { readonly from: string })[];
  readonly faults: readonly string[];
}

/**
 * Reads heads from what else the hub signs, such as the manifest of a report. Null: an earlier build signed it, without
 * heads. A text: what is wrong with it. Undefined: it is nothing of that kind.
 */
export type OtherWitness = (said: unknown, key: string) => AuditHeads | string | null | undefined;

/**
 * Reads a file of checkpoints, one a line, or one other document that proves heads. `key` is base64 of the hub's public
 * key.
 */
export function witnessesOf(name: string, text: string, key: string, other: OtherWitness): Witnesses {
  const heads: Witnesses['heads'][number][] = [];
  const faults: string[] = [];
  const whole = parsed(text);
  const lines = whole === undefined ? text.split('\n') : [text];
  for (const [index, line] of lines.entries()) {
    if (line.trim() === '') continue;
    const place = whole === undefined ? `${name}, line ${index + 1}` : name;
    const said = whole ?? parsed(line);
    // The machine went down while the last line was written.
    if (said === undefined && index === lines.length - 1) continue;
    const found = headsOf(said, key, other);
    if (typeof found === 'string') faults.push(`${place}: ${found}`);
    else if (found !== null) heads.push({ ...found, from: place });
  }
  return { heads, faults };
}

/** Null: it holds no heads. A text: what is wrong. */
function headsOf(said: unknown, key: string, other: OtherWitness): AuditHeads | string | null {
  const others = other(said, key);
  if (others !== undefined) return others;
  const { checkpoint, signature } = (
    typeof said === 'object' && said !== null ? said : {}
  ) as Partial<SignedCheckpoint>;
  if (checkpoint?.format !== 'audit-checkpoint/1' || typeof signature !== 'string')
    return 'this is no checkpoint and no manifest';
  if (checkpoint.keyId !== keyIdOf(key)) return `signed with the key ${checkpoint.keyId}, not with ${keyIdOf(key)}`;
  return isSigned(Buffer.from(canonicalJson(checkpoint)), signature, key)
    ? { audit: checkpoint.audit, actions: checkpoint.actions }
    : 'the signature does not fit';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Passes a chain on and keeps its hash at each of the places. */
export class Notes {
  readonly hashes = new Map<number, string>();
  count = 0;

  async *of<T extends { readonly hash: string }>(
    records: AsyncIterable<T>,
    places: ReadonlySet<number>,
  ): AsyncGenerator<T> {
    for await (const record of records) {
      this.count += 1;
      if (places.has(this.count)) this.hashes.set(this.count, record.hash);
      yield record;
    }
  }

  /** Where the chain is not the one that was proven; null when it is. */
  contradiction(
    proven: readonly { readonly entries: number; readonly hash: string; readonly from: string }[],
  ): string | null {
    for (const { entries, hash, from } of [...proven].sort((a, b) => a.entries - b.entries)) {
      if (entries > this.count) return `it holds ${this.count}, and ${from} proves ${entries}`;
      if (entries > 0 && this.hashes.get(entries) !== hash)
        return `number ${entries} is not what ${from} proves, or one before it was changed`;
    }
    return null;
  }
}
