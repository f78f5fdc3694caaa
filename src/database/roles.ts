import type { Sql } from './database';

/**
 * Two roles: the owner makes and changes the tables, the application role is the one that the hub serves as. What the
 * application role may do is written here and nowhere else, and granted after the migrations.
 */

/** To whom the owner grants, and what depends on the environment. */
export interface Application {
  readonly role: string;
  /** Whether POST /admin/clear-db may empty the tables of movements. */
  readonly mayClear: boolean;
}

/**
 * Written by functions of the owner only, or not at all. TypeORM's own tables are read to see which migrations are
 * there.
 */
const READ_ONLY = ['audit_entry', 'audit_head', 'migrations', 'typeorm_metadata'];
/** What was written stays as it is. */
const APPEND_ONLY = ['recon.action'];
/**
 * Rows that go when their time is over. Everything else stays: movements, their events and outcomes, messages, reports.
 */
export const DELETED_FROM = [
  'hub_replica',
  'idempotency_key',
  'inbound_callback',
  'outbox_dead',
  'outbox_head',
  'partner_credential',
  'recon.reject',
  'recon.schedule',
  'recon.source_progress',
  'wallet_parked',
];
/** Where a reconciliation run lays what it reads; emptied, and analysed again for the planner, by the next one. */
const STAGING = /^recon\.(stage|broken|matched)_\d$/;
/** By POST /admin/clear-db, which production refuses. */
export const CLEARED = [
  'idempotency_key',
  'inbound_callback',
  'outbox_attempt',
  'outbox_dead',
  'outbox_head',
  'outbox_lane',
  'outbox_message',
  'wallet_event',
  'wallet_outcome',
  'wallet_parked',
  'wallet_round',
  'wallet_transaction',
];

/** What the application role may do with a table; a partition is named by its root. */
export function rightsOn(table: string, { mayClear }: Pick<Application, 'mayClear'>): string[] {
  const rights = ['SELECT'];
  if (READ_ONLY.includes(table)) return rights;
  rights.push('INSERT');
  if (APPEND_ONLY.includes(table)) return rights;
  rights.push('UPDATE');
  const isStaging = STAGING.test(table);
  if (isStaging || DELETED_FROM.includes(table)) rights.push('DELETE');
  if (isStaging || (mayClear && CLEARED.includes(table))) rights.push('TRUNCATE');
  // For ANALYZE, which passes over other tables with a warning.
  if (isStaging) rights.push('MAINTAIN');
  return rights;
}

const OURS = `('public', 'recon')`;
const MINE = (owner: string): string => `pg_has_role(current_user, ${owner}, 'USAGE')`;

/** As the owner: why it could not migrate, or null. */
export async function ownerFault(sql: Sql, application: Application): Promise<string | null> {
  const [facts] = await sql.rows<{ owner: string; known: boolean; others: string | null }>(
    `select current_user as owner, exists (select from pg_roles where rolname = $1) as known,
       (select string_agg(distinct c.relowner::regrole::text, ', ') from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relname in ('migrations', 'audit_entry')
          and not ${MINE('c.relowner')}) as others`,
    [application.role],
  );
  if (facts === undefined) throw new Error('a select without from-clause answers one row');
  if (!facts.known) return `the role "${application.role}" of DATABASE_URL does not exist on this server`;
  if (facts.others !== null)
    return (
      `the hub's tables belong to ${facts.others}, ` +
      `and the role "${facts.owner}" of DATABASE_OWNER_URL may not change them`
    );
  return null;
}

/**
 * As the owner: gives the application role its rights, and takes away what it has beyond them. What is right already is
 * left alone, since a change of rights makes every session plan again.
 */
export async function grantToApplication(sql: Sql, application: Application): Promise<void> {
  const role = quoted(application.role);
  for (const { text } of await sql.rows<{ text: string }>(LACKING, [application.role])) await sql.rows(text);
  const tables = await sql.rows<{ table: string; root: string; isView: boolean; found: string[] }>(
    `select c.oid::regclass::text as table, coalesce(pg_partition_root(c.oid)::regclass, c.oid::regclass)::text as root,
       c.relkind = 'v' as "isView",
       array(
         select a.privilege_type::text from aclexplode(c.relacl) a where a.grantee = $1::regrole order by 1
       ) as found
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname in ${OURS} and c.relkind in ('r', 'p', 'v') and ${MINE('c.relowner')} order by 1`,
    [role],
  );
  for (const { table, root, isView, found } of tables) {
    // A view is read, and shows what its owner may see.
    const rights = isView ? ['SELECT'] : rightsOn(root.replace(/^public\./, ''), application);
    const [surplus, missing] = [
      found.filter((right) => !rights.includes(right)),
      rights.filter((right) => !found.includes(right)),
    ];
    if (surplus.length > 0) await sql.rows(`revoke ${surplus.join(', ')} on ${table} from ${role}`);
    if (missing.length > 0) await sql.rows(`grant ${missing.join(', ')} on ${table} to ${role}`);
  }
}

