import { version as versionOf } from 'uuid';
import { newId } from '../../src/database/new-id';

describe('newId', () => {
  it('gives UUIDs of version 7 for the present millisecond, each later than the one before, past the end of its store of randomness', () => {
    const from = Date.now();
    const ids = Array.from({ length: 5_000 }, newId);
    const until = Date.now();
    expect([...ids].sort()).toEqual(ids);
    expect(new Set(ids).size).toBe(ids.length);
    for (const id of ids) {
      expect(versionOf(id)).toBe(7);
      const ms = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16);
      expect(ms >= from && ms <= until).toBe(true);
    }
    // What is no time and no sequence is random: no two ids share it.
    expect(new Set(ids.map((id) => id.slice(-11))).size).toBe(ids.length);
  });

  it('stays in order while the clock stands back', () => {
    const first = newId();
    const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.now() - 60_000);
    try {
      expect(newId() > first).toBe(true);
    } finally {
      clock.mockRestore();
    }
  });
});
