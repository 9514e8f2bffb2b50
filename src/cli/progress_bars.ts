/**
 * Two bars on a terminal, one of the current file and one of everything. Loaded on a terminal only.
 *
 * What stands in a line, and that it fits into the terminal, is said in transfer_progress.ts; here it is only drawn. The
 * usual libraries for it import parts of Node as they are loaded, which a bundle puts at its top: every command, each
 * knock too, would start later for a bar that it never draws. There are no colours, so NO_COLOR has nothing to take away.
 */
import { printPrompt } from "./terminal.ts";
import { fileLine, type ProgressView, type Snapshot, totalLine } from "./transfer_progress.ts";

/** Of a terminal that does not say its width. */
const DEFAULT_COLUMNS = 80;
const REDRAW_MS = 100;

/** ECMA-48, and DEC's private modes for cursor and wrapping, which every terminal of today knows. */
const HIDE_CURSOR = "\x1b[?25l", SHOW_CURSOR = "\x1b[?25h";
/** A line that a narrowed terminal would wrap is cut off instead, so that the next drawing still begins at its row. */
const NO_WRAP = "\x1b[?7l", WRAP = "\x1b[?7h";
const CLEAR_LINE = "\x1b[2K", CLEAR_BELOW = "\x1b[J";

/** Draws on standard error, which must be a terminal. */
export class ProgressBars implements ProgressView {
  #drawn: readonly string[] = [];
  #snapshot: (() => Snapshot) | null = null;
  #timer: ReturnType<typeof setInterval> | null = null;

  changed(snapshot: () => Snapshot): void {
    this.#snapshot = snapshot;
    if (this.#timer !== null) return;
    printPrompt(HIDE_CURSOR + NO_WRAP);
    this.#draw();
    // Also while nothing arrives: that the speed falls is what one wants to see then.
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
  }

  /** Takes the bars away, so that other lines can be written; they come back with the next change. */
  clear(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    printPrompt(this.#toFirstLine() + CLEAR_BELOW + WRAP + SHOW_CURSOR);
    this.#drawn = [];
  }

  #draw(): void {
    const snapshot = this.#snapshot?.();
    if (snapshot === undefined) return;
    const width = columns();
    const lines = (snapshot.files > 1 ? [fileLine, totalLine] : [totalLine]).map((line) =>
      line(snapshot, width)
    );
    if (lines.join("\n") === this.#drawn.join("\n")) return;
    printPrompt(this.#toFirstLine() + lines.map((line) => CLEAR_LINE + line).join("\n"));
    this.#drawn = lines;
  }

  #toFirstLine(): string {
    const above = this.#drawn.length - 1;
    return above > 0 ? `\r\x1b[${above}A` : "\r";
  }
}

function columns(): number {
  try {
    return Deno.consoleSize().columns || DEFAULT_COLUMNS;
  } catch {
    return DEFAULT_COLUMNS;
  }
}
