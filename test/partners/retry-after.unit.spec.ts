import * as fc from 'fast-check';
import { RETRY_AFTER_MS_MAX, retryAfterMs } from '../../src/partners/retry-after';

const NOW = Date.UTC(2026, 9, 25, 12, 0, 0);

describe('Retry-After', () => {
  it.each([
    ['0', 0],
    ['7', 7_000],
    ['  7 ', 7_000],
    ['007', 7_000],
    ['120.5', 121_000],
    ['0.001', 1_000],
    ['900', 900_000],
    ['901', RETRY_AFTER_MS_MAX],
    ['9999999999', RETRY_AFTER_MS_MAX],
    ['9'.repeat(400), RETRY_AFTER_MS_MAX],
    ['Sun, 25 Oct 2026 12:00:40 GMT', 40_000],
    ['Sunday, 25-Oct-26 12:00:40 GMT', 40_000],
    ['Sun Oct 25 12:00:40 2026', 40_000],
    ['Mon Nov  2 12:00:40 2026', RETRY_AFTER_MS_MAX],
    ['Sun, 25 Oct 2026 11:59:00 GMT', 0],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 0],
    ['Sunday, 06-Nov-70 08:49:37 GMT', RETRY_AFTER_MS_MAX],
    ['Sun, 25 Oct 2026 12:00:60 GMT', 60_000],
  ])('%p is a pause of %p ms', (header, ms) => {
    expect(retryAfterMs(header, NOW)).toBe(ms);
  });

  it.each([
    '',
    ' ',
    '-5',
    '+5',
    '5s',
    '5 s',
    '5,',
    '5, 10',
    '.5',
    '5.',
    '1e3',
    '0x10',
    'Infinity',
    'NaN',
    'retry in 40',
    '40 seconds',
    'soon',
    '2026-10-25',
    '2026-10-25T12:00:40Z',
    'Sun, 25 Oct 2026 12:00:40',
    'Sun, 25 Oct 2026 12:00:40 UTC',
    'Sun, 25 Oct 2026 12:00:40 +0200',
    'Sun, 25 Oct 2026 12:00:40 CET',
    'sun, 25 oct 2026 12:00:40 gmt',
    'Sun, 5 Oct 2026 12:00:40 GMT',
    'Sat, 31 Feb 2026 12:00:40 GMT',
    'Sun, 25 Oct 2026 24:00:40 GMT',
    'Sun, 25-Oct-26 12:00:40 GMT',
    '25 Oct 2026 12:00:40 GMT',
    'Oct 25 2026',
    '10/25/2026',
    '٧',
  ])('%p is no pause', (header) => {
    expect(retryAfterMs(header, NOW)).toBeNull();
  });

  it.each([[undefined], [null], [7], [['7']]])('%p is no header', (header) => {
    expect(retryAfterMs(header, NOW)).toBeNull();
  });

  it('reads every date of the three forms in GMT, whatever zone the machine is in', () => {
    const pad = (n: number) => String(n).padStart(2, '0');
    const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
    const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
    fc.assert(
      fc.property(
        fc.integer({ min: Date.UTC(2000) / 1000, max: Date.UTC(2060) / 1000 }),
        fc.integer({ min: 0, max: 900 }),
        fc.constantFrom(0, 1, 2),
        (seconds, pause, form) => {
          const at = new Date((seconds + pause) * 1000);
          const [day, month] = [days[at.getUTCDay()] ?? '', months[at.getUTCMonth()] ?? ''];
          const time = `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}:${pad(at.getUTCSeconds())}`;
          const text = [
            `${day.slice(0, 3)}, ${pad(at.getUTCDate())} ${month} ${at.getUTCFullYear()} ${time} GMT`,
            `${day}, ${pad(at.getUTCDate())}-${month}-${pad(at.getUTCFullYear() % 100)} ${time} GMT`,
            `${day.slice(0, 3)} ${month} ${String(at.getUTCDate()).padStart(2, ' ')} ${time} ${at.getUTCFullYear()}`,
          ][form];
          return retryAfterMs(text, seconds * 1000) === pause * 1000;
        },
      ),
    );
  });
});
