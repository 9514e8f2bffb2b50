/** A received text, which is held in memory and written nowhere. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import type { ChunkRange } from "../../protocol/transfer/offer.ts";

/** A text of at most one chunk; see `Sink` for what the members do. */
export class TextInMemory {
  readonly #sizeBytes: number;
  #bytes = new Uint8Array(0);
  #hash = new Uint8Array(0);
  #text: string | null = null;

  /** Nothing of it is there. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** All of it; null until it is there and its hash was right. */
  get text(): string | null {
    return this.#text;
  }

  /** The one chunk that it has, unless it is there or the text is empty. */
  missing(): ChunkRange[] {
    return this.#bytes.length === this.#sizeBytes ? [] : [{ file: 0, first: 0, count: 1 }];
  }

  /** Takes the chunk. */
  write(bytes: Uint8Array<ArrayBuffer>, hash: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#hash = hash;
  }

  /** The hash of the chunk; nothing for an empty text. */
  chunkHashes(): Uint8Array<ArrayBuffer> {
    return this.#hash;
  }

  /**
   * The hash was right.
   *
   * @throws {TransferError} `malformed` if it is not UTF-8
   */
  finish(): void {
    try {
      this.#text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.#bytes);
    } catch (cause) {
      throw new TransferError("malformed", "cannot take the text: it is not UTF-8", { cause });
    }
  }

  /** The hash was wrong. */
  forget(): void {
    this.#bytes = new Uint8Array(0);
    this.#hash = new Uint8Array(0);
  }
}
