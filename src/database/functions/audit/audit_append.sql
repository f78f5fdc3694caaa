-- Writes one entry of the audit log, chained to the one before, and answers its place. Runs as the owner of the tables,
-- so that the hub's own role may not write them: who has its connection can add an entry, but change and remove
-- none, nor choose place, time and hash. The hash is that of audit/audit-chain.ts.
create or replace function audit_append(p_actor text, p_action text, p_target text, p_before text, p_after text,
  p_request_id text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'public', 'pg_temp'
AS $function$
declare
  v_head public.audit_head; v_at timestamptz; v_text text; v_hash text;
begin
  -- The head's lock makes a line of everyone who writes here, so that each entry has exactly one successor.
  select * into strict v_head from public.audit_head for update;
  v_at := clock_timestamp();
  select '[' || string_agg(coalesce(to_json(c.value)::text, 'null'), ',' order by c.place) || ']' into v_text
  from unnest(array[
      v_head.hash, (v_head.entries + 1)::text, to_char(v_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
      p_actor, p_action, p_target, p_before, p_after, p_request_id])
    with ordinality c (value, place);
  v_hash := encode(sha256(convert_to(v_text, 'UTF8')), 'hex');
  insert into public.audit_entry (id, at, actor, action, target, before, after, request_id, previous_hash, hash)
  values (v_head.entries + 1, v_at, p_actor, p_action, p_target, p_before::json, p_after::json, p_request_id,
    v_head.hash, v_hash);
  update public.audit_head set entries = v_head.entries + 1, hash = v_hash;
  return v_head.entries + 1;
end $function$;
revoke all on function audit_append(text, text, text, text, text, text) from public;
