export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick: string;
  readonly yardstickValue: number;
  readonly rounds: number;
}

/** One JSON object a line on standard output, and the same for people on standard error. */
export function report(figure: Figure): void {
  const { name, unit, yardstick, rounds } = figure;
  const value = rounded(figure.value);
  const yardstickValue = rounded(figure.yardstickValue);
  const ratio = rounded(figure.value / figure.yardstickValue);
  process.stdout.write(`${JSON.stringify({ name, value, unit, yardstick, yardstick_value: yardstickValue, ratio, rounds })}\n`);
  process.stderr.write(`${name.padEnd(28)} ${String(value).padStart(10)} ${unit.padEnd(12)} ratio ${String(ratio).padStart(7)} of ${yardstick} (${yardstickValue})\n`);
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
