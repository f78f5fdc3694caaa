-- The hub's rows of a run, as columns of recon.stage_0: the pair's own, and those of one of the two with another
-- partner, since the partners' lists may hold them, too.
-- $1 operator, $2 RGS, $3 and $4 currencies and what they pack to, $5 and $6 the window with its padding (null: all
-- time).
select
  row.match_key as k,
  row.amount_minor as amt,
  recon.pack_attributes(packed.currency, row.direction, row.status) as attrs,
  row.booked_at as ts,
  recon.hub_source(row.operator_id = $1 and row.rgs_id = $2 and not row.is_free) as src,
  recon.pack_flags(row.status = 'unknown', packed.currency = 0, false) as flags,
  row.is_reversal as undo,
  row.currency as cur,
  row.direction as dir_raw,
  row.state as st_raw,
  row.ref_id,
  row.transaction_id::text as corr,
  '' as amt_raw,
  row.player_id as player,
  null::text as row_id
from recon.hub_row row
left join unnest($3::text[], $4::bigint[]) known (currency, packed) on known.currency = row.currency
cross join lateral (select coalesce(known.packed, recon.pack_currency(row.currency)) as currency) packed
where (row.operator_id = $1 or row.rgs_id = $2)
  and ($5::timestamptz is null
    or row.booked_at >= $5 and row.booked_at < $6::timestamptz
      and (row.leg = 'movement'
        or row.reversal_message_id >= uuid_v7_floor($5) and row.reversal_message_id < uuid_v7_floor($6)))
