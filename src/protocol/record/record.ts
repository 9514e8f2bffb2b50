/**
 * Records: how a stream of bytes is encrypted, one key for each direction. Used by RPC after the handshake, and by
 * transfers after their hellos.
 *
 *   | length u32 | ciphertext | tag 16 |        length: of ciphertext and tag; big-endian
 *
 * AES-256-GCM (NIST SP 800-38D). The nonce is the number of the record, 96 bits, counted from 0 in each direction and
 * never sent; the four bytes of the length are the associated data. The last record of a direction is empty, no other
 * is: an end without it is no end.
 *
 * A record that was changed, left out, repeated, put elsewhere or taken from another direction or connection has the
 * wrong tag, and all that tells which of it happened would have to come from whoever did it. So there is one refusal.
 */

/** Length of a key. */
export const RECORD_KEY_BYTES = 32;
/** Length of the field that says the length. */
export const RECORD_LENGTH_BYTES = 4;
/** Length of a tag. */
export const RECORD_TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** Where the low 64 bits of the nonce begin; those before it stay zero. */
const COUNTER_OFFSET = 4;
/** Longest plaintext of one record. */
export const MAX_RECORD_PLAINTEXT_BYTES = 1024 * 1024;
/** Longest record with everything. */
export const MAX_RECORD_BYTES: number = RECORD_LENGTH_BYTES + MAX_RECORD_PLAINTEXT_BYTES + RECORD_TAG_BYTES;

/** Records up to this length are given to a `ShortRecordCipher`, where there is one. */
export const SHORT_RECORD_BYTES: number = 2 * 1024;

/** AES-256-GCM without waiting, where the runtime has it: a turn to another thread costs more than a short record. */
export interface ShortRecordCipher {
  /**
   * @param head the associated data
   * @returns ciphertext and tag
   */
  seal(key: Uint8Array, nonce: Uint8Array, head: Uint8Array, plaintext: Uint8Array): Uint8Array<ArrayBuffer>;
  /**
   * @param body ciphertext and tag, at least 16 bytes
   * @returns the plaintext; null, and nothing of it, if the tag is wrong
   */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    head: Uint8Array,
    body: Uint8Array,
  ): Uint8Array<ArrayBuffer> | null;
}

/**
 * What is wrong with records:
 * - `authentication`: it is not the record that was sent as this one
 * - `length`: shorter than a tag, or longer than any record
 * - `after_end`: bytes behind the last record
 * - `truncated`: the bytes end before the last record
 */
export type RecordRefusal = "authentication" | "length" | "after_end" | "truncated";

/** What arrived is not what was sent. */
export class RecordError extends Error {
  /** What is wrong, for programs. */
  readonly refusal: RecordRefusal;

  /** Makes one. */
  constructor(refusal: RecordRefusal, message: string) {
    super(message);
    this.name = "RecordError";
    this.refusal = refusal;
  }
}

/** A record in two runs of bytes, so that whoever writes it needs no memory that holds both. */
export interface RecordParts {
  /** The first 4 bytes: the length. */
  readonly head: Uint8Array<ArrayBuffer>;
  /** Ciphertext and tag, in memory of their own. */
  readonly body: Promise<Uint8Array<ArrayBuffer>>;
}

/** Seals the records of one direction, in the order of the calls; several may be under way at once. */
export class RecordSealer {
  readonly #key: RecordKey;
  #next = 0n;
  #hasEnded = false;

  /**
   * Makes one for the first record.
   *
   * @param key 32 bytes that were never used for records before: a nonce used twice with one key gives both
   * plaintexts and the key of the tags away
   */
  constructor(key: Uint8Array<ArrayBuffer>, short?: ShortRecordCipher) {
    this.#key = new RecordKey(key, "encrypt", short);
  }

  /**
   * Makes a record.
   *
   * @param plaintext 1 to 1,048,576 bytes; copied before this returns
   * @returns the whole record
   * @throws {RangeError} if it is of another length
   * @throws {TypeError} after `sealEnd`
   */
  seal(plaintext: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return joined(this.sealParts(plaintext));
  }

