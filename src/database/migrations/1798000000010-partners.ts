import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Operators and game servers are rows: whatever differs between two of them is data here, not code. */
const PARTNER = `
  create table partner (
    id integer generated always as identity constraint partner_pkey primary key,
    code text not null constraint partner_code_key unique,
    role text not null,
    base_url text not null,
    active boolean not null default true,
    currencies text[] not null,
    retired_currencies text[] not null default '{}',
    currency_exponents jsonb not null default '{}',
    amount_encoding text not null default 'number',
    amount_minor_max bigint not null default 9007199254740991,
    player_id_template text not null default '{playerId}',
    status_words jsonb not null default '{
      "applied": ["OK", "SUCCESS"],
      "pending": ["PENDING", "ACCEPTED"],
      "refused": ["REJECTED", "DECLINED", "FAILED", "ERROR"]
    }',
    idempotent_by_reference boolean not null default true,
    status_query boolean not null default true,
    rollback_route boolean not null default false,
    timeout_ms integer not null default 10000,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    refusal_is_final boolean not null default false,
    signature_version_required smallint not null default 1,
    answers_later boolean not null default false,
    constraint partner_role check (role in ('operator', 'rgs')),
    constraint partner_amount_encoding check (amount_encoding in ('number', 'string')),
    constraint partner_amount_minor_max check (amount_minor_max between 1 and 9007199254740991),
    constraint partner_timeout_ms check (timeout_ms > 0),
    constraint partner_signature_version check (signature_version_required in (1, 2))
  );
  comment on column partner.base_url is 'operator: root of its wallet API; rgs: the webhook URL itself';
  comment on column partner.retired_currencies
    is 'no longer taken for debits; credits still pass, since a win is never gated';
  comment on column partner.refusal_is_final
    is 'the operator keeps refusals with the reference: a refused repeat speaks for every call before it';
  comment on column partner.signature_version_required
    is 'least version of the signature that its requests must have';
  comment on column partner.answers_later is 'it may accept a call and book it later, until the callback time-out: '
    'a call whose answer was lost may be booked until then';
`;

const PARTNER_CREDENTIAL = `
  create table partner_credential (
    id integer generated always as identity constraint partner_credential_pkey primary key,
    partner_id integer not null constraint partner_credential_partner_fkey references partner (id),
    operator_id integer constraint partner_credential_operator_fkey references partner (id),
    kind text not null,
    label text not null,
    token_sha256 bytea,
    secret text,
    created_at timestamptz not null default now(),
    not_after timestamptz,
    constraint partner_credential_label_key unique (partner_id, kind, label),
    constraint partner_credential_kind check (kind in ('bearer', 'signing')),
    constraint partner_credential_value check (
      (kind = 'bearer' and token_sha256 is not null and secret is null)
      or (kind = 'signing' and secret is not null and token_sha256 is null)
    )
  );
  comment on column partner_credential.operator_id
    is 'for a token of an RGS: the operator whose wallet its requests move';
  comment on column partner_credential.not_after
    is 'end of the overlap while two credentials are live; null = no end';
`;

const PARTNER_PAIR = `
  create table partner_pair (
    operator_id integer not null constraint partner_pair_operator_fkey references partner (id),
    rgs_id integer not null constraint partner_pair_rgs_fkey references partner (id),
    reference_scope text not null default 'operator',
    status text not null default 'active',
    created_at timestamptz not null default now(),
    constraint partner_pair_pkey primary key (operator_id, rgs_id),
    constraint partner_pair_reference_scope check (reference_scope in ('player', 'operator')),
    constraint partner_pair_status check (status in ('active', 'suspended', 'closed'))
  );
  comment on column partner_pair.reference_scope
    is 'player: the operator keys its books by player and reference, and gets the RGS''s refId; '
    'operator: by reference alone, and gets one that the hub makes';
`;

const PLAYER_LINK = `
  create table player_link (
    operator_id integer not null constraint player_link_operator_fkey references partner (id),
    rgs_id integer not null constraint player_link_rgs_fkey references partner (id),
    player_id text not null,
    external_player_id text not null,
    created_at timestamptz not null default now(),
    constraint player_link_pkey primary key (operator_id, rgs_id, player_id),
    constraint player_link_external_key unique (operator_id, rgs_id, external_player_id)
  );
`;

/** Unlogged: a row says something about this second only, and a beat costs no flush and waits for no standby. */
const HUB_REPLICA = `
  create unlogged table hub_replica (
    id text not null constraint hub_replica_pkey primary key,
    role text not null,
    at timestamptz not null
  ) with (fillfactor = 50);
  comment on table hub_replica is 'Processes of this hub; each writes "at" once a second';
`;

export class Partners1798000000010 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    for (const sql of [PARTNER, PARTNER_CREDENTIAL, PARTNER_PAIR, PLAYER_LINK, HUB_REPLICA]) await runner.query(sql);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table hub_replica, player_link, partner_pair, partner_credential, partner');
  }
}
