import { messageOf } from '../../kernel/errors';
import { protocolWord } from '../../kernel/protocol-word';
import { type AskedMovement, type ComparedField, type SaidMovement, disagreement, isGiven } from '../asked-movement';
import { decimalText } from '../../json/exact-json';
import { OPEN_BRACE, OPEN_BRACKET, type OpenResponse, afterFirstByte, bounded } from './list-response';
import { countOf, hasOtherTotal, holdsYes, moreBeside, moreByHeaders, plainName } from './list-end';
import { ListFailure } from './list-failure';
import { arrayBatches, objectAroundItems } from '../../json/list-json';
import { PossibleReference, hasReadableReference } from './possible-row';

/** How much of a list is read to find one movement. Hundreds are looked up at once, so each holds little. */
export const LOOK_UP_LIMITS = {
  /** After decompression. */
  bytes: 4 * 1024 * 1024,
  rows: 50_000,
  rowBytes: 64 * 1024,
  /** What stands around the items of an object. */
  aroundBytes: 64 * 1024,
  /** From the request to the last byte. */
  ms: 30_000,
} as const;
const SLICE = {
  rows: 250,
  batchBytes: 64 * 1024,
  rowBytesMax: LOOK_UP_LIMITS.rowBytes,
  aroundBytesMax: LOOK_UP_LIMITS.aroundBytes,
  everyMember: true,
} as const;

/** Objects that may stand beside the items: they speak of the list. Any other could hold what was asked for. */
const ABOUT_THE_LIST = /^(?:meta|metadata|links?|paging|pagination|page|pageinfo|cursors?|info)$/;
/** Members that, if they say anything, say that the list is not what it should be. */
const TROUBLE = /error|exception|fault|fail|warning|timeout|timedout|degraded|unavailable/;
const SUCCESS = /^(?:is)?(?:success|successful|ok|valid)$/;
/** Where a list that does not begin at its beginning says so. */
const OFFSET = /^(?:offset|skip|skipped|startindex|start)$/;
const PAGE = /^(?:page|currentpage|pagenumber|pageno)$/;
const COUNT = /^(?:count|rowcount|itemcount|recordcount|resultcount|numfound|matches)$/;

/** A row as the partner wrote it; nothing of it is promised. */
export type ListedRow = SaidMovement & Readonly<Record<string, unknown>>;

/**
 * What a list says about one movement. Absent is a proof, and both others are none: the list is whole and nothing in it
 * could be the movement. `no_answer` is everything that is neither that nor plainly the movement.
 */
export type LookUp =
  | { readonly verdict: 'found'; readonly rows: readonly ListedRow[] }
  | { readonly verdict: 'absent' }
  | {
      readonly verdict: 'no_answer';
      readonly reason: string;
      /** Field in which a row of this reference differs from what was sent: an incident. */
      readonly field: ComparedField | null;
      /** Rows that could be the movement, as far as they were read. */
      readonly rows: readonly ListedRow[];
      /** Whether the response itself could not be read to its end. */
      readonly isBroken: boolean;
    };

export interface LookUpRules {
  /** Address of the list, by which the host of a next page is judged. */
  readonly url: string;
  /** Whether a status word says that something is booked. */
  readonly isApplied: (word: string) => boolean;
  /** Reading ends at so many rows that are beyond doubt the movement. */
  readonly rowsWanted: number;
}

/**
 * Looks for one movement in an opened list, whole or by reference. Reads one answer: a list that goes on elsewhere is
 * not followed, since each call of a look-up needs a permit of the destination's rate; a partner with more bookings
 * than fit filters by reference.
 */
export async function lookUp(response: OpenResponse, asked: AskedMovement, rules: LookUpRules): Promise<LookUp> {
  const found = new Rows(asked, rules);
  let around: Record<string, unknown> | null = null;
  try {
    const chunks = bounded(response.chunks, LOOK_UP_LIMITS.bytes, 'it');
    if (response.first === OPEN_BRACE) {
      const value = await objectAroundItems(chunks, SLICE, (elements) => {
        found.add(elements);
        if (found.isEnough) throw new Enough();
      });
      around = value as Record<string, unknown>;
      if (!Array.isArray(around.items)) throw new ListFailure('not_a_list', 'it is an object without items');
      found.add(around.items);
    } else if (response.first === OPEN_BRACKET) {
      for await (const { elements } of arrayBatches(afterFirstByte(chunks), SLICE)) {
        found.add(elements);
        if (found.isEnough) break;
      }
    } else throw new ListFailure('not_json', response.first === undefined ? 'it is empty' : 'it is no JSON list');
    if (found.isEnough) return found.conclusion(null);
    return found.conclusion(
      moreByHeaders(response.header, rules.url, found.count) ??
        (around === null ? null : doubtBeside(around, found.count, asked, rules)),
    );
  } catch (error) {
    if (error instanceof Enough) return found.conclusion(null);
    // What a connection broke off, or what was none of ours to read, is one thing to the caller: there is no response.
    return found.broken(messageOf(error));
  } finally {
    await response.chunks.return();
  }
}

/** The rows so far, by what they can be. */
class Rows {
  count = 0;
  /** Agree in everything that they give, and name the movement by more than its reference and direction. */
  private readonly certain: ListedRow[] = [];
  /** Agree in everything that they give. */
  private readonly agreeing: ListedRow[] = [];
  /** Could be the movement, and are not plainly so. */
  private readonly doubtful: ListedRow[] = [];
  private doubt: { readonly reason: string; readonly field: ComparedField | null } | null = null;
  private readonly possible: PossibleReference;