  /** Makes a record as `seal` does, without copying its ciphertext once more. */
  sealParts(plaintext: Uint8Array): RecordParts {
    if (plaintext.length === 0 || plaintext.length > MAX_RECORD_PLAINTEXT_BYTES) {
      throw new RangeError(
        `cannot seal a record: found ${plaintext.length} bytes, accepted are 1 to ${MAX_RECORD_PLAINTEXT_BYTES}`,
      );
    }
    return this.#seal(plaintext);
  }

  /**
   * Makes the last record.
   *
   * @throws {TypeError} the second time
   */
  sealEnd(): Promise<Uint8Array<ArrayBuffer>> {
    return joined(this.sealEndParts());
  }

  /** Makes the last record as `sealEnd` does. */
  sealEndParts(): RecordParts {
    const parts = this.#seal(new Uint8Array(0));
    this.#hasEnded = true;
    return parts;
  }

  #seal(plaintext: Uint8Array): RecordParts {
    if (this.#hasEnded) throw new TypeError("cannot seal a record: the last one was sealed");
    const head = new Uint8Array(RECORD_LENGTH_BYTES);
    new DataView(head.buffer).setUint32(0, plaintext.length + RECORD_TAG_BYTES);
    return { head, body: this.#key.encrypt(nonceOf(this.#next++), head, plaintext) };
  }
}

/** Opens the records of one direction, in the order of the calls; several may be under way at once. */
export class RecordOpener {
  readonly #key: RecordKey;
  #next = 0n;
  #hasEnded = false;
  #refusal: RecordError | null = null;
  /** Settles once the record before the next one was given out or refused. */
  #before: Promise<void> = Promise.resolve();

  /** Makes one for the first record, with the key of its sealer. */
  constructor(key: Uint8Array<ArrayBuffer>, short?: ShortRecordCipher) {
    this.#key = new RecordKey(key, "decrypt", short);
  }

  /** Whether the last record was opened. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Opens the next record. It is given out after all before it, and not if one of them was refused or the last:
   * nothing comes out behind a gap.
   *
   * @param record whole, with its length; copied before this returns
   * @returns the plaintext; null for the last record
   * @throws {RecordError} "length", "authentication" or "after_end"; whatever an earlier one was refused for
   */
  open(record: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | null> {
    const opened = this.#inTurn(this.#before, this.#decrypt(record));
    const settled = (): void => {};
    this.#before = opened.then(settled, settled);
    return opened;
  }

  async #inTurn(
    before: Promise<void>,
    opening: Promise<Uint8Array<ArrayBuffer> | RecordError>,
  ): Promise<Uint8Array<ArrayBuffer> | null> {
    await before;
    const found = await opening;
    if (this.#hasEnded) {
      throw new RecordError("after_end", "cannot open a record: the last one has come before");
    }
    const opened = this.#refusal ?? found;
    if (opened instanceof RecordError) throw this.#refusal = opened;
    this.#hasEnded = opened.length === 0;
    return this.#hasEnded ? null : opened;
  }

