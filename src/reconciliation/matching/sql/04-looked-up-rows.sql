-- The hub's rows of keys that no row of its own was staged for: it owns a movement at the time at which it took it,
-- also when that was outside the window and its padding. One with other partners counts too, as what it is; so the
-- operator's list may hold what other game servers moved.
-- $1 operator, $2 RGS, $3 and $4 currencies and what they pack to.
select
  row.match_key as k,
  row.amount_minor as amt,
  recon.pack_attributes(packed.currency, row.direction, row.status) as attrs,
  row.booked_at as ts,
  recon.hub_source(row.operator_id = $1 and row.rgs_id = $2 and not row.is_free) as src,
  recon.pack_flags(row.status = 'unknown', packed.currency = 0, true) as flags,
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
where row.transaction_id in (select transaction_id from missing_hub_rows)
  and row.match_key in (select match_key from missing_hub_rows)