  constructor(
    private readonly asked: AskedMovement,
    private readonly rules: LookUpRules,
  ) {
    this.possible = new PossibleReference(asked.reference);
  }

  get isEnough(): boolean {
    return this.certain.length >= this.rules.rowsWanted;
  }

  add(elements: readonly unknown[]): void {
    this.count += elements.length;
    if (this.count > LOOK_UP_LIMITS.rows)
      throw new ListFailure('never_ends', `it has more than ${LOOK_UP_LIMITS.rows} rows`);
    for (const element of elements) this.look(element);
  }

  /** `more`: why the list need not be whole; null: it is. */
  conclusion(more: string | null): LookUp {
    if (this.certain.length > 0) return { verdict: 'found', rows: this.certain };
    if (this.agreeing.length > 0 && this.doubt === null && more === null)
      return { verdict: 'found', rows: this.agreeing };
    if (this.doubt !== null) return this.inconclusive(this.doubt.reason, this.doubt.field, false);
    if (more !== null) return this.inconclusive(`the list need not be whole: ${more}`, null, false);
    return { verdict: 'absent' };
  }

  broken(reason: string): LookUp {
    if (this.certain.length > 0) return { verdict: 'found', rows: this.certain };
    return this.inconclusive(
      this.doubt?.reason ?? `the list could not be read: ${reason}`,
      this.doubt?.field ?? null,
      true,
    );
  }

  private inconclusive(reason: string, field: ComparedField | null, isBroken: boolean): LookUp {
    return { verdict: 'no_answer', reason, field, rows: [...this.agreeing, ...this.doubtful], isBroken };
  }

  private look(element: unknown): void {
    if (typeof element !== 'object' || element === null || Array.isArray(element))
      return this.doubtfully({}, 'the list holds something that is not a row', null);
    const row = element as ListedRow;
    if (!hasReadableReference(row)) return this.doubtfully(row, 'a row has no reference that can be read', null);
    if (!this.possible.standsIn(row)) return;
    const { reference } = this.asked;
    if (decimalText(row.reference) !== reference && decimalText(row.refId) !== reference)
      return this.doubtfully(row, 'a row has the reference in another spelling or place', null);
    const field = disagreement(this.asked, row, 'listed');
    if (field !== null) return this.doubtfully(row, `a row has the reference and another ${field}`, field);
    if (isGiven(row.status) && !(typeof row.status === 'string' && this.rules.isApplied(row.status)))
      return this.doubtfully(row, 'a row has the reference and a status that is no booking', null);
    // A debit and its win may have one reference, and two players may.
    const isIdentified =
      isGiven(row.correlationId) || (isGiven(row.playerId) && (isGiven(row.direction) || isGiven(row.event)));
    if (isIdentified) this.keep(this.certain, row);
    else if (isGiven(row.direction) || isGiven(row.event)) this.keep(this.agreeing, row);
    else this.doubtfully(row, 'a row has the reference and no direction', null);
  }

  private doubtfully(row: ListedRow, reason: string, field: ComparedField | null): void {
    if (this.doubt === null || (this.doubt.field === null && field !== null)) this.doubt = { reason, field };
    this.keep(this.doubtful, row);
  }

  /** Few are shown, and a list may consist of nothing else. */
  private keep(rows: ListedRow[], row: ListedRow): void {
    if (rows.length < Math.max(this.rules.rowsWanted, 10)) rows.push(row);
  }
}

/** Ends the reading of an object's items. */
class Enough extends Error {}

/** Why an object around the items is no proof that they are all; null when it is. */
function doubtBeside(
  around: Readonly<Record<string, unknown>>,
  rows: number,
  asked: AskedMovement,
  { isApplied }: LookUpRules,
): string | null {
  const more = moreBeside(around);
  if (more !== null) return more;
  if (hasOtherTotal(around, rows)) return 'it gives another number of rows';
  const possible = new PossibleReference(asked.reference);
  for (const [key, value] of Object.entries(around)) {
    if (key === 'items') continue;
    const name = plainName(key);
    if (possible.standsIn(key) || possible.standsIn(value)) return 'the reference stands beside its items';
    if (typeof value === 'object' && value !== null && decimalText(value) === null && !isAboutTheList(name, value))
      return 'it holds more than its items';
    if (TROUBLE.test(name) && holdsYes(value)) return 'it speaks of an error';
    if (SUCCESS.test(name) && !holdsYes(value)) return 'it says that it failed';
    if (
      name === 'status' &&
      isGiven(value) &&
      !(typeof value === 'string' ? isApplied(value) || protocolWord(value) === '200' : countOf(value) === 200)
    )
      return 'its status is no success';
    if ((OFFSET.test(name) && value !== null && countOf(value) !== 0) || (PAGE.test(name) && (countOf(value) ?? 2) > 1))
      return 'it does not begin at its beginning';
    if (COUNT.test(name) && value !== null && countOf(value) !== rows) return 'it gives another number of rows';
  }
  return null;
}

function isAboutTheList(name: string, value: object): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return (
    ABOUT_THE_LIST.test(name) &&
    Object.values(value).every(
      (entry) =>
        typeof entry !== 'object' ||
        entry === null ||
        decimalText(entry) !== null ||
        isAboutTheList(name, entry as object),
    )
  );
}
