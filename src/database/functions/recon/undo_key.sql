-- The key of a debit's reversal: both have the correlation id of the debit, and each is a booking of its own. See
-- undoKey in src/reconciliation/sources/correlation-key.ts.
create or replace function recon.undo_key(p_key uuid)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
  select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
  from substring(sha256('undo'::bytea || uuid_send(p_key)) from 1 for 16) as h
$function$;
