/** One worker of zstd; what it runs and how it is spoken with is in `zstd_worker.js`. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";

/** A chunk to make smaller. */
export interface ZstdJob {
  /** The whole of its memory, which goes to the worker. */
  readonly chunk: Uint8Array<ArrayBuffer>;
  /** Longest frame; shorter than the chunk. */
  readonly maxBytes: number;
  /** Takes the frame, or the chunk again if it would be longer. */
  readonly resolve: (answer: Uint8Array<ArrayBuffer>) => void;
  /** Is told if there will be no answer. */
  readonly reject: (error: TransferError) => void;
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
    this.#worker.onmessage = ({ data }: MessageEvent<Uint8Array<ArrayBuffer>>): void => this.#answer(data);
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
    const { chunk, maxBytes } = job;
    this.#worker.postMessage({ chunk, maxBytes }, [chunk.buffer]);
    if (this.#jobs.push(job) === 1) this.#watch();
  }

  /** Ends the worker at once and rejects what it had. */
  stop(error: TransferError): void {
    this.#stopWatch();
    this.#worker.terminate();
    for (const job of this.#jobs.splice(0)) job.reject(error);
  }

  #answer(answer: Uint8Array<ArrayBuffer>): void {
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
      new TransferError("storage", `could not compress: the worker for it failed: ${reason}`),
    );
  }
}
