/** One line of the bench: our figure, what stands beside it, and the goal. Plain data, so that it can be sent as JSON. */

/** A figure of another program; null with the reason why there is none. */
export interface Beside {
  readonly name: string;
  readonly value: number | null;
  readonly missing?: string;
}

export interface Row {
  /** The word `--only` takes. */
  readonly group: string;
  readonly figure: string;
  readonly unit: string;
  /** null: not measured, and `note` says why. */
  readonly ours: number | null;
  /** The first one is what the ratio is taken against. */
  readonly beside: readonly Beside[];
  readonly ratio: number | null;
  readonly goal: string | null;
  /** null where there is no goal, or no figure to hold against it. */
  readonly met: boolean | null;
  readonly note?: string;
}

export interface Goal {
  readonly text: string;
  readonly isMet: (ours: number, ratio: number | null) => boolean | null;
}

/** Our figure divided by that of the first program beside it. */
export function ratioAtMost(limit: number): Goal {
  return {
    text: `ratio <= ${limit.toFixed(1)}`,
    isMet: (_ours, ratio) => ratio === null ? null : ratio <= limit,
  };
}

/** Likewise. */
export function ratioAtLeast(limit: number): Goal {
  return {
    text: `ratio >= ${limit.toFixed(1)}`,
    isMet: (_ours, ratio) => ratio === null ? null : ratio >= limit,
  };
}

export function atMost(limit: number): Goal {
  return { text: `<= ${limit}`, isMet: (ours) => ours <= limit };
}

export function atLeast(limit: number): Goal {
  return { text: `>= ${limit}`, isMet: (ours) => ours >= limit };
}

export interface RowInput {
  readonly group: string;
  readonly figure: string;
  readonly unit: string;
  readonly ours: number | null;
  readonly beside?: readonly Beside[];
  readonly goal?: Goal;
  readonly note?: string;
}

/** Of counts, a ratio says nothing. */
const UNITS_WITH_RATIO = new Set(["ms", "us", "s", "MB", "calls/s", "MB/s", "GB/s"]);

export function makeRow({ group, figure, unit, ours, beside = [], goal, note }: RowInput): Row {
  const against = beside[0]?.value ?? null;
  const hasRatio = UNITS_WITH_RATIO.has(unit) && ours !== null && against !== null && against > 0;
  const ratio = hasRatio ? ours / against : null;
  return {
    group,
    figure,
    unit,
    ours,
    beside,
    ratio,
    goal: goal?.text ?? null,
    met: ours === null || goal === undefined ? null : goal.isMet(ours, ratio),
    ...(note === undefined ? {} : { note }),
  };
}

/** A row that could not be measured. */
export function skippedRow(group: string, figure: string, why: string): Row {
  return makeRow({ group, figure, unit: "", ours: null, note: `skipped: ${why}` });
}
