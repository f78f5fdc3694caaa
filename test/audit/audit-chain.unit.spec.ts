import fc from 'fast-check';
import { type AuditRecord, type ChainHead, hashOf, verifyChain } from '../../src/audit/audit-chain';

const GENESIS = '0'.repeat(64);
type Said = Omit<AuditRecord, 'id' | 'previousHash' | 'hash'>;
const entry: Said = {
  at: '2026-11-23T12:00:00.000000Z',
  actor: 'ops',
  action: 'outbox.replay',
  target: 'rgs/1',
  before: '{"status":"dead"}',
  after: null,
  requestId: 'r-1',
};

function chain(entries: readonly Said[]): AuditRecord[] {
  const records: AuditRecord[] = [];
  for (const said of entries) {
    const link = { ...said, id: String(records.length + 1), previousHash: records.at(-1)?.hash ?? GENESIS };
    records.push({ ...link, hash: hashOf(link) });
  }
  return records;
}
const headOf = (records: readonly AuditRecord[]): ChainHead => ({
  entries: records.length,
  hash: records.at(-1)?.hash ?? GENESIS,
});
async function* stream(records: readonly AuditRecord[]): AsyncGenerator<AuditRecord> {
  for (const record of records) yield await Promise.resolve(record);
}
const verify = (records: readonly AuditRecord[], head: ChainHead) => verifyChain(stream(records), head);

const text = fc.string({ unit: 'binary', maxLength: 12 });
const said: fc.Arbitrary<Said> = fc.record({
  at: text,
  actor: text,
  action: text,
  target: text,
  before: fc.option(text),
  after: fc.option(text),
  requestId: fc.option(text),
});
const COLUMNS = ['at', 'actor', 'action', 'target', 'before', 'after', 'requestId'] as const;

describe('the chain of audit entries', () => {
  it('is whole when nothing was touched, also when it is empty', async () => {
    const records = chain([entry, entry, entry]);
    expect(await verify(records, headOf(records))).toEqual({ entries: 3, broken: null });
    expect(await verify([], headOf([]))).toEqual({ entries: 0, broken: null });
  });

  it('names the entry in which any column was changed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(said, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        fc.constantFrom(...COLUMNS),
        fc.option(text),
        async (entries, place, column, value) => {
          const records = chain(entries);
          const index = place % records.length;
          const victim = records[index] as AuditRecord;
          fc.pre(value !== victim[column] && (value !== null || ['before', 'after', 'requestId'].includes(column)));
          const tampered = records.with(index, { ...victim, [column]: value });
          expect((await verify(tampered, headOf(records))).broken?.id).toBe(String(index + 1));
        },
      ),
    );
  });

  it('keeps the borders between columns: text that moves from one to the next is seen', () => {
    const link = { ...entry, id: '1', previousHash: GENESIS };
    expect(hashOf({ ...link, actor: 'ops","x', action: 'y' })).not.toBe(
      hashOf({ ...link, actor: 'ops', action: 'x","y' }),
    );
    expect(hashOf({ ...link, before: null, after: 'null' })).not.toBe(hashOf({ ...link, before: 'null', after: null }));
  });

  it('names the first of entries that are missing, wherever they stood, and however many', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.nat(), fc.nat(), async (length, from, count) => {
        const records = chain(Array.from({ length }, () => entry));
        const start = from % length;
        const gone = 1 + (count % (length - start));
        const verification = await verify(records.toSpliced(start, gone), headOf(records));
        expect(verification.broken?.id).toBe(String(start + 1));
      }),
    );
  });

  it('names the first of two entries that changed places, in whatever way', async () => {
    const [one, two, three] = chain([entry, { ...entry, actor: 'b' }, { ...entry, actor: 'c' }]) as [
      AuditRecord,
      AuditRecord,
      AuditRecord,
    ];
    const head = headOf([one, two, three]);
    expect((await verify([one, { ...three, id: '2' }, { ...two, id: '3' }], head)).broken?.id).toBe('2');
    const rehashed = (record: AuditRecord, id: string): AuditRecord => ({
      ...record,
      id,
      hash: hashOf({ ...record, id }),
    });
    expect((await verify([one, rehashed(three, '2'), rehashed(two, '3')], head)).broken?.id).toBe('2');
  });

  it('sees an entry that was added at the end, and a chain that was written anew', async () => {
    const records = chain([entry, entry]);
    expect((await verify(chain([entry, entry, entry]), headOf(records))).broken).not.toBeNull();
    expect((await verify(chain([{ ...entry, actor: 'somebody else' }, entry]), headOf(records))).broken).not.toBeNull();
  });
});
