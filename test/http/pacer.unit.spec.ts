import { Pacer } from '../../src/http/pacer';

it('refusals are answered at once until there are many of them, and then at an even rate', () => {
  const pacer = new Pacer(100);
  const waits = Array.from({ length: 60 }, () => pacer.delayMs(1_000));
  expect(waits.slice(0, 50)).toEqual(Array(50).fill(0));
  expect(waits.slice(50)).toEqual([10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
  expect(pacer.delayMs(1_100, 5)).toBe(50);
  expect(pacer.delayMs(10_000)).toBe(0);
  for (let n = 0; n < 10_000; n += 1) pacer.delayMs(10_000);
  expect(pacer.delayMs(10_000)).toBe(5_000);
  expect(Array.from({ length: 5 }, () => new Pacer(0).delayMs(0))).toEqual([0, 0, 0, 0, 0]);
});
