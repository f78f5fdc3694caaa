import type { Figure } from './report';

/** What one run of the suite gives to each of its benches. */
export interface BenchRun {
  /** Superuser URL of the throw-away server; freshDatabase makes a migrated database of its own in it. */
  readonly serverUrl: string;
  /**
   * Shorter windows, same rounds: for a first look and for CI, not for the table in docs/performance.md. What needs its
   * full windows is left out.
   */
  readonly quick: boolean;
  /** How often the measured thing and its yardstick take turns; a figure is the median of the rounds. */
  readonly rounds: number;
  readonly report: (figure: Figure) => void;
  /** A line for people, on standard error. */
  readonly note: (text: string) => void;
}

export interface Bench {
  readonly name: string;
  /** Names of the figures that it reports, so that `--only` finds it by them too. */
  readonly figures: readonly string[];
  /**
   * Whether short windows say something else than full ones: then a quick run leaves it out, since a figure that is
   * there is believed.
   */
  readonly needsFullWindows?: true;
  readonly run: (run: BenchRun) => Promise<void>;
}
