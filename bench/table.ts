/** The bench's rows as text for people. */
import type { Beside, Row } from "./row.ts";

const HEADINGS = ["figure", "postern", "beside it", "ratio", "goal", "met"] as const;
const GAP = "  ";
const MISSING = "-";

/** A table with a line per row; notes follow, numbered, and why something is missing, once. */
export function formatTable(rows: readonly Row[]): string {
  const notes: string[] = [];
  const cells = rows.map((row) => {
    const mark = row.note === undefined ? "" : ` [${notes.push(row.note)}]`;
    return [
      row.figure + mark,
      formatValue(row.ours, row.unit),
      row.beside.map((each) => formatBeside(each, row.unit)).join("; ") || MISSING,
      row.ratio === null ? MISSING : `${row.ratio.toFixed(2)} x`,
      row.goal ?? MISSING,
      row.met === null ? MISSING : row.met ? "yes" : "NO",
    ];
  });
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...cells.map((line) => line[column]?.length ?? 0))
  );
  const format = (line: readonly string[]): string =>
    line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(GAP).trimEnd();
  const missing = rows.flatMap((row) => row.beside).filter((each) => each.value === null);
  return [
    format(HEADINGS),
    format(widths.map((width) => "-".repeat(width))),
    ...cells.map(format),
    ...notes.map((note, at) => `[${at + 1}] ${note}`),
    ...new Set(missing.map((each) => `${each.name} missing: ${each.missing ?? "not measured"}`)),
  ].join("\n");
}

function formatBeside({ name, value }: Beside, unit: string): string {
  return `${name}: ${value === null ? "missing" : formatValue(value, unit)}`;
}

function formatValue(value: number | null, unit: string): string {
  if (value === null) return MISSING;
  const digits = Number.isInteger(value) || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`.trimEnd();
}
