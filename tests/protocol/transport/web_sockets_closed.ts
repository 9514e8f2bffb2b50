/** WebSockets close with a word to and fro: what waits until both ends of all of them have. */
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";

const LIMIT_MS = 10_000;

/** Counts what is open from its making to its disposal, which waits for all of it to close. */
export class OpenWebSockets implements AsyncDisposable {
  readonly #runtimes = globalThis.WebSocket;
  readonly #clients: WebSocket[] = [];
  #timers = 0;
  #settled: () => void = () => {};

  readonly #client: Deno.HttpClient | null;

  /**
   * Watches every WebSocket that is made from now on.
   *
   * @param caCerts roots that it trusts, PEM
   */
  constructor(caCerts: string[] = []) {
    const clients = this.#clients, settle = (): void => this.#settled();
    const client = this.#client = caCerts.length === 0 ? null : Deno.createHttpClient({ caCerts });
    const watched = class extends WebSocket {
      constructor(url: string | URL, protocols: string | string[] = []) {
        // Deno takes an object as well, which the type it shares with browsers does not say.
        const options: WebSocketOptions = {
          protocols: [protocols].flat(),
          ...(client === null ? {} : { client }),
        };
        super(url, options as unknown as string[]);
        clients.push(this);
        this.addEventListener("close", settle);
      }
    };
    // Which of its two types the global has depends on what else the program loads.
    globalThis.WebSocket = watched as typeof globalThis.WebSocket;
  }

  /** For the listener: it has one running as long as it waits for a client to close. */
  readonly timers: Timers = {
    monotonicMs: () => systemTimers.monotonicMs(),
    after: (delayMs, act) => {
      this.#timers++;
      let isOver = false;
      const end = (): void => {
        if (isOver) return;
        isOver = true;
        this.#timers--;
        this.#settled();
      };
      const stop = systemTimers.after(delayMs, () => {
        end();
        act();
      });
      return () => {
        stop();
        end();
      };
    },
  };

  async [Symbol.asyncDispose](): Promise<void> {
    globalThis.WebSocket = this.#runtimes;
    const deadline = AbortSignal.timeout(LIMIT_MS);
    while (this.#timers > 0 || this.#clients.some(({ readyState }) => readyState !== WebSocket.CLOSED)) {
      deadline.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#settled = resolve;
        deadline.onabort = () => resolve();
      });
    }
    this.#client?.close();
  }
}
