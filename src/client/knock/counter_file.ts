/**
 * The counter in the config folder: 16 bytes, big-endian, in `<folder>/counter`, as ruroco keeps it.
 *
 *   flock client.lock -> read -> one more, or now -> durable write -> unlock -> only then is a packet built
 *
 * A counter that was used but not stored would be given out again after a crash, and the second knock refused as a
 * replay. A file that cannot be read is never started over: the clock might be behind the counters already used.
 */
import { type Clock, systemClock } from "../../system/clock.ts";
import { writeFileDurablySync } from "../../system/durable_file.ts";
import { Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { type CounterSource, type CounterStep, nextCounter } from "./counter.ts";

/** Length of the counter file. */
export const COUNTER_FILE_BYTES = 16;
const HALF_BITS = 64n;
const HALF_BYTES = COUNTER_FILE_BYTES / 2;
/** Long enough for a hundred knocks at once on a busy machine; the lock of a killed process is free at once. */
const LOCK_TIMEOUT_MS = 20_000;
const RESEED_HINT = "start the counter over at the present time: postern client reseed";

/** What a reseed changed; `previous` is null if there was no readable counter. */
export interface ReseedResult {
  readonly path: string;
  readonly previous: bigint | null;
  readonly counter: bigint;
}

/** The counter file of one config folder, shared by all processes that use it. */
export class CounterFile implements CounterSource {
  /** Path of the counter file. */
  readonly path: string;
  readonly #folder: string;
  readonly #clock: Clock;

  constructor(folder: string, clock: Clock = systemClock) {
    this.#folder = folder.length > 1 ? folder.replace(/\/+$/, "") : folder;
    this.path = `${this.#folder}/counter`;
    this.#clock = clock;
  }

  next(): Promise<CounterStep> {
    return this.#explained(async () => {
      using _lock = await this.#lock();
      const step = nextCounter(this.#read(), this.#clock.wallNs());
      this.#write(step.counter);
      return step;
    });
  }

  peek(): Promise<CounterStep> {
    return this.#explained(() => nextCounter(this.#read(), this.#clock.wallNs()));
  }

  /** Stores the present time, whatever the file holds now. */
  reseed(): Promise<ReseedResult> {
    return this.#explained(async () => {
      using _lock = await this.#lock();
      const previous = this.#readOrNull();
      const counter = this.#clock.wallNs();
      this.#write(counter);
      return { path: this.path, previous, counter };
    });
  }

  /** Does `work`; a folder that turns out to be somebody else's is told with its owner. */
  async #explained<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw (await import("./folder_owner.ts")).explainDenied(error, this.#folder);
    }
  }

  async #lock(): Promise<Disposable> {
    try {
      Deno.mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new Failure(`cannot use config folder ${this.#folder}`, {
        cause: error,
        hint: "name another one in POSTERN_CONF_DIR",
      });
    }
    return await acquireLock(`${this.#folder}/client.lock`, { timeoutMs: LOCK_TIMEOUT_MS });
  }

  /** @returns null if there is no file yet */
  #read(): bigint | null {
    let bytes: Uint8Array;
    try {
      bytes = readAtMost(this.path, COUNTER_FILE_BYTES + 1);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw new Failure(`cannot read counter file ${this.path}`, { cause: error, hint: RESEED_HINT });
    }
    if (bytes.length !== COUNTER_FILE_BYTES) {
      const found = bytes.length > COUNTER_FILE_BYTES ? `more than ${COUNTER_FILE_BYTES}` : bytes.length;
      throw new Failure(
        `cannot read counter file ${this.path}: found ${found} bytes, accepted: ${COUNTER_FILE_BYTES}`,
        { hint: RESEED_HINT },
      );
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return view.getBigUint64(0) << HALF_BITS | view.getBigUint64(HALF_BYTES);
  }

  #readOrNull(): bigint | null {
    try {
      return this.#read();
    } catch (error) {
      if (error instanceof Failure) return null;
      throw error;
    }
  }

  #write(counter: bigint): void {
    const bytes = new Uint8Array(COUNTER_FILE_BYTES);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, counter >> HALF_BITS);
    view.setBigUint64(HALF_BYTES, BigInt.asUintN(64, counter));
    writeFileDurablySync(this.path, bytes);
  }
}

function readAtMost(path: string, maxBytes: number): Uint8Array {
  using file = Deno.openSync(path, { read: true });
  const bytes = new Uint8Array(maxBytes);
  let length = 0;
  while (length < maxBytes) {
    const count = file.readSync(bytes.subarray(length));
    if (count === null || count === 0) break;
    length += count;
  }
  return bytes.subarray(0, length);
}
