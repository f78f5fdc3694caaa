import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { type AuditRecord, hashOf, verifyChain } from '../../src/audit/audit-chain';
import { AuditStore } from '../../src/audit/audit.store';
import { Database } from '../../src/database/database';
import { plantException } from '../support/recon/planted-exception';
import { plantRun } from '../support/recon/planted-run';
import { type TestDatabase, withClient } from '../support/hub/test-database';
import { TestHub } from '../support/hub/test-hub';

const VERIFIER = path.resolve(__dirname, '../../dist/src/admin/verify-audit.js');
const ENTRIES = 5;

/** As `npm run audit:verify` runs it. */
function verify(
  databaseUrl: string,
  extra: Record<string, string> = {},
  files: readonly string[] = [],
): Promise<{ code: number | null; says: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [VERIFIER, ...files], {
      env: { PATH: process.env.PATH ?? '', DATABASE_URL: databaseUrl, ...extra },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let says = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (says += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, says }));
  });
}

/** What the verifier finds, without a process for each look. */
async function brokenEntry(hub: TestHub): Promise<string | null> {
  const store = hub.app.get(AuditStore, { strict: false });
  return hub.app
    .get(Database)
    .transaction(async (tx) => (await verifyChain(store.entries(tx), await store.head(tx))).broken?.id ?? null);
}

