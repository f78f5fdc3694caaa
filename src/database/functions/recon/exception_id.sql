-- The same discrepancy has the same id in every database and whatever came before it, so a report that names it can
-- be made again.
create or replace function recon.exception_id(p_key uuid, p_class text)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
  select encode(set_byte(set_byte(h, 6, (get_byte(h, 6) & 15) | 128), 8, (get_byte(h, 8) & 63) | 128), 'hex')::uuid
  from substring(sha256(uuid_send(p_key) || convert_to(p_class, 'UTF8')) from 1 for 16) as h
$function$;
