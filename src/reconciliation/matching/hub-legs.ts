import { reversalReference } from '../../partners/operator-wire';
import type { ReconRun } from '../run/run';
import { FLAG, SOURCE, STATUS_CODE } from './stage-lines';

const UNDO_PREFIX = reversalReference('');

/**
 * What the state of a movement says about its booking at the operator. A parked bet with a repayment was booked, else its place is unknown.
 * That the RGS has heard of an undone bet only as ROLLED_BACK is for the RGS's own rows to say.
 */
const MOVEMENT_STATUS = `case w.state
  when 'initiated' then ${STATUS_CODE.pending} when 'unknown' then ${STATUS_CODE.unknown} when 'rejected' then ${STATUS_CODE.rejected}
  when 'parked' then case when w.undo_message_id is null then ${STATUS_CODE.unknown} else ${STATUS_CODE.settled} end
  else ${STATUS_CODE.settled} end`;

/** And about its repayment. A bet that a person found to stand after all was not paid back. */
const UNDO_STATUS = `case w.state
  when 'compensating' then ${STATUS_CODE.pending} when 'rolling_back' then ${STATUS_CODE.pending}
  when 'compensated' then ${STATUS_CODE.settled} when 'rolled_back' then ${STATUS_CODE.settled}
  when 'parked' then ${STATUS_CODE.unknown} else ${STATUS_CODE.rejected} end`;

interface Leg {
  readonly key: string;
  readonly movement: string;
  readonly status: string;
  readonly at: string;
  readonly undo: string;
  readonly refId: string;
  readonly direction: string;
}

/** A credit whose own reference looks like a repayment's is keyed as the partners' lists will be: they cannot know better. */
const IS_LIKE_UNDO = `(w.movement = 'credit' and w.ref_id like '${UNDO_PREFIX}%')`;
const MOVEMENT: Leg = {
  key: `case when ${IS_LIKE_UNDO} then recon.undo_key(w.id) else w.id end`,
  movement: `case w.movement when 'debit' then 1 else 2 end`,
  status: MOVEMENT_STATUS,
  at: 'w.created_at',
  undo: IS_LIKE_UNDO,
  refId: 'w.ref_id',
  direction: 'w.movement',
};
/** The repayment's message is made when it is decided on, and its id is a UUIDv7. */
const UNDO_AT = 'coalesce(uuid_extract_timestamp(w.undo_message_id), w.created_at)';
const UNDO: Leg = {
  key: 'recon.undo_key(w.id)',
  movement: '2',
  status: UNDO_STATUS,
  at: UNDO_AT,
  undo: 'true',
  refId: `'${UNDO_PREFIX}' || w.ref_id`,
  direction: `'credit'`,
};

/** Rollbacks move no money by themselves, and a tombstone is the place of a bet that never came. */
const MOVES_MONEY = `not w.tombstone and w.movement <> 'rollback'`;

/** A free bet takes no money: the RGS was told of it and may list it, and no operator has it. */
const IS_FREE = `(w.message_id is null and w.movement = 'debit' and not w.tombstone)`;
/** Its undoing has no message. It is looked for by the RGS's row alone, so no window needs an index for it. */
const HAS_UNDO = `(w.undo_message_id is not null or ${IS_FREE} and w.state = 'rolled_back')`;

/** What the two lists may hold: the pair's own movements, and those of one of them with somebody else. */
const OF_EITHER = '(w.operator_id = $1 or w.rgs_id = $2)';

/** A SELECT of staging rows from wallet_transaction w; $1 operator, $2 RGS, $3 and $4 currencies and what they pack to. */
function legSql(leg: Leg, where: string, extraFlags = 0): string {
  return `select ${leg.key} as k, w.amount_minor as amt, coalesce(c.packed, recon.pack_currency(w.currency)) * 16 + (${leg.movement}) * 4 + (${leg.status}) as attrs, ${leg.at} as ts,
      (case when w.operator_id = $1 and w.rgs_id = $2 and not ${IS_FREE} then ${SOURCE.hub} else ${SOURCE.foreign} end)::smallint as src,
      ((case when (${leg.status}) = ${STATUS_CODE.unknown} then ${FLAG.unknownStatus} else 0 end) | (case when coalesce(c.packed, recon.pack_currency(w.currency)) = 0 then ${FLAG.oddCurrency} else 0 end) | ${extraFlags})::smallint as flags,
      ${leg.undo} as undo, w.currency as cur, ${leg.direction} as dir_raw, w.state as st_raw, ${leg.refId} as ref_id, w.id::text as corr, '' as amt_raw, w.player_id as player, null::text as row_id
    from wallet_transaction w left join unnest($3::text[], $4::bigint[]) c (cur, packed) on c.cur = w.currency
    where ${MOVES_MONEY} and ${where}`;
}

/** The hub's movements and repayments of a run: those of the window with its padding, or all. */
export function legsSql({ window, padSeconds }: Pick<ReconRun, 'window' | 'padSeconds'>): {
  rows: string;
  window: Date[];
} {
  if (window === null)
    return {
      rows: `${legSql(MOVEMENT, OF_EITHER)} union all ${legSql(UNDO, `${OF_EITHER} and ${HAS_UNDO}`)}`,
      window: [],
    };
  const [from, to] = [
    new Date(window.from.getTime() - padSeconds * 1000),
    new Date(window.to.getTime() + padSeconds * 1000),
  ];
  const inWindow = (at: string) => `${OF_EITHER} and ${at} >= $5::timestamptz and ${at} < $6::timestamptz`;
  // Both have an index on what comes first; the second condition is the exact one.
  const undoInWindow = `w.undo_message_id >= uuid_v7_floor($5::timestamptz) and w.undo_message_id < uuid_v7_floor($6::timestamptz) and ${inWindow(UNDO_AT)}`;
  return {
    rows: `${legSql(MOVEMENT, inWindow('w.created_at'))} union all ${legSql(UNDO, undoInWindow)}`,
    window: [from, to],
  };
}

/**
 * The hub's rows of given movements, whenever they were: `ids` is a sub-select of uuids. A movement of another pair of partners counts too,
 * as what it is; so the operator's list may hold what other game servers moved.
 */
export function legsOfSql(ids: string): string {
  return `${legSql(MOVEMENT, `w.id in (${ids})`, FLAG.lookedUp)} union all ${legSql(UNDO, `${HAS_UNDO} and w.id in (${ids})`, FLAG.lookedUp)}`;
}
