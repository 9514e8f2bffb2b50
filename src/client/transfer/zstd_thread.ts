/** One worker of zstd; what it runs and how it is spoken with is in `zstd_worker.js`. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";

/** A chunk to work at. */
export interface ZstdJob {
  /** What to do. */
  readonly kind: "compress" | "decompress";
  /** Longest answer. */
  readonly maxBytes: number;
  /** Gives the input when its turn has come; all of the memory behind it goes to the worker. */
  readonly input: () => Uint8Array<ArrayBuffer>;
  /** Takes the answer. */
  readonly resolve: (answer: ZstdAnswer) => void;
  /** Is told if there will be none. */
  readonly reject: (error: TransferError) => void;
}

/** What became of a chunk; all memory belongs to who gets it. */
export interface ZstdAnswer {
  /** Null: the answer would be longer than the job allows, or the input is no frame. */
  readonly bytes: Uint8Array<ArrayBuffer> | null;
  /** The input of "compress" again, to be used for another. */
  readonly spare: Uint8Array<ArrayBuffer> | null;
}

/** Who a thread reports to. */
export interface ZstdThreadOwner {
  /** For noticing that it ended without a word. */
  readonly timers: Timers;
  /** It may be given another job. */
  answered(): void;
  /** It has ended; its jobs are still unsettled. */
  failed(error: TransferError): void;
}

/** Far more than a chunk takes: a worker can also end without a word, and nobody may wait for it for ever. */
const STUCK_MS = 60_000;

/** A worker and the jobs it was given. */
export class ZstdThread {
  readonly #worker: Worker;
  readonly #owner: ZstdThreadOwner;
  /** In the order of their answers. */
  readonly #jobs: ZstdJob[] = [];
  #stopWatch: () => void = () => {};
  #hasStarted = false;

  /** Starts the worker; it is given jobs at once and does them when it is up. */
  constructor(workerText: string, owner: ZstdThreadOwner) {
    this.#owner = owner;
    // From its text, which needs no permission, and no file beside a bundle. A data: URL is loaded by every way of
    // starting the program, and leaves nothing to be revoked.
    const url = `data:text/javascript,${encodeURIComponent(workerText)}`;
    this.#worker = new Worker(url, { type: "module", name: "zstd" });
    this.#worker.onmessage = (event: MessageEvent<ZstdAnswer>): void => this.#answer(event.data);
    this.#worker.onmessageerror = (): void => this.#fail("its answer could not be read");
    this.#worker.onerror = (event): void => {
      // Else the runtime ends the whole program.
      event.preventDefault();
      this.#fail(event.message);
    };
  }

  /** How many jobs it has and has not answered. */
  get jobs(): number {
    return this.#jobs.length;
  }

  /** Whether it has answered one before. */
  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  /** Gives it one more. */
  take(job: ZstdJob): void {
    const bytes = job.input();
    this.#worker.postMessage({ kind: job.kind, bytes, maxBytes: job.maxBytes }, [bytes.buffer]);
    if (this.#jobs.push(job) === 1) this.#watch();
  }

  /** Ends the worker at once and rejects what it had. */
  stop(error: TransferError): void {
    this.#stopWatch();
    this.#worker.terminate();
    for (const job of this.#jobs.splice(0)) job.reject(error);
  }

  #answer(answer: ZstdAnswer): void {
    this.#hasStarted = true;
    this.#stopWatch();
    const job = this.#jobs.shift();
    if (this.#jobs.length > 0) this.#watch();
    job?.resolve(answer);
    this.#owner.answered();
  }

  #watch(): void {
    this.#stopWatch = this.#owner.timers.after(
      STUCK_MS,
      () => this.#fail(`it gave no answer for ${STUCK_MS / 1000} seconds`),
    );
  }

  #fail(reason: string): void {
    this.#owner.failed(
      new TransferError("storage", `could not compress or decompress: the worker for it failed: ${reason}`),
    );
  }
}
