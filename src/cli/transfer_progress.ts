/** How far a transfer is: what is shown of it while it goes on, on a terminal or in few plain lines. */
import { escapeHidden } from "../system/visible_text.ts";
import { printNotice } from "./terminal.ts";
import { formatBytes, formatSpeed, formatTime, percentOf } from "./transfer_units.ts";

/** Everything that is shown, at one moment. */
export interface Snapshot {
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** How many of how many files have all their bytes. */
  readonly doneFiles: number;
  readonly files: number;
  /** Null before it can be told, or while nothing moves. */
  readonly bytesPerSecond: number | null;
  /** The file whose bytes came last. */
  readonly current: { readonly name: string; readonly doneBytes: number; readonly sizeBytes: number } | null;
}

/** Shows the progress of one transfer. */
export interface ProgressView {
  /** Something has changed. */
  changed(snapshot: () => Snapshot): void;
  /** Takes away what is drawn, before another line is printed or the program ends; shown again at the next change. */
  clear(): void;
}

/** Nothing at all, as of a program that reads JSON. */
export const NO_PROGRESS: ProgressView = { changed(): void {}, clear(): void {} };

/** A sender hears once a second how much has come, and on a slow link little comes in one. */
const WINDOW_MS = 8_000;
/** Samples that are closer are one: of many small files there are thousands in a second. */
const SAMPLE_MS = 50;
/** Of less time a speed says nothing. */
const MIN_SPAN_MS = 300;

/** The speed of the last seconds: of the whole time it would say for long what was true before the link was lost. */
export class SpeedMeter {
  /** How much had come in all by then; one of them is older than the window, as soon as there is such a one. */
  #samples: { readonly atMs: number; bytes: number }[] = [];

  /** That many bytes have come since the call before; of the first call, before the time began. */
  add(atMs: number, bytes: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && this.#samples.length > 1 && atMs - last.atMs < SAMPLE_MS) last.bytes += bytes;
    else this.#samples.push({ atMs, bytes: (last?.bytes ?? 0) + bytes });
    this.#dropOld(atMs);
  }

  /** The link was lost: what comes next begins anew. */
  reset(): void {
    this.#samples = [];
  }

  /** Bytes per second; null if too little is known. */
  at(nowMs: number): number | null {
    this.#dropOld(nowMs);
    const first = this.#samples[0], last = this.#samples.at(-1);
    if (first === undefined || last === undefined || nowMs - first.atMs < MIN_SPAN_MS) return null;
    const bytes = last.bytes - first.bytes;
    return bytes === 0 ? null : bytes * 1000 / (nowMs - first.atMs);
  }

  #dropOld(nowMs: number): void {
    const inside = this.#samples.findIndex(({ atMs }) => nowMs - atMs < WINDOW_MS);
    // The last one before the window is where it begins.
    this.#samples.splice(0, (inside === -1 ? this.#samples.length : inside) - 1);
  }
}

/** What is left at this speed: `12 s left`; null while nobody can tell. */
export function timeLeft({ doneBytes, totalBytes, bytesPerSecond }: Snapshot): string | null {
  if (bytesPerSecond === null) return null;
  return formatTime(Math.ceil((totalBytes - doneBytes) / bytesPerSecond) * 1000);
}

const LINE_EVERY_MS = 10_000;
const LINE_EVERY_PERCENT = 10;

/** A line each 10 % and each 10 seconds, whichever comes first. */
export class PlainProgress implements ProgressView {
  readonly #monotonicMs: () => number;
  readonly #print: (line: string) => void;
  #lastMs: number | null = null;
  #lastPercent = 0;

  constructor(
    monotonicMs: () => number = () => performance.now(),
    print: (line: string) => void = printNotice,
  ) {
    this.#monotonicMs = monotonicMs;
    this.#print = print;
  }

  changed(snapshot: () => Snapshot): void {
    const nowMs = this.#monotonicMs();
    const state = snapshot();
    const percent = percentOf(state.doneBytes, state.totalBytes);
    if (this.#lastMs === null) {
      this.#lastMs = nowMs;
      this.#lastPercent = percent - percent % LINE_EVERY_PERCENT;
      return;
    }
    const isDue = percent - this.#lastPercent >= LINE_EVERY_PERCENT || nowMs - this.#lastMs >= LINE_EVERY_MS;
    // The end has a line of its own.
    if (!isDue || percent === 100) return;
    this.#lastMs = nowMs;
    this.#lastPercent = percent - percent % LINE_EVERY_PERCENT;
    this.#print(plainLine(state));
  }

