import { targetOf } from './targets';

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is held against, measured in the same run. */
  readonly yardstick: string;
  readonly yardstickValue: number;
  readonly rounds: number;
}

/** A figure as it is written down: four digits say all that such a measurement knows. */
export interface Line {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick: string;
  readonly yardstick_value: number;
  readonly ratio: number;
  readonly rounds: number;
}

export function lineOf(figure: Figure): Line {
  const { name, unit, yardstick, rounds } = figure;
  return {
    name,
    value: rounded(figure.value),
    unit,
    yardstick,
    yardstick_value: rounded(figure.yardstickValue),
    ratio: rounded(figure.value / figure.yardstickValue),
    rounds,
  };
}

/** The same figures for people, with what the project promised of them; short windows are held against no promise. */
export function table(lines: readonly Line[], quick: boolean): string {
  const rows = lines.map((line) => [
    line.name,
    String(line.value),
    line.unit,
    String(line.ratio),
    `${line.yardstick} (${line.yardstick_value})`,
    quick ? '' : targetOf(line),
  ]);
  const all = [['figure', 'value', 'unit', 'ratio', 'of', quick ? '' : 'target'], ...rows];
  const widths = (all[0] ?? []).map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          [1, 3].includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
