import { IdleMemory } from '../../src/observability/idle-memory';
import { Logger } from '../../src/observability/logger';

const MB = 1024 * 1024;
const LOOK_MS = 5_000;

describe('an idle hub', () => {
  const had = globalThis.gc;
  let nowMs = 0;
  let cpuMs = 0;
  let heapBytes = 0;
  let collections = 0;
  let memory: IdleMemory;

  beforeEach(() => {
    [nowMs, cpuMs, heapBytes, collections] = [0, 0, 80 * MB, 0];
    jest.spyOn(performance, 'now').mockImplementation(() => nowMs);
    jest.spyOn(process, 'cpuUsage').mockImplementation(() => ({ user: cpuMs * 1000, system: 0 }));
    jest
      .spyOn(process, 'memoryUsage')
      .mockImplementation((() => ({ heapTotal: heapBytes })) as unknown as NodeJS.MemoryUsageFn);
    globalThis.gc = (() => {
      collections += 1;
      heapBytes = 50 * MB;
    }) as NodeJS.GCFunction;
    memory = new IdleMemory(new Logger('silent'));
  });

  afterEach(() => {
    jest.restoreAllMocks();
    if (had === undefined) Reflect.deleteProperty(globalThis, 'gc');
    else globalThis.gc = had;
  });

  function lookAfter(usedCpuMs: number): number {
    nowMs += LOOK_MS;
    cpuMs += usedCpuMs;
    memory.look();
    return collections;
  }

  it('collects what was left behind, at the second look that finds nothing going on, and once', () => {
    expect([lookAfter(900), lookAfter(40), lookAfter(40), lookAfter(40), lookAfter(40)]).toEqual([0, 0, 1, 1, 1]);
  });

  it('does not while anything goes on, however little', () => {
    expect([lookAfter(40), lookAfter(100), lookAfter(40), lookAfter(100)]).toEqual([0, 0, 0, 0]);
  });

  it('collects again after the next busy time', () => {
    lookAfter(40);
    expect(lookAfter(40)).toBe(1);
    heapBytes = 60 * MB;
    lookAfter(900);
    expect([lookAfter(40), lookAfter(40)]).toEqual([1, 1]);
    heapBytes = 90 * MB;
    expect(lookAfter(40)).toBe(2);
  });

  it('goes on without the function that collects', () => {
    Reflect.deleteProperty(globalThis, 'gc');
    expect([lookAfter(40), lookAfter(40)]).toEqual([0, 0]);
  });
});
