/** Ctrl-C, and the other signals that end what runs on a host: the host is told, so that it ends there at once. */
import { exit } from "./terminal.ts";

const SIGNALS = [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1]] as const;
const SIGNAL_EXIT = 128;
/** All that is written has left by then; a peer waits no longer for the other side either. */
const LINGER_MS = 1_000;

/** What can be closed so that the other side learns of it. */
export interface Closable {
  close(): void;
  readonly closed: Promise<unknown>;
}

/** The first signal aborts; the second one ends the program at once, and the host finds out by the lost link. */
export class EndingSession implements Disposable {
  readonly #controller = new AbortController();
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];
  /** The last one first. */
  #open: Closable[] = [];
  #exitCode = 0;

  /** Listens from now on. */
  constructor() {
    this.#listeners = SIGNALS
      .filter(([name]) => name === "SIGINT" || Deno.build.os !== "windows")
      .map(([name, number]) => [name, (): void => {
        if (this.#controller.signal.aborted) exit(SIGNAL_EXIT + number);
        this.#exitCode = SIGNAL_EXIT + number;
        this.#controller.abort(new Error(`ended by ${name}`));
      }]);
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 128 and the number of the signal that came. */
  get exitCode(): number {
    return this.#exitCode;
  }

  /** To be closed by `close`, before what was named earlier. */
  closes(what: Closable): void {
    this.#open = [what, ...this.#open];
  }

  /** Closes what is open, and waits a little for the other side to have heard of it. */
  async close(): Promise<void> {
    let stop = (): void => {};
    const late = new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LINGER_MS);
      stop = (): void => clearTimeout(timer);
    });
    for (const each of this.#open) {
      each.close();
      await Promise.race([each.closed, late]);
    }
    stop();
  }

  /** Listens no more. */
  [Symbol.dispose](): void {
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }
}
