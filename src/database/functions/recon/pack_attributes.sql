-- `attrs` of a staged row: currency, direction and status in one number, so that equal numbers mean equal attributes.
-- `p_currency` is what recon.pack_currency makes. See packAttributes in src/reconciliation/run/codes.ts.
create or replace function recon.pack_attributes(p_currency bigint, p_direction text, p_status text) returns bigint
language sql immutable parallel safe as $$
  select p_currency * 16 + case p_direction when 'debit' then 4 when 'credit' then 8 else 0 end
    + case p_status when 'pending' then 1 when 'settled' then 2 when 'refused' then 3 else 0 end
$$;