  /** Never rejects: who waits for it may have failed before. */
  async #decrypt(record: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer> | RecordError> {
    const iv = nonceOf(this.#next++);
    try {
      requireWhole(record);
      const head = record.subarray(0, RECORD_LENGTH_BYTES);
      return await this.#key.decrypt(iv, head, record.subarray(RECORD_LENGTH_BYTES));
    } catch (error) {
      if (error instanceof RecordError) return error;
      return new RecordError("authentication", "cannot open a record: it is not the one that was sent here");
    }
  }
}

/**
 * Length of ciphertext and tag, as the first four bytes of a record say; checked before anything is set aside for it.
 *
 * @throws {RecordError} "length" if no record has it
 */
export function recordLength(head: Uint8Array<ArrayBuffer>): number {
  const bytes = new DataView(head.buffer, head.byteOffset, head.length).getUint32(0);
  if (bytes < RECORD_TAG_BYTES || bytes > MAX_RECORD_PLAINTEXT_BYTES + RECORD_TAG_BYTES) {
    throw new RecordError(
      "length",
      `cannot open a record: it says ${bytes} bytes, accepted are ${RECORD_TAG_BYTES} to ${
        MAX_RECORD_PLAINTEXT_BYTES + RECORD_TAG_BYTES
      }`,
    );
  }
  return bytes;
}

/** @throws {RecordError} "length" if it is not as long as it says */
function requireWhole(record: Uint8Array<ArrayBuffer>): void {
  const restBytes = record.length - RECORD_LENGTH_BYTES;
  if (restBytes < 0 || recordLength(record) !== restBytes) {
    throw new RecordError("length", "cannot open a record: it does not have the length that it says");
  }
}

/** A key for one direction. WebCrypto imports it in its own time; whatever is asked before that waits. */
class RecordKey {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #short: ShortRecordCipher | undefined;
  readonly #importing: Promise<CryptoKey>;
  #key: CryptoKey | null = null;

  constructor(
    key: Uint8Array<ArrayBuffer>,
    usage: "encrypt" | "decrypt",
    short: ShortRecordCipher | undefined,
  ) {
    if (key.length !== RECORD_KEY_BYTES) {
      throw new TypeError(
        `cannot use a key of ${key.length} bytes for records: it wants ${RECORD_KEY_BYTES}`,
      );
    }
    this.#bytes = key.slice();
    this.#short = short;
    this.#importing = crypto.subtle.importKey("raw", key, "AES-GCM", false, [usage]);
    this.#importing.then((imported) => this.#key = imported);
  }

  // deno-lint-ignore require-await -- it throws into its promise
  async encrypt(
    iv: Uint8Array<ArrayBuffer>,
    additionalData: Uint8Array<ArrayBuffer>,
    plaintext: Uint8Array,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (plaintext.length <= SHORT_RECORD_BYTES && this.#short !== undefined) {
      return this.#short.seal(this.#bytes, iv, additionalData, plaintext);
    }
    const algorithm = { name: "AES-GCM", iv, additionalData };
    if (this.#key !== null) return bytesOf(crypto.subtle.encrypt(algorithm, this.#key, unshared(plaintext)));
    const copy = plaintext.slice();
    return bytesOf(this.#importing.then((key) => crypto.subtle.encrypt(algorithm, key, unshared(copy))));
  }

  /** Rejects, with anything, if the tag is wrong. */
  // deno-lint-ignore require-await -- it throws into its promise
  async decrypt(
    iv: Uint8Array<ArrayBuffer>,
    additionalData: Uint8Array<ArrayBuffer>,
    ciphertext: Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (ciphertext.length <= SHORT_RECORD_BYTES + RECORD_TAG_BYTES && this.#short !== undefined) {
      const plaintext = this.#short.open(this.#bytes, iv, additionalData, ciphertext);
      if (plaintext === null) throw new RangeError("the tag is wrong");
      return plaintext;
    }
    const algorithm = { name: "AES-GCM", iv, additionalData };
    if (this.#key !== null) return bytesOf(crypto.subtle.decrypt(algorithm, this.#key, ciphertext));
    const copy = ciphertext.slice();
    algorithm.additionalData = additionalData.slice();
    return bytesOf(this.#importing.then((key) => crypto.subtle.decrypt(algorithm, key, copy)));
  }
}

async function bytesOf(buffer: Promise<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await buffer);
}

async function joined({ head, body }: RecordParts): Promise<Uint8Array<ArrayBuffer>> {
  const ciphertext = await body;
  const record = new Uint8Array(head.length + ciphertext.length);
  record.set(head);
  record.set(ciphertext, head.length);
  return record;
}

/** WebCrypto takes no memory that others may write to. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes);
}

function nonceOf(counter: bigint): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(NONCE_BYTES);
  new DataView(nonce.buffer).setBigUint64(COUNTER_OFFSET, counter);
  return nonce;
}
