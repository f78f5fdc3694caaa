/** Longest pause that a partner can ask for; docs/integration.md names it. */
export const RETRY_AFTER_MS_MAX = 900_000;

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const MONTH = `(?<month>${MONTHS.join('|')})`;
const TIME = String.raw`(?<hour>[01]\d|2[0-3]):(?<minute>[0-5]\d):(?<second>[0-5]\d|60)`;
const DAY_NAME = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)';
const LONG_DAY_NAME = '(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)';
/** The three forms of a date in RFC 9110, 5.6.7, each of them in GMT: IMF-fixdate, that of RFC 850, that of asctime. */
const DATES = [
  new RegExp(String.raw`^${DAY_NAME}, (?<day>\d\d) ${MONTH} (?<year>\d{4}) ${TIME} GMT$`),
  new RegExp(String.raw`^${LONG_DAY_NAME}, (?<day>\d\d)-${MONTH}-(?<year>\d\d) ${TIME} GMT$`),
  new RegExp(String.raw`^${DAY_NAME} ${MONTH} (?<day>\d\d| \d) ${TIME} (?<year>\d{4})$`),
];

/**
 * Retry-After (RFC 9110, 10.2.3) as milliseconds from `nowMs`, from 0 to RETRY_AFTER_MS_MAX; null for anything that is
 * neither seconds nor a date, so that a word in the header delays no call. Date.parse would take much more than the
 * three forms, and one without a zone as local time. The only reader of this header: all calls, lists and questions to
 * partners go through it.
 */
export function retryAfterMs(header: unknown, nowMs: number): number | null {
  if (typeof header !== 'string') return null;
  const text = header.trim();
  // A fraction is no form of the RFC, but it is clear what is meant; rounded up, so that no call is too early.
  const waitMs = /^\d+(?:\.\d+)?$/.test(text)
    ? Math.ceil(Number(text)) * 1000
    : (httpDateMs(text, nowMs) ?? NaN) - nowMs;
  return Number.isNaN(waitMs) ? null : Math.min(Math.max(waitMs, 0), RETRY_AFTER_MS_MAX);
}

function httpDateMs(text: string, nowMs: number): number | null {
  for (const form of DATES) {
    const parts = form.exec(text)?.groups;
    if (parts === undefined) continue;
    const [day, month] = [Number(parts.day), MONTHS.indexOf(parts.month ?? '')];
    const date = new Date(
      Date.UTC(
        fullYear(parts.year ?? '', nowMs),
        month,
        day,
        Number(parts.hour),
        Number(parts.minute),
        Number(parts.second),
      ),
    );
    // The 31st of a shorter month would silently be the 1st of the next. A leap second moves the minute, not the day,
    // but at midnight.
    return parts.second === '60' || date.getUTCDate() === day ? date.getTime() : null;
  }
  return null;
}

/** Two digits are of the century that keeps the date from lying more than 50 years ahead. */
function fullYear(digits: string, nowMs: number): number {
  if (digits.length === 4) return Number(digits);
  const thisYear = new Date(nowMs).getUTCFullYear();
  const year = Math.floor(thisYear / 100) * 100 + Number(digits);
  return year > thisYear + 50 ? year - 100 : year;
}
