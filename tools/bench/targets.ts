interface Target {
  readonly what: 'value' | 'ratio';
  readonly bound: 'at least' | 'at most';
  readonly limit: number;
}

const value = (bound: Target['bound'], limit: number): Target => ({ what: 'value', bound, limit });
const ratio = (bound: Target['bound'], limit: number): Target => ({ what: 'ratio', bound, limit });

/**
 * What the hub promises on two cores that it shares with its database, its partners and the load. docs/performance.md
 * says why.
 */
const TARGETS: Readonly<Record<string, readonly Target[]>> = {
  ingest_http: [ratio('at least', 0.6)],
  ingest_http_p99_ms: [value('at most', 60)],
  ingest_vs_bare_http: [ratio('at least', 0.45)],
  ingest_http_2proc: [ratio('at least', 0.8)],
  drain_ordered: [value('at least', 6_000)],
  drain_vs_pgboss_fifo: [ratio('at least', 2)],
  drain_vs_graphile: [ratio('at least', 4)],
  deliver_http: [value('at least', 1_500)],
  accept_to_operator_p50_ms: [value('at most', 15)],
  accept_to_operator_p99_ms: [value('at most', 90)],
  wait_added_p50_ms: [value('at most', 10)],
  full_flow: [value('at least', 700)],
  idle_cpu_percent: [value('at most', 1)],
  idle_rss_mb: [value('at most', 150)],
  blocked_player: [ratio('at least', 0.9)],
  pinned_snapshot_claim_p50_ms: [value('at most', 5)],
  noisy_neighbour_p50_ms: [ratio('at most', 1.2)],
  noisy_neighbour_p99_ms: [ratio('at most', 2)],
  noisy_neighbour_bets_lost: [value('at most', 0)],
  hostile_body_p99_ms: [ratio('at most', 2)],
  hostile_query_p99_ms: [ratio('at most', 2)],
  hostile_document_p99_ms: [ratio('at most', 2)],
  ingest_at_10m: [ratio('at least', 0.85)],
  drain_at_10m: [ratio('at least', 0.85)],
};

/** Each target with whether the line meets it; empty for a figure that promises nothing. */
export function targetOf(line: { readonly name: string; readonly value: number; readonly ratio: number }): string {
  return (TARGETS[line.name] ?? [])
    .map(({ what, bound, limit }) => {
      const met = bound === 'at least' ? line[what] >= limit : line[what] <= limit;
      return `${what} ${bound} ${limit}: ${met ? 'met' : 'MISSED'}`;
    })
    .join(', ');
}
