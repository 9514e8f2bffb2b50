/** A terminal that a test types at. */
import type { LocalTerminal } from "../../../src/client/manage/local_terminal.ts";
import type { WindowSize } from "../../../src/protocol/manage/session_contract.ts";
import { until } from "../../e2e/until.ts";

export class TypedTerminal implements LocalTerminal {
  readonly isTerminal: boolean;
  readonly showsOnTerminal: boolean;
  term: string | undefined = "xterm-256color";
  window: WindowSize | null = { rows: 30, columns: 100 };
  /** What is shown, notices as `[...]` included. */
  shown = "";
  /** Each change of the mode. */
  readonly modes: boolean[] = [];
  #typed: Uint8Array[] = [];
  #ended = false;
  #wake: () => void = () => {};
  #resized = new Set<() => void>();
  readonly #decoder = new TextDecoder();

  constructor(isTerminal = true) {
    this.isTerminal = isTerminal;
    this.showsOnTerminal = isTerminal;
  }

  readonly input = {
    read: async (buffer: Uint8Array): Promise<number | null> => {
      while (this.#typed.length === 0 && !this.#ended) {
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
      const next = this.#typed.shift();
      if (next === undefined) return null;
      buffer.set(next);
      return next.length;
    },
  };

  readonly output = {
    // Never all at once: whoever writes has to go on.
    write: (bytes: Uint8Array): Promise<number> => {
      const some = bytes.subarray(0, Math.max(1, bytes.length >> 1));
      this.shown += this.#decoder.decode(some, { stream: true });
      return Promise.resolve(some.length);
    },
  };

  /** Takes notices. */
  readonly onNotice = (line: string): void => {
    this.shown += `[${line}]`;
  };

  setRaw(raw: boolean): void {
    this.modes.push(raw);
  }

  size(): WindowSize | null {
    return this.window;
  }

  onResize(act: () => void): () => void {
    this.#resized.add(act);
    return () => this.#resized.delete(act);
  }

  /** How many listen to the window's size. */
  get listeners(): number {
    return this.#resized.size;
  }

  resize(rows: number, columns: number): void {
    this.window = { rows, columns };
    for (const act of this.#resized) act();
  }

  type(text: string | Uint8Array): void {
    this.#typed.push(typeof text === "string" ? new TextEncoder().encode(text) : text);
    this.#wake();
  }

  /** Nothing more comes. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Waits until something is shown. */
  async shows(pattern: RegExp): Promise<void> {
    await until(
      `the terminal shows ${pattern}, it shows ${JSON.stringify(this.shown)}`,
      () => pattern.test(this.shown),
      {
        timeoutMs: 5_000,
        pollMs: 1,
      },
    );
  }
}
