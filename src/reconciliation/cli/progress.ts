import type { RunView } from '../runs/recon.dto';

const WIDTH = 24;

/** What a person sees while a run runs; on anything but a terminal it writes nothing, so that logs of a cron job stay clean. */
export class Progress {
  constructor(private readonly stream: { readonly isTTY?: boolean; write(text: string): unknown }) {}

  show = (run: RunView): void => {
    if (this.stream.isTTY === true) this.stream.write(`\r\u001b[2K${progressLine(run)}`);
  };

  end(): void {
    if (this.stream.isTTY === true) this.stream.write('\r\u001b[2K');
  }
}

/** Reading takes most of the time and the length of a list is unknown, so a list counts when it is done. */
export function progressLine({ state, progress }: RunView): string {
  const read = progress.sources.filter(({ done }) => done).length;
  const share = {
    queued: 0,
    ingesting: 0.05 + read * 0.25,
    matching: 0.8 + (Math.min(progress.bucketsDone, 32) / 32) * 0.1,
    summarising: 0.9,
    sealed: 1,
    failed: 1,
    cancelled: 1,
  }[state];
  const full = Math.round(Math.min(share, 1) * WIDTH);
  const rows = progress.sources.map(({ side, rowsSeen }) => `${side} ${rowsSeen.toLocaleString('en-US')}`).join(', ');
  return `[${'#'.repeat(full)}${'.'.repeat(WIDTH - full)}] ${state}${rows === '' ? '' : `: ${rows} rows`}`;
}
