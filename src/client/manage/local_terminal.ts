/**
 * The terminal in front of the administrator: what is typed goes to the shell, what the shell prints is shown. The
 * program that runs gives it as a parameter; raw mode is its business.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { ShellInput, WindowSize } from "../../protocol/manage/session_contract.ts";
import { type EscapeCommand, EscapeKeys } from "./escape_keys.ts";

/** What is typed at, and printed on. */
export interface LocalTerminal {
  /** Whether what is typed comes from a terminal; it is raw then while a shell runs. */
  readonly isTerminal: boolean;
  /** Whether what is printed is shown on a terminal. */
  readonly showsOnTerminal: boolean;
  /** Null at the end. */
  readonly input: { read(buffer: Uint8Array): Promise<number | null> };
  readonly output: { write(bytes: Uint8Array): Promise<number> };
  /** Every byte as it is typed, or lines as a terminal makes them. Does nothing where no terminal is typed at. */
  setRaw(raw: boolean): void;
  /** Value of TERM; undefined if there is none. */
  readonly term: string | undefined;
  /** Of now; null without a terminal. */
  size(): WindowSize | null;
  /**
   * Listens to changes of the size.
   *
   * @returns a function that ends it
   */
  onResize(act: () => void): () => void;
}

/** Of whoever has no terminal. */
export const USUAL_WINDOW: WindowSize = { rows: 24, columns: 80 };
const USUAL_TERM = "xterm";
const MAX_WINDOW = 65_535;

/** The window as a host takes it; a terminal that says 0 by 0 does not know. */
export function windowOf(terminal: LocalTerminal): WindowSize {
  const { rows, columns } = terminal.size() ?? USUAL_WINDOW;
  const side = (found: number, usual: number): number => found > 0 ? Math.min(found, MAX_WINDOW) : usual;
  return { rows: side(rows, USUAL_WINDOW.rows), columns: side(columns, USUAL_WINDOW.columns) };
}

/** TERM as a host takes it. */
export function termOf({ term }: LocalTerminal): string {
  return term !== undefined && /^[A-Za-z0-9._+-]{1,64}$/.test(term) ? term : USUAL_TERM;
}

const LINE_FEED = 0x0a, VERTICAL_TAB = 0x0b, RETURN = 0x0d;

/** What is printed. */
export class Screen {
  readonly #output: LocalTerminal["output"];
  readonly #showsOnTerminal: boolean;
  #last = 0;

  /** Of this terminal. */
  constructor({ output, showsOnTerminal }: LocalTerminal) {
    this.#output = output;
    this.#showsOnTerminal = showsOnTerminal;
  }

  /** Writes all of it. `bytes` may be changed. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.#showsOnTerminal) this.#keepColumn(bytes);
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await this.#output.write(rest));
  }

  /**
   * Raw mode, as the runtime sets it, still makes CR LF of each LF. A full-screen program far away, whose own terminal
   * does not, means by a bare LF "one line down, same column". VT means just that to every terminal, and is left alone.
   */
  #keepColumn(bytes: Uint8Array): void {
    for (let i = bytes.indexOf(LINE_FEED); i !== -1; i = bytes.indexOf(LINE_FEED, i + 1)) {
      const before = i === 0 ? this.#last : bytes[i - 1];
      if (before !== RETURN) bytes[i] = VERTICAL_TAB;
    }
    this.#last = bytes.at(-1) ?? this.#last;
  }
}

/** As much is read ahead of a shell that takes nothing. */
const MAX_WAITING_BYTES = 64 * 1024;
const READ_BYTES = 32 * 1024;
const END_OF_INPUT = 0x04;
const END_AGAIN_MS = 1_000;

/**
 * What is typed, in the order in which it was: one reader for as long as the program runs, while the links that it
 * goes to may change.
 */
