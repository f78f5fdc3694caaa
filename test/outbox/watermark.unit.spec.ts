import { Watermark } from '../../src/outbox/watermark';

/** The database's clock runs an hour ahead of this process's. */
const HOUR_MS = 3_600_000;
const at = (ms: number): Date => new Date(HOUR_MS + ms);

function readAt(ms: number): Watermark {
  const watermark = new Watermark();
  watermark.read({ floor: at(ms - 5_000), now: at(ms) }, ms - 1, ms + 1);
  return watermark;
}

describe('where a claim begins to look', () => {
  it('is the epoch before anything was read, so that nothing is missed', () => {
    expect(new Watermark().floorAt(0)).toEqual(new Date(0));
  });

  it('is the read watermark while no claim has emptied the queue', () => {
    const watermark = readAt(10_000);
    for (const now of [10_001, 10_100, 12_000]) expect(watermark.floorAt(now)).toEqual(at(5_000));
  });

  it("is half a second before the last claim that emptied it, by the database's clock and never later", () => {
    const watermark = readAt(10_000);
    watermark.drained(10_400);
    watermark.floorAt(10_400);
    const floor = watermark.floorAt(10_500).getTime() - HOUR_MS;
    expect(floor).toBeLessThanOrEqual(9_900);
    expect(floor).toBeGreaterThanOrEqual(9_898);
  });

  it('is the read watermark again four times a second, for what slow transactions commit late', () => {
    const watermark = readAt(10_000);
    watermark.drained(10_000);
    const wide = Array.from({ length: 100 }, (_, index) => watermark.floorAt(10_000 + index * 10)).filter(
      (floor) => floor.getTime() === at(5_000).getTime(),
    );
    expect(wide).toHaveLength(4);
  });

  it('never lies before the read watermark', () => {
    const watermark = readAt(10_000);
    watermark.drained(0);
    watermark.floorAt(10_000);
    expect(watermark.floorAt(10_010)).toEqual(at(5_000));
  });
});
