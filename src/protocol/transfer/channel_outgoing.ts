/** What one side of a transfer writes: records, sealed several at once and written in order. */
import type { RecordParts, RecordSealer } from "../record/record.ts";
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";

/** WebCrypto seals each record in a thread: so many keep the cores busy, and each more costs 4 MB. */
const MAX_SEALING = 2;
/** Whoever adds a record waits while more than one chunk is not written: a second is sealed while it is written. */
const MAX_WAITING_BYTES = 1.5 * 1024 * 1024;
const MAX_WAITING_RECORDS = 64;
/** Records of up to this length are written together; a longer one is written from where it was sealed. */
const JOINED_BYTES = 16 * 1024;
const BATCH_BYTES = 2 * JOINED_BYTES;

interface Waiting {
  /** Null for the last record. */
  readonly plaintext: Uint8Array<ArrayBuffer> | null;
  readonly bytes: number;
  /** Null until sealing begins. */
  parts: RecordParts | null;
}

interface Watcher {
  readonly isContent: () => boolean;
  readonly settle: PromiseWithResolvers<void>;
}

/** Writes the records of one direction. */
export class OutgoingRecords {
  readonly #connection: Connection;
  readonly #sealer: RecordSealer;
  readonly #timers: Timers;
  /** What is not written, in order; those that are sealed or being sealed come first. */
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #sealing = 0;
  /** Small records and lengths of large ones: the first `#batched` bytes. */
  readonly #batch = new Uint8Array(BATCH_BYTES);
  #batched = 0;
  #isWriting = false;
  #hasEnded = false;
  #failure: { readonly error: unknown } | null = null;
  #watchers: Watcher[] = [];
  #saidMs: number;

  /** Writes nothing yet. */
  constructor(connection: Connection, sealer: RecordSealer, timers: Timers) {
    this.#connection = connection;
    this.#sealer = sealer;
    this.#timers = timers;
    this.#saidMs = timers.monotonicMs();
  }

  /** When something was handed over to the connection for the last time. */
  get saidMs(): number {
    return this.#saidMs;
  }

  /**
   * Puts a record behind those before it; `room` tells when to add the next, and whether writing has failed.
   *
   * @param plaintext 1 to 1,048,576 bytes, nobody else's any more; empty soon if it is the whole of its buffer
   * @throws {TypeError} after `end`
   */
  add(plaintext: Uint8Array<ArrayBuffer>): void {
    this.#requireNotEnded();
    this.#wait(plaintext);
  }

  /** Settles once there is room for another; rejects with what `fail` was told or the connection has thrown. */
  room(): Promise<void> {
    return this.#until(() =>
      this.#waitingBytes <= MAX_WAITING_BYTES && this.#waiting.length <= MAX_WAITING_RECORDS
    );
  }

  /**
   * Writes everything and the last record, and ends the writing of the connection.
   *
   * @throws {TypeError} the second time
   */
  async end(): Promise<void> {
    this.#requireNotEnded();
    this.#hasEnded = true;
    this.#wait(null);
    await this.#until(() => this.#waiting.length === 0);
    await this.#connection.closeWrite();
  }

  /** Writes nothing more; whoever waits is told why. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    for (const { settle } of this.#watchers.splice(0)) settle.reject(this.#failure.error);
  }

  #requireNotEnded(): void {
    if (this.#hasEnded) throw new TypeError("cannot write a record: the last one was written");
  }

  #until(isContent: () => boolean): Promise<void> {
    if (this.#failure !== null) return Promise.reject(this.#failure.error);
    if (isContent()) return Promise.resolve();
    const settle = Promise.withResolvers<void>();
    this.#watchers.push({ isContent, settle });
    return settle.promise;
  }

  #wait(plaintext: Uint8Array<ArrayBuffer> | null): void {
    if (this.#failure !== null) return;
    const bytes = plaintext?.length ?? 0;
    this.#waiting.push({ plaintext, bytes, parts: null });
    this.#waitingBytes += bytes;
    this.#seal();
    if (!this.#isWriting) this.#writeAll();
  }

  /** Seals in the order of the queue, which is what numbers the records. */
  #seal(): void {
    for (const waiting of this.#waiting) {
      if (this.#sealing >= MAX_SEALING) return;
      if (waiting.parts !== null) continue;
      const { plaintext } = waiting;
      waiting.parts = plaintext === null ? this.#sealer.sealEndParts() : this.#sealer.sealParts(plaintext);
      if (plaintext !== null) free(plaintext); // it was copied
      this.#sealing++;
      const sealed = (): void => {
        this.#sealing--;
        this.#seal();
      };
      waiting.parts.body.then(sealed, sealed);
    }
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true;
    try {
      for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
        if (first.parts === null) throw new TypeError("cannot write a record that is not being sealed");
        await this.#write(first.parts.head, await first.parts.body);
        if (this.#waiting.length === 1) await this.#flush();
        this.#written();
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.#isWriting = false;
    }
  }

  /** A record may stay in the batch while another one waits: it is written with that one. */
  async #write(head: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>): Promise<void> {
    const recordBytes = head.length + body.length;
    if (this.#batched + Math.min(recordBytes, JOINED_BYTES) > this.#batch.length) await this.#flush();
    this.#join(head);
    if (recordBytes <= JOINED_BYTES) return this.#join(body);
    await this.#flush();
    await this.#say(body);
    free(body);
  }

  #join(bytes: Uint8Array): void {
    this.#batch.set(bytes, this.#batched);
    this.#batched += bytes.length;
  }

  async #flush(): Promise<void> {
    const bytes = this.#batch.subarray(0, this.#batched);
    this.#batched = 0;
    if (bytes.length > 0) await this.#say(bytes);
  }

  async #say(bytes: Uint8Array): Promise<void> {
    await this.#connection.write(bytes);
    this.#saidMs = this.#timers.monotonicMs();
  }

  #written(): void {
    this.#waitingBytes -= this.#waiting.shift()?.bytes ?? 0;
    const content = this.#watchers.filter(({ isContent }) => isContent());
    this.#watchers = this.#watchers.filter((watcher) => !content.includes(watcher));
    for (const { settle } of content) settle.resolve();
  }
}

/** Gives memory back now and not some day; unless it is a part of other memory. */
function free(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.length === bytes.buffer.byteLength) bytes.buffer.transfer(0);
}
