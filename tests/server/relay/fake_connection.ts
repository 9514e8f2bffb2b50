/** A connection whose other end is the test. */
import type { RelayConnection } from "../../../src/server/relay/caller.ts";

interface PendingRead {
  readonly into: Uint8Array;
  readonly settle: PromiseWithResolvers<number | null>;
}

export class FakeConnection implements RelayConnection {
  readonly remoteAddr: { readonly hostname: string };
  /** All that was written to it. */
  written: number[] = [];
  /** Lengths of the buffers that it was asked to read into. */
  readonly readSizes: number[] = [];
  /** Options that were switched on. */
  readonly options: string[] = [];
  isFinished = false;
  isClosed = false;
  /** Takes at most so many bytes a write. */
  maxWriteBytes = Infinity;
  #reading: PendingRead | null = null;
  #held: PromiseWithResolvers<void> | null = null;
  #failure: Error | null = null;
  #isEnded = false;

  constructor(hostname = "192.0.2.1") {
    this.remoteAddr = { hostname };
  }

  read(into: Uint8Array): Promise<number | null> {
    if (this.#reading !== null) throw new Error("a second read at once");
    this.readSizes.push(into.length);
    if (this.isClosed) return Promise.reject(new Deno.errors.BadResource("closed"));
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (this.#isEnded) return Promise.resolve(null);
    const settle = Promise.withResolvers<number | null>();
    this.#reading = { into, settle };
    return settle.promise;
  }

  async write(bytes: Uint8Array): Promise<number> {
    await this.#held?.promise;
    if (this.isClosed) throw new Deno.errors.BadResource("closed");
    if (this.#failure !== null) throw this.#failure;
    const count = Math.min(bytes.length, this.maxWriteBytes);
    this.written.push(...bytes.subarray(0, count));
    return count;
  }

  closeWrite(): Promise<void> {
    if (this.isClosed || this.#failure !== null) return Promise.reject(new Deno.errors.NotConnected("gone"));
    this.isFinished = true;
    return Promise.resolve();
  }

  close(): void {
    if (this.isClosed) throw new Error("closed twice");
    this.isClosed = true;
    this.#held?.resolve();
    this.#takeReading()?.settle.reject(new Deno.errors.Interrupted("closed"));
  }

  setNoDelay(on: boolean): void {
    this.#option("no delay", on);
  }

  setKeepAlive(on: boolean): void {
    this.#option("keep alive", on);
  }

  #option(name: string, on: boolean): void {
    if (this.#failure !== null) throw this.#failure;
    if (on) this.options.push(name);
  }

  /** Whether somebody reads from it. */
  get isRead(): boolean {
    return this.#reading !== null;
  }

  /** Says so many bytes of a value to whoever reads; fewer if the buffer is shorter. The number said. */
  say(bytes: number, value = 1): number {
    const reading = this.#takeReading();
    if (reading === null) throw new Error("nobody reads");
    const count = Math.min(bytes, reading.into.length);
    reading.into.fill(value, 0, count);
    reading.settle.resolve(count);
    return count;
  }

  /** Says that there is no more. */
  end(): void {
    this.#isEnded = true;
    this.#takeReading()?.settle.resolve(null);
  }

  /** Is lost: whatever is done with it fails. */
  fail(): void {
    this.#failure = new Deno.errors.ConnectionReset("reset");
    this.#takeReading()?.settle.reject(this.#failure);
  }

  /** Takes no byte until it is released. */
  hold(): void {
    this.#held = Promise.withResolvers<void>();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = null;
  }

  #takeReading(): PendingRead | null {
    const reading = this.#reading;
    this.#reading = null;
    return reading;
  }
}