export class Keyboard {
  readonly #terminal: LocalTerminal;
  readonly #timers: Timers;
  readonly #onCommand: (command: EscapeCommand) => void;
  #waiting: Uint8Array<ArrayBuffer>[] = [];
  #waitingBytes = 0;
  #size: WindowSize | null = null;
  #taker: KeyboardItems | null = null;
  #room: (() => void) | null = null;
  #unlisten: () => void = () => {};
  #callOffEnd: () => void = () => {};
  #isClosed = false;

  /** Reads nothing yet. */
  constructor(terminal: LocalTerminal, timers: Timers, onCommand: (command: EscapeCommand) => void) {
    this.#terminal = terminal;
    this.#timers = timers;
    this.#onCommand = onCommand;
  }

  /**
   * Begins to read, and to look at the window.
   *
   * @param onError told if reading fails
   */
  start(onError: (error: unknown) => void): void {
    this.#unlisten = this.#terminal.onResize(() => {
      this.#size = windowOf(this.#terminal);
      this.#taker?.wake();
    });
    this.#read().catch(onError);
  }

  /** Ends it. A read that is under way is left to the program's end: nothing can call it off. */
  close(): void {
    this.#isClosed = true;
    this.#unlisten();
    this.#callOffEnd();
    this.#taker?.return();
    this.#room?.();
  }

  /** What is typed from now on, and what waits from before. Whoever took them before gets no more. */
  items(): AsyncIterableIterator<ShellInput> {
    this.#taker?.return();
    // The window's size goes with the beginning.
    this.#size = null;
    this.#taker = new KeyboardItems(() => this.#take());
    return this.#taker;
  }

  #take(): ShellInput | null {
    const size = this.#size;
    if (size !== null) {
      this.#size = null;
      return size;
    }
    const bytes = this.#waiting.shift();
    if (bytes === undefined) return null;
    this.#waitingBytes -= bytes.length;
    this.#room?.();
    return bytes;
  }

  async #read(): Promise<void> {
    const { input, isTerminal } = this.#terminal;
    const escapes = isTerminal ? new EscapeKeys() : null;
    const buffer = new Uint8Array(READ_BYTES);
    let last = LINE_FEED;
    while (!this.#isClosed) {
      const count = await input.read(buffer);
      if (count === null || this.#isClosed) break;
      const typed = buffer.subarray(0, count);
      last = typed.at(-1) ?? last;
      for (const piece of escapes?.take(typed) ?? [typed.slice()]) {
        if (typeof piece === "string") this.#onCommand(piece);
        else this.#put(piece);
      }
      await this.#hasRoom();
    }
    // In the middle of a line the first one only sends what is there of it.
    if (last !== LINE_FEED) this.#put(Uint8Array.of(END_OF_INPUT));
    this.#end();
  }

  /** A shell that sets its terminal up just then throws away what was typed before: it is told again until it has ended. */
  #end(): void {
    if (this.#isClosed) return;
    this.#put(Uint8Array.of(END_OF_INPUT));
    this.#callOffEnd = this.#timers.after(END_AGAIN_MS, () => this.#end());
  }

  #put(bytes: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    this.#taker?.wake();
  }

  async #hasRoom(): Promise<void> {
    while (this.#waitingBytes >= MAX_WAITING_BYTES && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#room = resolve);
    }
  }
}

/** Not a generator: one that waits cannot be ended from outside. */
class KeyboardItems implements AsyncIterableIterator<ShellInput> {
  readonly #take: () => ShellInput | null;
  #waiting: ((result: IteratorResult<ShellInput>) => void) | null = null;
  #isEnded = false;

  constructor(take: () => ShellInput | null) {
    this.#take = take;
  }

  next(): Promise<IteratorResult<ShellInput>> {
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    const item = this.#take();
    if (item !== null) return Promise.resolve({ done: false, value: item });
    return new Promise((resolve) => this.#waiting = resolve);
  }

  wake(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    const item = this.#take();
    if (item === null) return;
    this.#waiting = null;
    waiting({ done: false, value: item });
  }

  return(): Promise<IteratorResult<ShellInput>> {
    this.#isEnded = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = null;
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
