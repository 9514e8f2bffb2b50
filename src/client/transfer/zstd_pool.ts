/** The workers that make chunks smaller; none is started before there is work for it. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { type ZstdJob, ZstdThread } from "./zstd_thread.ts";

/** One more than it works at: so that a worker has its next chunk at hand when it has ended one. */
const MAX_JOBS_A_THREAD = 2;

/** A few workers, and the jobs that wait for one. */
export class ZstdPool {
  readonly #maxThreads: number;
  readonly #timers: Timers;
  readonly #workerText: () => Promise<string>;
  readonly #threads: ZstdThread[] = [];
  readonly #waiting: ZstdJob[] = [];
  /** Why nothing is done any more. */
  #end: TransferError | null = null;

  /** Makes one without any worker. */
  constructor(options: { maxThreads: number; timers: Timers; workerText: () => Promise<string> }) {
    this.#maxThreads = options.maxThreads;
    this.#timers = options.timers;
    this.#workerText = options.workerText;
  }

  /** How many workers there are. */
  get threads(): number {
    return this.#threads.length;
  }

  /**
   * Makes a chunk smaller once a worker has time for it.
   *
   * @param chunk the whole of its memory, which is taken
   * @returns a frame of at most `maxBytes`, or the chunk in another array
   * @throws {TransferError} `storage` once a worker has failed, which ends all of them; `cancelled` after `close`
   */
  async compress(chunk: Uint8Array<ArrayBuffer>, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const text = await this.#workerText();
    if (this.#end !== null) throw this.#end;
    return await new Promise((resolve, reject) => {
      this.#waiting.push({ chunk, maxBytes, resolve, reject });
      this.#handOut(text);
    });
  }

  /** Ends the workers at once; whoever waits for one gets `cancelled`. Does nothing the second time. */
  close(): void {
    this.#stop(new TransferError("cancelled", "could not go on with a chunk: its compression was closed"));
  }

  #handOut(text: string): void {
    for (let thread = this.#free(text); thread !== null; thread = this.#free(text)) {
      const job = this.#waiting.shift();
      if (job === undefined) return;
      thread.take(job);
    }
  }

  /** The thread with the least to do, or a new one; null if all have enough. */
  #free(text: string): ZstdThread | null {
    const least = this.#threads.toSorted((a, b) => a.jobs - b.jobs)[0];
    if (least?.jobs === 0) return least;
    // The start of a worker takes longer than many chunks: another comes only once there is more than one can do.
    const isOneMoreWanted = this.#waiting.length > 0 && this.#threads.every((each) => each.hasStarted);
    if (isOneMoreWanted && this.#threads.length < this.#maxThreads) return this.#start(text);
    return least !== undefined && least.jobs < MAX_JOBS_A_THREAD ? least : null;
  }

  #start(text: string): ZstdThread {
    const thread = new ZstdThread(text, {
      timers: this.#timers,
      answered: () => this.#handOut(text),
      failed: (error) => this.#stop(error),
    });
    this.#threads.push(thread);
    return thread;
  }

  #stop(error: TransferError): void {
    if (this.#end !== null) return;
    this.#end = error;
    for (const thread of this.#threads.splice(0)) thread.stop(error);
    for (const job of this.#waiting.splice(0)) job.reject(error);
  }
}
