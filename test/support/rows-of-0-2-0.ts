import { randomBytes, randomUUID } from 'node:crypto';

export type Rows = Readonly<Record<string, readonly Readonly<Record<string, unknown>>[]>>;

const AT = '2026-01-05T10:00:00.123456Z';
/** UUIDv7 of a week that no partition is made for any more: such messages lie in the default one. */
const messageId = (n: number): string => `019b0000-0000-7000-8000-${String(n).padStart(12, '0')}`;
const [OPERATOR, RGS] = [1, 2];
const [DEBIT, CREDIT, ROLLBACK, TOMBSTONE, PARKED, FREE] = Array.from({ length: 6 }, () => randomUUID());
const [RUN, EXCEPTION] = [randomUUID(), randomUUID()];

const partner = (code: string, role: string) => ({
  code,
  role,
  base_url: `http://127.0.0.1:9/${code}`,
  currencies: ['EUR', 'JPY'],
  currency_exponents: { EUR: 2 },
});

const movement = (id: string | undefined, n: number, row: Record<string, unknown>) => ({
  id,
  operator_id: OPERATOR,
  rgs_id: RGS,
  movement: 'debit',
  player_id: 'player ü',
  external_player_id: 'wallet-7',
  ref_id: `bet-${n}`,
  amount_minor: '9007199254740991',
  currency: 'EUR',
  exponent: 2,
  round_id: 'round-1',
  game_id: 'game',
  meta: JSON.stringify({ b: 1, a: '1.00' }),
  message_id: messageId(n),
  created_at: AT,
  ...row,
});

const message = (n: number, destination: number, row: Record<string, unknown> = {}) => ({
  id: messageId(n),
  destination_id: destination,
  operator_id: OPERATOR,
  rgs_id: RGS,
  lane_key: 'wallet-7',
  lane_seq: n,
  event_type: 'debit',
  transaction_id: DEBIT,
  path: '/v2/withdraw',
  body: '{"amount":1.10,"note":"ü"}',
  expires_at: AT,
  created_at: AT,
  ...row,
});

const recon = (n: number) => ({ k: randomUUID(), attrs: n, ts: AT, src: 4, flags: 0, undo: false, cur: 'EUR' });
const staged = { dir_raw: 'debit', st_raw: 'OK', ref_id: 'bet-1', corr: 'c', amt_raw: '1.10', player: 'p' };
const matched = { owned: true, business_date: '2026-01-05', attrs: 1, mask: 7, n: 3, sum_minor: '330' };

