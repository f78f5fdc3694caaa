-- Statements that give what the server's first superuser has made in this database to hub_owner, one a row. REASSIGN
-- OWNED does not work for that role, who owns the system's own objects too. Sequences of columns go with their table,
-- indexes and a table's type too; what an extension made stays with it.
-- By hand, as a superuser, see deploy/postgres/roles.sh: { cat hand-over.sql; echo '\gexec'; } | psql
with space as (
    select oid, nspname, nspowner from pg_namespace where nspname not like 'pg\_%' and nspname <> 'information_schema'
  ),
  part as (select classid, objid, deptype from pg_depend where deptype in ('a', 'i', 'e'))
select format('alter database %I owner to hub_owner', datname) as statement from pg_database
where datname = current_database() and datdba = 10
union all
select format('alter schema %I owner to hub_owner', nspname) from space where nspowner = 10
union all
select format('alter %s %s owner to hub_owner',
  case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'c' then 'type'
  else 'table' end, c.oid::regclass)
from pg_class c join space on space.oid = c.relnamespace
where c.relowner = 10 and c.relkind in ('r', 'p', 'v', 'm', 'S', 'c')
  and not exists (select from part
    where classid = 'pg_class'::regclass and objid = c.oid and (c.relkind = 'S' or deptype = 'e'))
union all
select format('alter routine %s owner to hub_owner', p.oid::regprocedure)
from pg_proc p join space on space.oid = p.pronamespace
where p.proowner = 10
  and not exists (select from part where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e')
union all
select format('alter type %s owner to hub_owner', t.oid::regtype)
from pg_type t join space on space.oid = t.typnamespace
where t.typowner = 10 and t.typtype in ('d', 'e')
  and not exists (select from part where classid = 'pg_type'::regclass and objid = t.oid and deptype = 'e')
