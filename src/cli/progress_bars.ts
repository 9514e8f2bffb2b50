/**
 * Two bars on a terminal, one of the current file and one of everything. Loaded on a terminal only.
 *
 * cli-progress draws, ten times a second and what has changed alone; what stands in a line, and that it fits into the
 * terminal, is said in transfer_progress.ts. There are no colours, so NO_COLOR has nothing to take away.
 */
import progress from "cli-progress";
import { printPrompt } from "./terminal.ts";
import { fileLine, type ProgressView, type Snapshot, totalLine } from "./transfer_progress.ts";

/** Of a terminal that does not say its width. */
const DEFAULT_COLUMNS = 80;
const LINES = [fileLine, totalLine] as const;

/** Draws on standard error, which must be a terminal. */
export class ProgressBars implements ProgressView {
  #bars: progress.MultiBar | null = null;
  #snapshot: (() => Snapshot) | null = null;

  changed(snapshot: () => Snapshot): void {
    this.#snapshot = snapshot;
    this.#bars ??= this.#begin(snapshot().files > 1 ? LINES : [totalLine]);
  }

  clear(): void {
    this.#bars?.stop();
    this.#bars = null;
  }

  #begin(lines: readonly ((snapshot: Snapshot, columns: number) => string)[]): progress.MultiBar {
    const bars = new progress.MultiBar({
      // The library wants a stream of Node; these three are all that it uses.
      stream: terminalStream as unknown as NodeJS.WritableStream,
      hideCursor: true,
      clearOnComplete: true,
      emptyOnZero: true,
    });
    for (const line of lines) {
      bars.create(1, 0, {}, {
        format: () => this.#snapshot === null ? "" : line(this.#snapshot(), columns()),
      });
    }
    return bars;
  }
}

const terminalStream = {
  isTTY: true,
  get columns(): number {
    return columns();
  },
  write(text: string): boolean {
    printPrompt(text);
    return true;
  },
};

function columns(): number {
  try {
    return Deno.consoleSize().columns || DEFAULT_COLUMNS;
  } catch {
    return DEFAULT_COLUMNS;
  }
}
