/**
 * What the caller of a program is sent: both outputs as they come, then how the program ended. Each output is read
 * again only when its last piece was taken, so two pieces is all that is ever held here.
 *
 * A process that the program left behind may hold its outputs open for ever. So when the program has ended, its outputs
 * are read on only while something comes, and no more than stood in the pipe at that moment.
 */
import { type ExecOutput, MAX_ITEM_BYTES } from "../../../protocol/manage/session_contract.ts";
import type { Timers } from "../../../protocol/rpc/timers.ts";

/** How long an output whose program has ended may be silent. */
const SILENCE_MS = 250;
/** A pipe holds no more, unless root has allowed it (pipe(7), pipe-max-size); and what was read of it already. */
const MAX_AFTER_EXIT_BYTES = 1024 * 1024 + 2 * MAX_ITEM_BYTES;

type Result = IteratorResult<ExecOutput, undefined>;
type Output = ReadableStream<Uint8Array<ArrayBuffer>>;
type Name = "stdout" | "stderr";

const DONE: Result = { done: true, value: undefined };

/** What a view is made of. */
export interface ExecViewGround {
  readonly stdout: Output;
  readonly stderr: Output;
  readonly timers: Timers;
  /** The caller has taken that many bytes. */
  taken(bytes: number): void;
  /** It takes no more: it was given the last item, or is gone. */
  over(): void;
}

/** The items of the call. */
export class ExecView implements AsyncIterableIterator<ExecOutput> {
  readonly #ground: ExecViewGround;
  readonly #pipes: readonly Pipe[];
  #last: ExecOutput | null = null;
  #cutsOutput = false;
  readonly #over = Promise.withResolvers<void>();
  #isOver = false;
  #waiting: PromiseWithResolvers<Result> | null = null;

  /** Begins to read. */
  constructor(ground: ExecViewGround) {
    this.#ground = ground;
    const wake = (): void => this.#wake();
    this.#pipes = [
      new Pipe("stdout", ground.stdout, ground.timers, wake),
      new Pipe("stderr", ground.stderr, ground.timers, wake),
    ];
  }

  /** Settles when it takes no more. */
  get over(): Promise<void> {
    return this.#over.promise;
  }

  /** The program has ended: the last item comes behind its output. */
  finish(last: ExecOutput): void {
    this.#last ??= last;
    this.#pipes.forEach((pipe) => pipe.exited());
    this.#wake();
  }

  /** The host ends it: the last item comes at once. */
  cut(last: ExecOutput): void {
    this.#last = last;
    this.#cutsOutput = true;
    this.#wake();
  }

  /** The next item. */
  next(): Promise<Result> {
    const result = this.#take();
    if (result !== null) {
      return Promise.resolve(result);
    }
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  /** The caller takes no more. */
  return(): Promise<Result> {
    this.#end();
    this.#waiting?.resolve(DONE);
    this.#waiting = null;
    return Promise.resolve(DONE);
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #wake(): void {
    const result = this.#waiting === null ? null : this.#take();
    if (result !== null) {
      this.#waiting?.resolve(result);
      this.#waiting = null;
    }
  }

  #take(): Result | null {
    if (this.#isOver) {
      return DONE;
    }
    if (!this.#cutsOutput) {
      // A piece that was taken is followed by a read, so a flood of one output leaves room for the other.
      const pipe = this.#pipes.find(({ piece }) => piece !== null), bytes = pipe?.take() ?? null;
      if (pipe !== undefined && bytes !== null) {
        this.#ground.taken(bytes.length);
        return { done: false, value: pipe.name === "stdout" ? { stdout: bytes } : { stderr: bytes } };
      }
      if (this.#last === null || this.#pipes.some((each) => !each.isEnded)) {
        return null;
      }
    }
    const value = this.#last;
    this.#end();
    return value === null ? DONE : { done: false, value };
  }

  #end(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#over.resolve();
      this.#pipes.forEach((pipe) => pipe.stop());
      this.#ground.over();
    }
  }
}

/** One output of the program. */
class Pipe {
  readonly name: Name;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly #timers: Timers;
  readonly #wake: () => void;
  #piece: Uint8Array<ArrayBuffer> | null = null;
  #isEnded = false;
  #taken: (() => void) | null = null;
  /** Bytes that may still be read; Infinity while the program runs. */
  #allowedBytes = Infinity;
  #callOffSilence: () => void = () => {};

  constructor(name: Name, output: Output, timers: Timers, wake: () => void) {
    this.name = name;
    this.#timers = timers;
    this.#reader = output.getReader();
    this.#wake = wake;
    void this.#read();
  }

  /** What was read and not taken yet. */
  get piece(): Uint8Array<ArrayBuffer> | null {
    return this.#piece;
  }

  /** Whether nothing comes any more, and all was taken. */
  get isEnded(): boolean {
    return this.#isEnded && this.#piece === null;
  }

  /** The next item's bytes; null if there are none now. */
  take(): Uint8Array<ArrayBuffer> | null {
    const piece = this.#piece;
    if (piece === null) {
      return null;
    }
    const rest = piece.subarray(MAX_ITEM_BYTES);
    this.#piece = rest.length === 0 ? null : rest;
    if (this.#piece === null) {
      this.#taken?.();
    }
    return piece.subarray(0, MAX_ITEM_BYTES);
  }

  /** The program has ended. */
  exited(): void {
    this.#allowedBytes = MAX_AFTER_EXIT_BYTES;
    this.#listen();
  }

  /** Reads no more. */
  stop(): void {
    this.#callOffSilence();
    this.#isEnded = true;
    this.#piece = null;
    this.#taken?.();
    void this.#reader.cancel().catch(() => {});
  }

  async #read(): Promise<void> {
    while (!this.#isEnded && this.#allowedBytes > 0) {
      this.#listen();
      const { value } = await this.#reader.read().catch(() => ({ value: undefined }));
      this.#callOffSilence();
      if (value === undefined || this.#isEnded) {
        break;
      }
      this.#allowedBytes -= value.length;
      const taken = new Promise<void>((resolve) => this.#taken = resolve);
      this.#piece = value;
      this.#wake();
      await taken;
    }
    const wasEnded = this.#isEnded;
    this.#isEnded = true;
    if (!wasEnded) {
      this.#wake();
    }
    void this.#reader.cancel().catch(() => {});
  }

  /** Ends the output if it stays silent; only while it is being read, since a caller may take its time. */
  #listen(): void {
    this.#callOffSilence();
    if (this.#allowedBytes !== Infinity && this.#piece === null && !this.#isEnded) {
      const stop = (): void => void this.#reader.cancel().catch(() => {});
      this.#callOffSilence = this.#timers.after(SILENCE_MS, stop);
    }
  }
}
