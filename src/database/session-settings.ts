/**
 * What the hub's statements and its reading of their answers rest on. A database, a role or a server may set any of it
 * otherwise (`alter role … set …`), so each session sets it for itself. Names that a server does not know are passed
 * over.
 */
const SETTINGS: Readonly<Record<string, string>> = {
  // How values are written, as the driver reads them.
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  client_encoding: 'UTF8',
  bytea_output: 'hex',
  extra_float_digits: '1',
  // How statements are read.
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  transform_null_equals: 'off',
  search_path: 'public, pg_temp',
  // A policy that hides rows fails the statement instead: money that is not seen is worse than an error.
  row_security: 'off',
  // What a transaction sees, and that it may write.
  default_transaction_isolation: 'read committed',
  default_transaction_read_only: 'off',
  default_transaction_deferrable: 'off',
  // How long it may last: statement_timeout and idle_in_transaction_session_timeout are sent when connecting.
  lock_timeout: '0',
  transaction_timeout: '0',
  idle_session_timeout: '0',
  exit_on_error: 'off',
  // The warning that a commit did not wait for its standby must arrive; StoreClient heeds it.
  client_min_messages: 'notice',
};

const literal = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const wanted = Object.entries(SETTINGS)
  .map(([name, value]) => `(${literal(name)}, ${literal(value)})`)
  .join(', ');

/**
 * An acknowledged movement must survive the server: 'off' and 'local' do not promise that, 'remote_write' not if both
 * machines lose power. 'remote_apply' promises more.
 */
const COMMIT = `('synchronous_commit',
  case when current_setting('synchronous_commit') = 'remote_apply' then 'remote_apply' else 'on' end)`;

/** One statement, so one round trip per connection. Answers whether the server is a standby. */
export const PREPARE_SESSION = `select pg_is_in_recovery() as recovering, (
  select count(set_config(w.name, w.value, false)) from (values ${wanted}, ${COMMIT}) w (name, value)
  where current_setting(w.name, true) <> w.value)`;

/** The settings that differ from what the hub needs, for a session in which nothing was set. */
export const DIFFERING_SETTINGS = `
  select w.name, w.value as wanted, current_setting(w.name, true) as found
  from (values ${wanted}, ${COMMIT}) w (name, value)
  where current_setting(w.name, true) <> w.value and w.name <> 'search_path'
  order by w.name`;

/** Settings that a session may not change: what they must be is looked at once, at the start. */
export const FIXED_SETTINGS: Readonly<Record<string, string>> = {
  // Triggers that keep the audit log append-only would not fire.
  session_replication_role: 'origin',
  'plpgsql.variable_conflict': 'error',
  server_encoding: 'UTF8',
};
