#!/bin/sh
# The two roles of the hub: hub_owner owns the tables and migrates, hub_app is what the hub serves as. Runs by itself when the volume is new. On an older
# volume, whose superuser had made the tables, run it once; it may be repeated, and then sets the passwords again:
#   docker compose exec postgres sh /docker-entrypoint-initdb.d/roles.sh
set -eu
admin() {
  psql --set=ON_ERROR_STOP=1 --set=owner_password="$POSTGRES_OWNER_PASSWORD" --set=app_password="$POSTGRES_APP_PASSWORD" --set=database="$POSTGRES_DB" \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --no-psqlrc --quiet --tuples-only
}
admin <<'SQL'
set log_min_error_statement = panic;
select 'create role ' || name from unnest(array['hub_owner', 'hub_app']) name where not exists (select from pg_roles where rolname = name) \gexec
alter role hub_owner login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'owner_password';
alter role hub_app login nosuperuser nocreatedb nocreaterole noreplication nobypassrls password :'app_password';
grant pg_read_all_stats to hub_owner, hub_app;
alter database :"database" owner to hub_owner;
revoke all on database :"database" from public;
grant connect, temporary on database :"database" to hub_app;
SQL
{ echo 'set search_path = pg_catalog;'; cat /deploy/hand-over.sql; echo '\gexec'; } | admin
