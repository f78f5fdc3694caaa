const wallClocks = new Map<string, Intl.DateTimeFormat>();

/** How far the clocks of a zone are ahead of UTC at an instant, by asking what they show. */
function offsetAt(at: number, zone: string): number {
  const clock =
    wallClocks.get(zone) ??
    new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  wallClocks.set(zone, clock);
  const parts = Object.fromEntries(clock.formatToParts(at).map(({ type, value }) => [type, Number(value)])) as Record<
    string,
    number
  >;
  return (
    Date.UTC(parts.year ?? 0, (parts.month ?? 1) - 1, parts.day, parts.hour, parts.minute, parts.second) -
    Math.floor(at / 1000) * 1000
  );
}

/**
 * When the clocks show `wall` for the first time; where they skip it, when they would have shown it without the change.
 */
function instantOf(wall: number, zone: string): number {
  const [before, after] = [offsetAt(wall - 86_400_000, zone), offsetAt(wall + 86_400_000, zone)];
  const shown = [before, after].map((offset) => wall - offset).filter((at) => offsetAt(at, zone) === wall - at);
  return shown.length > 0 ? Math.min(...shown) : wall - before;
}

/**
 * The last local date whose cut-off has come at an instant. Asks what the clocks of the zone show, and nothing else: no
 * library of src/ is trusted here.
 */
export function businessDate(at: number, zone: string, cutoff: string): string {
  const [hour = 0, minute = 0] = cutoff.split(':').map(Number);
  const shown = at + offsetAt(at, zone);
  const midnight = shown - (((shown % 86_400_000) + 86_400_000) % 86_400_000);
  for (let day = midnight + 86_400_000; ; day -= 86_400_000)
    if (instantOf(day + (hour * 60 + minute) * 60_000, zone) <= at) return new Date(day).toISOString().slice(0, 10);
}
