-- Makes what earlier transactions wrote, and the caller has seen, as durable as a commit of its own: with synchronous
-- replication, the caller's commit waits for the standby. A row can be seen here that no standby has: its backend was
-- ended while it waited. A caller that reports such a row without writing anything would not wait, and the next primary
-- may not know it. Without synchronous replication what can be seen is on the disk, and nothing is written.
create or replace function ensure_durable()
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
  if current_setting('synchronous_standby_names') <> '' then
    perform pg_logical_emit_message(true, 'hub', '');
  end if;
end $function$;
