/** Ctrl-C, and the other signals that end a transfer in a state from which it can go on. */
import { exit } from "./terminal.ts";
import { interruptedFailure } from "./transfer_failure.ts";

const SIGNALS = [["SIGINT", "Ctrl-C", 2], ["SIGTERM", "SIGTERM", 15], ["SIGHUP", "SIGHUP", 1]] as const;
const SIGNAL_EXIT = 128;

/**
 * The first signal aborts, and what has come is made durable; the second one ends the program at once, which loses no
 * more than the last second.
 */
export class Interruption implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];

  /** @param clear sets the terminal right, before the program ends without coming back here */
  constructor(clear: () => void) {
    this.#listeners = SIGNALS
      .filter(([name]) => name === "SIGINT" || Deno.build.os !== "windows")
      .map(([name, words, number]) => [name, (): void => {
        if (this.#controller.signal.aborted) {
          clear();
          exit(SIGNAL_EXIT + number);
        }
        this.#controller.abort(interruptedFailure(words));
      }]);
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Aborted with a `Failure`. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