describe('the audit log', () => {
  let hub: TestHub;
  let database: TestDatabase;
  beforeAll(async () => {
    hub = await TestHub.start();
    database = hub.database;
    // Acts of a person over HTTP, all of them audited.
    await hub.rgsFault({ kind: 'status', status: 410 });
    const { body } = await hub.debit({ playerId: 'ann' });
    await hub.reaches(body.transactionId, 'confirmed');
    const [record] = await hub.outbox({ queue: 'operator' });
    expect((await hub.replay('operator', record?.id)).status).toBe(200);
    for (let entry = 1; entry < ENTRIES; entry += 1)
      expect((await hub.call('POST', '/admin/destinations/rgs/resume')).status).toBe(200);
  });
  afterAll(() => hub.stop());

  const rows = () =>
    database.query<Record<string, any>>(
      'select id, actor, action, target, before, after, request_id, previous_hash, hash from audit_entry order by id',
    );

  /** A superuser's hand: no trigger stops it. The log is as before afterwards. */
  const tampered = async (sql: string, look: () => Promise<void>): Promise<void> => {
    await database.query(
      'create table audit_entry_copy as table audit_entry; create table audit_head_copy as table audit_head',
    );
    try {
      await withClient(database.superuserUrl, async (client) => {
        await client.query('set session_replication_role = replica');
        for (const statement of sql.split(';')) expect((await client.query(statement)).rowCount).toBeGreaterThan(0);
      });
      await look();
    } finally {
      await withClient(database.superuserUrl, async (client) => {
        await client.query(
          'set session_replication_role = replica; delete from audit_entry; insert into audit_entry table audit_entry_copy; delete from audit_head; insert into audit_head table audit_head_copy',
        );
        await client.query('drop table audit_entry_copy, audit_head_copy');
      });
    }
  };

  it('holds each act with who, when, what, before, after and the request, each chained to the one before', async () => {
    const entries = await rows();
    expect(entries).toHaveLength(ENTRIES);
    expect(entries.map(({ id }) => id)).toEqual(['1', '2', '3', '4', '5']);
    expect(entries[0]).toMatchObject({
      action: 'outbox.replay',
      before: { status: 'sent' },
      after: { status: 'pending' },
    });
    expect(entries[1]).toMatchObject({ action: 'destination.resume', target: 'rgs', after: { paused: false } });
    for (const [index, entry] of entries.entries()) {
      expect(entry.actor).toMatch(/\w/);
      expect(entry.request_id).toMatch(/\w/);
      expect(entry.hash).toMatch(/^[0-9a-f]{64}$/);
      expect(entry.previous_hash).toBe(index === 0 ? '0'.repeat(64) : entries[index - 1]?.hash);
    }
  });

  it('is whole: exit code 0', async () => {
    expect(await verify(database.url)).toEqual({
      code: 0,
      says: `The audit log is whole: ${ENTRIES} entries. By the database only: no checkpoint was given.\n`,
    });
  });

  it.each(['update audit_entry set actor = actor', 'delete from audit_entry where id = 1', 'truncate audit_entry'])(
    'refuses "%s"',
    async (sql) => {
      await expect(database.query(sql)).rejects.toThrow('audit_entry is append-only');
      expect(await rows()).toHaveLength(ENTRIES);
    },
  );

  it.each([
    { column: 'at', value: `at + interval '1 microsecond'` },
    { column: 'actor', value: `'somebody else'` },
    { column: 'action', value: `'database.clear'` },
    { column: 'target', value: `'all'` },
    { column: 'before', value: `'{"paused": false }'::json` },
    { column: 'after', value: 'null' },
    { column: 'request_id', value: 'null' },
    { column: 'previous_hash', value: `repeat('a', 64)` },
    { column: 'hash', value: `repeat('b', 64)` },
    { column: 'id', value: '30' },
  ])('names the entry whose $column was changed', async ({ column, value }) => {
    await tampered(`update audit_entry set ${column} = ${value} where id = 3`, async () =>
      expect(await brokenEntry(hub)).toBe('3'),
    );
  });

  it('names a changed entry wherever it stands, also when its own hash was made to fit', async () => {
    for (const id of [1, 2, 3, 4, ENTRIES])
      await tampered(`update audit_entry set actor = 'x' where id = ${id}`, async () =>
        expect(await brokenEntry(hub)).toBe(String(id)),
      );
    await tampered(`update audit_entry set actor = 'x', hash = encode(sha256('x'), 'hex') where id = 2`, async () =>
      expect(await brokenEntry(hub)).toBe('2'),
    );
  });

  it.each([
    { what: 'the first entry', sql: 'delete from audit_entry where id = 1', named: 1 },
    { what: 'an entry in the middle', sql: 'delete from audit_entry where id = 3', named: 3 },
    { what: 'the last entry', sql: `delete from audit_entry where id = ${ENTRIES}`, named: ENTRIES },
    { what: 'the last two entries', sql: `delete from audit_entry where id >= ${ENTRIES - 1}`, named: ENTRIES - 1 },
    { what: 'all entries', sql: 'delete from audit_entry', named: 1 },
  ])('misses $what, and names it', async ({ sql, named }) => {
    await tampered(sql, async () => expect(await brokenEntry(hub)).toBe(String(named)));
  });

  it('sees two entries that changed places', async () => {
    await tampered(
      'update audit_entry set id = 0 where id = 2; update audit_entry set id = 2 where id = 4; update audit_entry set id = 4 where id = 0',
      async () => expect(await brokenEntry(hub)).toBe('2'),
    );
  });

  it('sees an entry that no act wrote', async () => {
    await tampered(
      `insert into audit_entry (id, at, actor, action, target, previous_hash, hash) select 6, now(), 'x', 'y', 'z', hash, '${randomUUID()}' from audit_entry where id = 5`,
      async () => expect(await brokenEntry(hub)).toBe('6'),
    );
  });

  it('that is broken: exit code 1, and the command names the entry', async () => {
    await tampered(`update audit_entry set actor = 'x' where id = 3`, async () =>
      expect(await verify(database.url)).toEqual({
        code: 1,
        says: 'The audit log is broken at entry 3: entry 3 was changed.\n',
      }),
    );
    await tampered('delete from audit_entry', async () =>
      expect(await verify(database.url)).toEqual({
        code: 1,
        says: `The audit log is broken at entry 1: the chain ends at entry 0, but ${ENTRIES} were written.\n`,
      }),
    );
  });

  it('that cannot be read: exit code 2', async () => {
    await tampered('delete from audit_head', async () => {
      expect(await verify(database.url)).toMatchObject({ code: 2, says: expect.stringContaining('cannot be read') });
    });
    const nowhere = new URL(database.url);
    nowhere.pathname = '/nowhere';
    expect((await verify(nowhere.toString())).code).toBe(2);
  });

  it('stays one chain when many act at once, and is whole after all that was tried here', async () => {
    await Promise.all(Array.from({ length: 30 }, () => hub.call('POST', '/admin/destinations/rgs/resume')));
    expect(await verify(database.url)).toEqual({
      code: 0,
      says: `The audit log is whole: ${ENTRIES + 30} entries. By the database only: no checkpoint was given.\n`,
    });
  });

  it('writes nothing for an act that was refused', async () => {
    const before = (await rows()).length;
    expect((await hub.call('POST', `/admin/replay/rgs/${randomUUID()}`)).status).toBe(404);
    expect(
      (
        await hub.call('PATCH', `/admin/failed-transactions/${randomUUID()}`, {
          resolution: 'applied',
          reason: 'because',
        })
      ).status,
    ).toBe(404);
    expect(await rows()).toHaveLength(before);
  });

  describe('against whoever owns the database', () => {
    let folder: string;
    let file: string;
    const proven = () => verify(database.url, { AUDIT_CHECKPOINT_FILE: file, NODE_ENV: 'test' });
    beforeAll(async () => {
      folder = mkdtempSync(path.join(os.tmpdir(), 'audit-'));
      file = path.join(folder, 'checkpoints');
      await act(await plantException(hub));
      const other = await TestHub.start({
        env: { AUDIT_CHECKPOINT_FILE: file },
        database,
        operator: hub.operator,
        rgs: hub.rgs,
      });
      await other.stop();
      // One more, which no checkpoint has seen.
      await act(await plantException(hub));
    });
    afterAll(() => rmSync(folder, { recursive: true }));
    const act = async (id: string) =>
      expect(
        (
          await hub.call('POST', `/v1/recon/exceptions/${id}/actions`, {
            action: 'comment',
            reasonCode: 'timing',
            note: 'seen',
          })
        ).status,
      ).toBe(200);

    it('says how much is proven, and how much stands in the database only', async () => {
      const { entries } = JSON.parse(readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '').checkpoint.audit;
      expect(await proven()).toEqual({
        code: 0,
        says: `The audit log is whole: ${entries + 1} entries. Proven up to ${entries}; the last 1 by the database only.\nThe history of exceptions is whole: 2 actions. Proven up to 1; the last 1 by the database only.\n`,
      });
    });

    /** The whole log anew, each hash made to fit, and the head to it: what a chain alone cannot see. */
    const rewritten = async (change: (entries: AuditRecord[]) => AuditRecord[]): Promise<string> => {
      const store = hub.app.get(AuditStore, { strict: false });
      const entries: AuditRecord[] = [];
      await hub.app.get(Database).transaction(async (tx) => {
        for await (const entry of store.entries(tx)) entries.push(entry);
      });
      let previousHash = '0'.repeat(64);
      const chained = change(entries).map((entry, index) => {
        const link = { ...entry, id: String(index + 1), previousHash };
        previousHash = hashOf(link);
        return { ...link, hash: previousHash };
      });
      const literal = (text: string | null) =>
        text === null ? 'null' : `'${text.replaceAll("'", "''").replaceAll(';', '')}'`;
      const values = chained.map(
        (e) =>
          `(${e.id}, ${literal(e.at)}, ${literal(e.actor)}, ${literal(e.action)}, ${literal(e.target)}, ${literal(e.before)}, ${literal(e.after)}, ${literal(e.requestId)}, ${literal(e.previousHash)}, ${literal(e.hash)})`,
      );
      return `delete from audit_entry; insert into audit_entry (id, at, actor, action, target, before, after, request_id, previous_hash, hash) values ${values.join(', ')}; update audit_head set entries = ${chained.length}, hash = '${previousHash}'`;
    };

    it.each<[string, (entries: AuditRecord[]) => AuditRecord[]]>([
      ['the end cut off, with the head set back', (entries) => entries.slice(0, 3)],
      [
        'an entry edited, and all hashes computed anew',
        (entries) => entries.with(1, { ...(entries[1] as AuditRecord), actor: 'somebody else' }),
      ],
      [
        'an entry put in between, and all hashes computed anew',
        (entries) => entries.toSpliced(2, 0, entries[1] as AuditRecord),
      ],
      ['everything replaced', (entries) => entries.map((entry) => ({ ...entry, target: 'all' }))],
    ])('%s is found, though the chain by itself is whole', async (_what, change) => {
      await tampered(await rewritten(change), async () => {
        expect((await verify(database.url)).says).toContain('The audit log is whole');
        expect(await proven()).toMatchObject({
          code: 1,
          says: expect.stringContaining('The audit log was replaced: '),
        });
      });
    });

    it('a log that was emptied, with its head, is found', async () => {
      await tampered(`delete from audit_entry; update audit_head set entries = 0, hash = repeat('0', 64)`, async () => {
        expect(await proven()).toMatchObject({ code: 1, says: expect.stringContaining('it holds 0, and') });
      });
    });

    it('so is a history of exceptions that was emptied together with what the log knows of it, by a manifest alone', async () => {
      const run = await plantRun(hub, {});
      const manifest = path.join(folder, 'manifest.json');
      writeFileSync(manifest, JSON.stringify((await hub.call('GET', `/v1/recon/runs/${run}/manifest`)).body, null, 2));
      await withClient(database.superuserUrl, async (client) => {
        await client.query(
          'set session_replication_role = replica; create table kept as table recon.action; delete from recon.action',
        );
        try {
          await tampered(
            await rewritten((entries) => entries.filter(({ action }) => action !== 'exception.act')),
            async () => {
              const { code, says } = await verify(database.url, { NODE_ENV: 'test' }, [manifest]);
              expect([code, says]).toEqual([
                1,
                expect.stringContaining('The history of exceptions is broken: it holds 0, and'),
              ]);
            },
          );
        } finally {
          await client.query('insert into recon.action table kept; drop table kept');
        }
      });
    });

    it('a checkpoint that was changed, or signed by another, proves nothing and is named', async () => {
      writeFileSync(path.join(folder, 'forged'), readFileSync(file, 'utf8').replace(/"entries":\d+/, '"entries":2'));
      expect(await verify(database.url, { NODE_ENV: 'test' }, [path.join(folder, 'forged')])).toMatchObject({
        code: 1,
        says: expect.stringContaining('the signature does not fit'),
      });
      expect(
        await verify(database.url, { NODE_ENV: 'test', RECON_SIGNING_KEY: 'another key altogether' }, [file]),
      ).toMatchObject({ code: 1, says: expect.stringContaining('signed with the key') });
    });

    it('no database, or no file where one was named: exit code 2, and none is made', async () => {
      const empty = path.join(folder, 'empty');
      expect(await verify('', { DATA_DIR: empty })).toMatchObject({
        code: 2,
        says: expect.stringContaining('DATABASE_URL is not set'),
      });
      expect(existsSync(empty)).toBe(false);
      expect(
        (await verify(database.url, { AUDIT_CHECKPOINT_FILE: path.join(folder, 'gone'), NODE_ENV: 'test' })).code,
      ).toBe(2);
    });
  });
});
