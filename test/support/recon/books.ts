import type { Delivery, HubFact } from './oracle';

export interface Pair {
  readonly operatorId: number;
  readonly rgsId: number;
}

type Run = (sql: string, parameters: (string | number)[]) => Promise<unknown>;

/** Partners whose lists are not read. */
const OTHERS: Pair = { operatorId: 9_001, rgsId: 9_002 };

/** Makes these all that the hub has: its wallet, and what its outbox still owns or has given up. */
export async function plantHub(run: Run, hub: readonly HubFact[], pair: Pair): Promise<void> {
  const messages = hub.flatMap(({ message, undo, outcomes }) => [
    message,
    ...(undo === null ? [] : [undo]),
    ...outcomes,
  ]);
  const json = (rows: readonly unknown[]) => JSON.stringify(rows);
  const ids = (delivery: Delivery, ...places: number[]) => json(inState(messages, delivery, places));
  for (const table of [
    'wallet_transaction',
    'wallet_outcome',
    'outbox_head',
    'outbox_lane',
    'outbox_message',
    'outbox_dead',
  ])
    await run(`delete from ${table}`, []);
  await run(
    `insert into wallet_transaction (id, operator_id, rgs_id, movement, player_id, external_player_id, ref_id, amount_minor, currency, exponent, state, message_id, tombstone, undo_message_id, created_at, settled_at)
     select id, operator_id, rgs_id, movement, player_id, player_id, ref_id, amount_minor, currency, 2, state, message_id, tombstone, undo_message_id, created_at, settled_at from json_populate_recordset(null::wallet_transaction, $1)`,
    [json(hub.map((each) => walletRow(each, pair)))],
  );
  await run(
    `insert into wallet_outcome (transaction_id, outcome, message_id) select transaction_id, outcome, message_id from json_populate_recordset(null::wallet_outcome, $1)`,
    [
      json(
        hub.flatMap(({ id, outcomes }) =>
          outcomes.map((each) => ({ transaction_id: id, outcome: each.outcome, message_id: each.id })),
        ),
      ),
    ],
  );
  await run(
    `insert into outbox_head (message_id, destination_id, visible_at) select id::uuid, $2, at from json_to_recordset($1) as m (id text, at timestamptz)`,
    [json(heads(messages)), pair.operatorId],
  );
  await run(
    `insert into outbox_dead (message_id, destination_id, class, attempts, open) select id::uuid, $3, 'unknown', 1, true from (select * from json_array_elements_text($1) union all select * from json_array_elements_text($2)) m (id)`,
    [ids('dead', 0), ids('pending', 1), pair.operatorId],
  );
  // Behind the head of its lane, which is none of these.
  await run(
    `insert into outbox_lane (destination_id, lane_key, last_seq, head_seq) select $2, id, 2, 1 from json_array_elements_text($1) id`,
    [ids('pending', 2), pair.operatorId],
  );
  await run(
    `insert into outbox_message (id, destination_id, operator_id, rgs_id, lane_key, lane_seq, event_type, path, body) select id::uuid, $2, $2, $3, id, 2, 'wallet.debit', '/', '' from json_array_elements_text($1) id`,
    [ids('pending', 2), pair.operatorId, pair.rgsId],
  );
}

function walletRow(hub: HubFact, pair: Pair): Record<string, unknown> {
  const isSettled = ['confirmed', 'rejected', 'compensated', 'rolled_back'].includes(hub.state);
  return {
    id: hub.id,
    operator_id: hub.pair === 'other_operator' ? OTHERS.operatorId : pair.operatorId,
    rgs_id: hub.pair === 'other_rgs' ? OTHERS.rgsId : pair.rgsId,
    movement: hub.moves,
    player_id: hub.player,
    ref_id: hub.ref,
    amount_minor: String(hub.amount),
    currency: hub.currency,
    state: hub.state,
    message_id: hub.tombstone ? null : hub.message.id,
    tombstone: hub.tombstone,
    undo_message_id: hub.undo?.id ?? null,
    created_at: new Date(hub.at).toISOString(),
    settled_at: isSettled ? new Date(hub.at).toISOString() : null,
  };
}

interface Message {
  readonly id: string;
  readonly delivery: Delivery;
}

/** A state has several places in the outbox; which of them it is, the message's number decides. */
function inState(messages: readonly Message[], delivery: Delivery, places: readonly number[]): string[] {
  return messages
    .filter((message) => message.delivery === delivery && places.includes(Number(`0x${message.id.slice(-4)}`) % 3))
    .map(({ id }) => id);
}

/** Waiting for its turn; given up but replayed; blocked for good. */
function heads(messages: readonly Message[]): { id: string; at: string }[] {
  return [
    ...inState(messages, 'pending', [0, 1]).map((id) => ({ id, at: '2026-01-01T00:00:00Z' })),
    ...inState(messages, 'dead', [1, 2]).map((id) => ({ id, at: 'infinity' })),
  ];
}