  clear(): void {}
}

function plainLine(state: Snapshot): string {
  const left = timeLeft(state);
  return [
    `${percentOf(state.doneBytes, state.totalBytes)} %: ${formatBytes(state.doneBytes)} of ${
      formatBytes(state.totalBytes)
    }`,
    ...(state.files > 1 ? [`${state.doneFiles} of ${state.files} files`] : []),
    ...(state.bytesPerSecond === null ? [] : [formatSpeed(state.bytesPerSecond)]),
    ...(left === null ? [] : [`${left} left`]),
  ].join(", ");
}

/** Length of the bar by the width of the terminal; it must not change while the rest of the line grows and shrinks. */
const BAR_CHARS: readonly (readonly [columns: number, chars: number])[] = [[100, 30], [60, 20], [0, 10]];
/** Columns that stay free: some terminals wrap when the last one is written. */
const MARGIN_CHARS = 1;

/** The line of the whole transfer, at most `columns - 1` wide: bar, percent, amounts, speed, time left. */
export function totalLine(state: Snapshot, columns: number): string {
  const left = timeLeft(state);
  const amount = `${formatBytes(state.doneBytes)} of ${formatBytes(state.totalBytes)}`;
  const speed = state.bytesPerSecond === null ? "" : `  ${formatSpeed(state.bytesPerSecond)}`;
  const eta = left === null ? "  ETA -" : `  ETA ${left}`;
  const files = state.files > 1 ? `  ${state.doneFiles}/${state.files} files` : "";
  return widest(state.doneBytes, state.totalBytes, columns, [
    `  ${amount}${speed}${eta}${files}`,
    `  ${amount}${speed}${eta}`,
    `${speed}${eta}`,
    eta,
    "",
  ]);
}

/** The line of the current file, likewise: bar, percent, and as much of the name as there is room for. */
export function fileLine({ current }: Snapshot, columns: number): string {
  if (current === null) return "";
  const { doneBytes, sizeBytes, name } = current;
  const line = widest(doneBytes, sizeBytes, columns, [`  ${formatBytes(sizeBytes)}`, ""]);
  const room = columns - MARGIN_CHARS - line.length - 2;
  return room < MIN_NAME_COLUMNS ? line : `${line}  ${cutName(escapeHidden(name), room)}`;
}

function widest(done: number, total: number, columns: number, tails: readonly string[]): string {
  const percent = `${percentOf(done, total)}`.padStart(3) + " %";
  const [, chars = 0] = BAR_CHARS.find(([from]) => columns >= from) ?? [];
  for (const tail of tails) {
    const line = `${bar(done, total, chars)} ${percent}${tail}`;
    if (line.length <= columns - MARGIN_CHARS) return line;
  }
  return percent.slice(0, Math.max(0, columns - MARGIN_CHARS));
}

function bar(done: number, total: number, chars: number): string {
  const full = Math.floor(chars * percentOf(done, total) / 100);
  return `[${"=".repeat(full)}${" ".repeat(chars - full)}]`;
}

const MIN_NAME_COLUMNS = 8;
const ELLIPSIS = "...";

/**
 * The end of a name, where the file is, within so many columns. What is not ASCII counts twice, as no character is
 * wider: a line that is shorter than it could be harms nobody.
 */
export function cutName(name: string, columns: number): string {
  const characters = [...name];
  if (columnsOf(characters) <= columns) return name;
  let used = ELLIPSIS.length, from = characters.length;
  while (from > 0 && used + columnsOf(characters.slice(from - 1, from)) <= columns) {
    from--;
    used += columnsOf(characters.slice(from, from + 1));
  }
  return ELLIPSIS + characters.slice(from).join("");
}

function columnsOf(characters: readonly string[]): number {
  return characters.reduce((sum, each) => sum + (/^[\x20-\x7e]$/.test(each) ? 1 : 2), 0);
}
