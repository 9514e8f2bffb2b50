/** Signals that would end a program in the middle of what it must not leave half done. */
import { Failure } from "../system/failure.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Turns the signals that end a program into an abort signal until it is disposed of. The first one counts; more of
 * them change nothing, since what has been done is being taken back.
 */
export class EndingSignals implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];

  /** @param what could not be done, for the reason */
  constructor(what: string) {
    this.#listeners = SIGNALS.map((name) => [name, (): void => {
      this.#controller.abort(new Failure(`${what}: ended by ${name}`));
    }]);
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