/** Rows of every table of release 0.2.0, of every kind that a table has, in the order in which they can be inserted. */
export const ROWS_OF_0_2_0: Rows = {
  partner: [partner('operator', 'operator'), partner('rgs', 'rgs')],
  partner_credential: [
    { partner_id: RGS, operator_id: OPERATOR, kind: 'bearer', label: 'env', token_sha256: randomBytes(32) },
    { partner_id: OPERATOR, kind: 'signing', label: 'env', secret: 'a secret', not_after: AT },
  ],
  partner_pair: [{ operator_id: OPERATOR, rgs_id: RGS, reference_scope: 'player', status: 'suspended' }],
  player_link: [{ operator_id: OPERATOR, rgs_id: RGS, player_id: 'player ü', external_player_id: 'wallet-7' }],
  hub_replica: [{ id: 'replica-1', role: 'all', at: AT }],
  outbox_destination: [
    { id: OPERATOR, queue: 'operator', breaker: 'open', open_until: AT, sharer_ids: [RGS], sharer_tokens: [0.5] },
    { id: RGS, queue: 'rgs', paused_at: AT, pause_reason: 'by hand' },
  ],
  outbox_share: [{ destination_id: OPERATOR, share: 2 * RGS + 1 }],
  outbox_lane: [{ destination_id: OPERATOR, lane_key: 'wallet-7', last_seq: 5, head_seq: 3, blocked_by: messageId(3) }],
  outbox_message: [
    ...[1, 2, 3, 4, 5].map((n) => message(n, OPERATOR)),
    message(6, RGS, { lane_key: null, lane_seq: null, event_type: 'debit.ok', path: '' }),
  ],
  outbox_head: [
    { message_id: messageId(3), destination_id: OPERATOR, lane_key: 'wallet-7', lane_seq: 3, visible_at: 'infinity' },
    { message_id: messageId(6), destination_id: RGS, leased: true, token: 4, owner: 'replica-1', share: 2 },
  ],
  outbox_attempt: ['sent', 'retry', 'released', 'dead', 'blocked', 'stale'].map((outcome, n) => ({
    message_id: messageId(3),
    n,
    at: AT,
    outcome,
    class: 'timeout',
    error: 'no response',
    replica: 'replica-1',
  })),
  outbox_dead: [
    { message_id: messageId(3), destination_id: OPERATOR, class: 'timeout', attempts: 6, open: true, at: AT },
  ],
  wallet_transaction: [
    movement(DEBIT, 1, { state: 'confirmed', settled_at: AT, balance_minor: 5, external_ref: 'hub-1', signature: -7 }),
    movement(CREDIT, 2, { movement: 'credit', state: 'rejected', settled_at: AT, reason_code: 'player_blocked' }),
    movement(ROLLBACK, 3, {
      movement: 'rollback',
      state: 'confirmed',
      settled_at: AT,
      original_id: DEBIT,
      applied: true,
      message_id: null,
      warnings: ['no_bet_in_round'],
    }),
    movement(TOMBSTONE, 4, { state: 'rolled_back', settled_at: AT, tombstone: true, message_id: null }),
    movement(PARKED, 5, { state: 'parked', undo: 'deadline', undo_message_id: messageId(5), deadline_at: AT }),
    movement(FREE, 6, { kind: 'free', amount_minor: 0, state: 'confirmed', settled_at: AT, message_id: null }),
  ],
  idempotency_key: [{ rgs_id: RGS, key: 'a key', fingerprint: randomBytes(32), transaction_id: DEBIT }],
  wallet_round: [{ rgs_id: RGS, round_id: 'round-1', player_id: 'player ü', operator_id: OPERATOR, closed_at: AT }],
  wallet_event: [
    ...[['initiated', 'confirmed'] as const, ['confirmed', 'rolling_back'] as const].map(([from, to], n) => ({
      transaction_id: DEBIT,
      n,
      at: AT,
      kind: 'transition',
      source: 'rgs',
      from_state: from,
      to_state: to,
      evidence: JSON.stringify({ status: 200 }),
    })),
    { transaction_id: DEBIT, n: 2, kind: 'contradiction', source: 'admin', from_state: 'rejected', to_state: 'parked' },
  ],
  wallet_outcome: [{ transaction_id: DEBIT, outcome: 'OK', message_id: messageId(6), at: AT }],
  wallet_parked: [{ transaction_id: PARKED, at: AT, reason: 'nobody can tell' }],
  wallet_cursor: [{ name: 'deadline:60', at: AT }],
  inbound_callback: [
    {
      operator_id: OPERATOR,
      body_sha256: randomBytes(32),
      body: '{}',
      ref_id: 'bet-1',
      correlation_id: 'c',
      verdict: 'unmatched',
    },
  ],
  'recon.run': [
    {
      id: RUN,
      kind: 'scheduled',
      params_hash: randomBytes(32),
      operator_id: OPERATOR,
      rgs_id: RGS,
      window_from: '2026-01-04T00:00:00Z',
      window_to: '2026-01-05T00:00:00Z',
      business_date: '2026-01-04',
      as_of: AT,
      grace_seconds: 1,
      hard_limit_seconds: 2,
      pad_seconds: 3,
      created_by: 'finance',
      state: 'sealed',
      finished_at: AT,
      items_written: true,
      counts: { matched: 3 },
      item_count: 1,
    },
  ],
  'recon.source_progress': [{ run_id: RUN, source: 1, rows_seen: 3, rows_staged: 2, rows_rejected: 1, done: true }],
  'recon.reject': [{ run_id: RUN, source: 1, n: 1, reason: 'no correlationId', raw: '{}' }],
  'recon.item': [
    {
      run_id: RUN,
      seq: 1,
      k: randomUUID(),
      leg: 'movement',
      class: 'missing',
      classes: ['missing', 'late'],
      severity: 'high',
      state: 'broken',
      reason: 'r',
      next_action: 'n',
      presence: 5,
      booked: 4,
      n_rgs: 1,
      n_op: 0,
      n_hub: 1,
      difference: '-12345678901234567890',
      exception_id: EXCEPTION,
    },
  ],
  'recon.summary': [
    {
      run_id: RUN,
      business_date: null,
      cur: 'EUR',
      dir: 'debit',
      class: 'matched',
      state: 'matched',
      source: 1,
      n: 3,
      sum_minor: '330',
    },
  ],
  'recon.exception': [
    {
      id: EXCEPTION,
      k: randomUUID(),
      class: 'missing',
      severity: 'high',
      operator_id: OPERATOR,
      rgs_id: RGS,
      first_run: RUN,
      last_run: RUN,
      first_seen: AT,
      last_seen: AT,
      owner: 'finance',
      version: 2,
    },
  ],
  'recon.action': [
    {
      id: 1,
      exception_id: EXCEPTION,
      run_id: RUN,
      actor: 'finance',
      action: 'accept',
      reason_code: 'known',
      at: AT,
      prev_hash: randomBytes(32),
      hash: randomBytes(32),
      before: { state: 'open' },
    },
  ],
  'recon.schedule': [
    {
      id: randomUUID(),
      name: 'daily',
      cron: '0 6 * * *',
      zone: 'Europe/Malta',
      cutoff: '00:00',
      grace_seconds: 60,
      updated_by: 'finance',
    },
  ],
  ...Object.fromEntries([0, 1].map((slot) => [`recon.stage_${slot}`, [{ ...recon(slot), ...staged }]])),
  ...Object.fromEntries([0, 1].map((slot) => [`recon.broken_${slot}`, [{ k: randomUUID() }]])),
  ...Object.fromEntries([0, 1].map((slot) => [`recon.matched_${slot}`, [matched]])),
  audit_entry: [
    {
      id: 1,
      at: AT,
      actor: 'ops',
      action: 'replay',
      target: messageId(3),
      before: JSON.stringify({ a: 1 }),
      previous_hash: '0'.repeat(64),
      hash: 'f'.repeat(64),
    },
  ],
};
