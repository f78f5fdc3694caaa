/**
 * Three sides of a made-up month: which row of which side is missing or differs is decided by its number, so that no
 * side need be stored.
 */

/** Of every 1 000 movements so many are broken, one in each way. */
export const BROKEN_PER_1000 = 8;
const FAULTS = [
  'missing_in_rgs',
  'missing_in_operator',
  'missing_in_hub',
  'amount',
  'status',
  'duplicate',
  'currency',
  'undelivered',
] as const;
export type Fault = (typeof FAULTS)[number] | null;

const BEGIN_MS = Date.parse('2026-10-01T00:00:00Z');
const STEP_MS = 2_000;

export function faultOf(index: number): Fault {
  const place = index % 1000;
  return place % 125 === 7 ? (FAULTS[Math.floor(place / 125)] ?? null) : null;
}

export function idOf(index: number): string {
  return `019a3c7e-5b0a-7cc2-9d55-${index.toString(16).padStart(12, '0')}`;
}

/** The same id in SQL, of a number column `i`. */
export const ID_SQL = `('019a3c7e-5b0a-7cc2-9d55-' || lpad(to_hex(i), 12, '0'))::uuid`;

const amountOf = (index: number): number => 100 + ((index * 7919) % 9_900);
const timeOf = (index: number): string => new Date(BEGIN_MS + index * STEP_MS).toISOString();

/** JSON of the rows that the RGS lists for a movement. */
export function rgsRows(index: number): string {
  const fault = faultOf(index);
  if (fault === 'missing_in_rgs' || fault === 'undelivered') return '';
  const id = idOf(index);
  return `{"playerId":"player-${index % 5000}","amountCents":${amountOf(index)},"currency":"${index % 3 === 0 ? 'EUR' : 'USD'}","status":"OK","event":"${index % 2 === 0 ? 'debit' : 'credit'}","refId":"ref-${index}","correlationId":"${id}","transactionId":"${id}","state":"confirmed","createdAt":"${timeOf(index)}"}`;
}

/** JSON of the rows that the operator lists for a movement. */
export function operatorRows(index: number): string {
  const fault = faultOf(index);
  if (fault === 'missing_in_operator' || fault === 'undelivered') return '';
  const amount = amountOf(index) + (fault === 'amount' ? 1 : 0);
  const currency = fault === 'currency' ? 'GBP' : index % 3 === 0 ? 'EUR' : 'USD';
  const row = `{"playerId":"player-${index % 5000}","amount":${Math.floor(amount / 100)}.${String(amount % 100).padStart(2, '0')},"currency":"${currency}","reference":"ref-${index}","correlationId":"${idOf(index)}","direction":"${index % 2 === 0 ? 'withdraw' : 'deposit'}","status":"${fault === 'status' ? 'PENDING' : 'OK'}","createdAt":"${timeOf(index)}"}`;
  return fault === 'duplicate' ? `${row},${row}` : row;
}

/** Fills the hub's side; $1 rows, $2 operator, $3 RGS. */
export const HUB_SQL = `
  insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, state, message_id, created_at, settled_at)
  select ${ID_SQL}, $2, $3, case when i % 2 = 0 then 'debit' else 'credit' end, 'player-' || i % 5000, 'player-' || i % 5000, 'ref-' || i, 100 + (i * 7919) % 9900,
    case when i % 3 = 0 then 'EUR' else 'USD' end, 2, 'confirmed', ${ID_SQL}, timestamptz '2026-10-01 00:00:00Z' + i * interval '2 seconds', timestamptz '2026-10-01 00:00:00Z' + i * interval '2 seconds'
  from generate_series(0::bigint, $1::bigint - 1) i where not (i % 1000 = 257)`;
