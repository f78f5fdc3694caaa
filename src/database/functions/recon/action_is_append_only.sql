-- Refuses every change of what was written.
create or replace function recon.action_is_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'recon.action is append-only';
end $function$;
create or replace trigger action_append_only before update or delete or truncate on recon.action
  for each statement execute function recon.action_is_append_only();