/**
 * Statements for what is no right on a table. Later tables, weeks among them, come with rights: a process of the build
 * before could not use them otherwise while the new one migrates.
 */
const LACKING = `
  with application (role, name) as (select oid, quote_ident(rolname) from pg_roles where rolname = $1)
  select format('grant connect, temporary on database %I to %s', current_database(), name) as text from application
  where not has_database_privilege(role, current_database(), 'CONNECT')
    or not has_database_privilege(role, current_database(), 'TEMPORARY')
  union all
  select format('revoke create on schema %I from public, %s', n.nspname, a.name) from application a, pg_namespace n
  where n.nspname in ${OURS} and has_schema_privilege(a.role, n.oid, 'CREATE') and ${MINE('n.nspowner')}
  union all
  select format('grant usage on schema %I to %s', n.nspname, a.name) from application a, pg_namespace n
  where n.nspname in ${OURS} and not has_schema_privilege(a.role, n.oid, 'USAGE')
  union all
  select format('grant execute on routine %s to %s', p.oid::regprocedure, a.name) from application a, pg_proc p
  where p.pronamespace in (select oid from pg_namespace where nspname in ${OURS}) and ${MINE('p.proowner')}
    and not has_function_privilege(a.role, p.oid, 'EXECUTE')
  union all
  select format('grant usage on type %s to %s', t.oid::regtype, a.name) from application a, pg_type t
  where t.typnamespace in (select oid from pg_namespace where nspname in ${OURS}) and t.typtype in ('c', 'd', 'e')
    and ${MINE('t.typowner')} and not has_type_privilege(a.role, t.oid, 'USAGE')
  union all
  select format('alter default privileges in schema %I grant select, insert, update on tables to %s', n.nspname, a.name)
  from application a, pg_namespace n
  where n.nspname in ${OURS} and not exists (
    select from pg_default_acl d, aclexplode(d.defaclacl) x
    where d.defaclrole = current_user::regrole and d.defaclnamespace = n.oid and d.defaclobjtype = 'r'
      and x.grantee = a.role and x.privilege_type = 'UPDATE')`;

/** As the role of DATABASE_URL: what it could do that serving needs not. */
export async function surplusPowers(sql: Sql): Promise<{ role: string; isSuperuser: boolean; powers: string[] }> {
  const [facts] = await sql.rows<{
    role: string;
    superuser: boolean;
    server: boolean;
    owns: boolean;
    rewrites: boolean;
    creates: boolean;
  }>(
    `select current_user::text as role, r.rolsuper as superuser,
       r.rolcreaterole or r.rolbypassrls or r.rolreplication as server,
       pg_has_role(current_user, e.relowner, 'MEMBER') as owns,
       has_table_privilege(e.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
         or has_table_privilege('public.audit_head', 'INSERT, UPDATE, DELETE, TRUNCATE')
         or has_table_privilege('recon.action', 'UPDATE, DELETE, TRUNCATE, TRIGGER') as rewrites,
       has_schema_privilege('public', 'CREATE') or has_schema_privilege('recon', 'CREATE') as creates
     from pg_roles r, pg_class e where r.rolname = current_user and e.oid = 'public.audit_entry'::regclass`,
  );
  if (facts === undefined) throw new Error('the tables of the hub are missing');
  const { role, superuser, ...rest } = facts;
  const powers = [
    ...(superuser ? ['is a superuser'] : []),
    ...(rest.server && !superuser ? ['may make roles, copy the server or pass over policies'] : []),
    ...(rest.owns ? ["may become the owner of the hub's tables"] : []),
    ...(rest.rewrites ? ['may rewrite the audit log'] : []),
    ...(rest.creates ? ['may make tables and functions'] : []),
  ];
  return { role, isSuperuser: superuser, powers };
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
