create or replace function recon.action_is_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'recon.action is append-only';
end $function$;
