-- Open exceptions of the window that this run looked at and found in order.
-- $1 from, $2 to (null: all time), $3 operator, $4 RGS, $5 as of, $6 run.
update recon.exception e
set state = 'auto_cleared', resolved_at = $5, resolution = 'auto_cleared', last_run = $6, last_seq = null,
  version = version + 1
where e.state = 'open' and e.operator_id = $3 and e.rgs_id = $4
  and ($1::timestamptz is null or e.anchor_at >= $1::timestamptz and e.anchor_at < $2::timestamptz)
  and not exists (
    select from classified key
    where key.match_key = e.k and key.class = e.class and key.result in ('item', 'unplaced')
  )
