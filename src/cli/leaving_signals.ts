/** The signals that end a program which has a session open: the first one lets it say goodbye, the second one does not. */
import { exit } from "./terminal.ts";

const SIGNALS = [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const;
const SIGNAL_EXIT = 128;

/** Listens until it is disposed of. */
export class LeavingSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];
  #exitCode: number | null = null;

  /** @param restore sets the terminal right, before the program ends without coming back here */
  constructor(restore: () => void = (): void => {}) {
    this.#listeners = SIGNALS
      .filter(([name]) => name === "SIGINT" || Deno.build.os !== "windows")
      .map(([name, number]) => [name, (): void => {
        if (this.#exitCode !== null) {
          restore();
          exit(SIGNAL_EXIT + number);
        }
        this.#exitCode = SIGNAL_EXIT + number;
        this.#controller.abort(new Error(`ended by ${name}`));
      }]);
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Aborted by the first one. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** What the first one means for whoever looks at the exit code; null before it. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
