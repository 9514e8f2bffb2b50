/** A connection whose other end wrote everything beforehand, for the fuzzer. */
import { type Connection, TransportError } from "../src/protocol/transport/transport.ts";

export class RecordedConnection implements Connection {
  readonly transport = "recorded";
  readonly remoteAddress = null;
  readonly localAddress = null;
  readonly confidential = true;
  /** What was written at this end. */
  readonly written: Uint8Array[] = [];
  readonly #bytes: Uint8Array;
  readonly #pieceBytes: number;
  #at = 0;
  #isClosed = false;

  /** Reads give at most `pieceBytes` of the bytes each, and then the end. */
  constructor(bytes: Uint8Array, pieceBytes: number) {
    this.#bytes = bytes;
    this.#pieceBytes = pieceBytes;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#isClosed) {
      return Promise.reject(closed());
    }
    if (this.#at === this.#bytes.length) {
      return Promise.resolve(null);
    }
    const part = this.#bytes.subarray(this.#at, this.#at + Math.min(this.#pieceBytes, buffer.length));
    buffer.set(part);
    this.#at += part.length;
    return Promise.resolve(part.length);
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(closed());
    }
    this.written.push(bytes.slice());
    return Promise.resolve();
  }

  closeWrite(): Promise<void> {
    return this.#isClosed ? Promise.reject(closed()) : Promise.resolve();
  }

  close(): void {
    this.#isClosed = true;
  }
}

function closed(): TransportError {
  return new TransportError("closed", "cannot use a recorded connection: it was closed here");
}
