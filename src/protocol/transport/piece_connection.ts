/**
 * Half-close for a pipe that cannot be half-closed: Deno keeps standard output open for as long as a process lives, so
 * the end of what it writes has to be said in band.
 *
 *   | length u32 | that many bytes |   again and again; length 0, without bytes: the sender writes no more
 *
 * Big-endian, at most 1 MiB a piece. A pipe that ends without the last piece was cut. What another part of the
 * program prints into the pipe is noticed as well: four characters of text are a length far above the limit.
 */
import { type Connection, TransportError } from "./transport.ts";
import { closedHere, writingEnded } from "./transport_errors.ts";

const LENGTH_BYTES = 4;
/** Longest piece; a longer write becomes several. */
export const MAX_PIECE_BYTES = 1024 * 1024;
/** Pieces up to this go out together with their length, in one system call; longer ones are not copied. */
const JOINED_BYTES = 64 * 1024;

/** Makes the error of a pipe that ended without the last piece, or takes no more. */
export type ExplainLoss = () => Promise<TransportError>;

/** The connection, over one that ends only as a whole. */
export class PieceConnection implements Connection {
  readonly transport: string;
  readonly confidential: boolean;
  readonly localAddress: string | null;
  readonly remoteAddress: string | null;
  readonly #pipe: Connection;
  readonly #explainLoss: ExplainLoss;
  readonly #length = new Uint8Array(LENGTH_BYTES);
  #joined: Uint8Array<ArrayBuffer> | null = null;
  /** Bytes of the piece being read that did not come yet. */
  #left = 0;
  #readingEnded = false;
  /** What reading failed with. Whatever comes behind that begins anywhere, so nothing of it is taken for a piece. */
  #failure: TransportError | null = null;
  #writingEnded = false;
  #closed = false;

  constructor(pipe: Connection, explainLoss: ExplainLoss) {
    this.transport = pipe.transport;
    this.confidential = pipe.confidential;
    this.localAddress = pipe.localAddress;
    this.remoteAddress = pipe.remoteAddress;
    this.#pipe = pipe;
    this.#explainLoss = explainLoss;
  }

  async read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#closed) throw closedHere("read");
    if (this.#failure !== null) throw this.#failure;
    if (this.#readingEnded) return null;
    try {
      return await this.#readPiece(buffer);
    } catch (error) {
      if (error instanceof TransportError) this.#failure = error;
      throw error;
    }
  }

  async #readPiece(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    if (this.#left === 0) {
      this.#left = await this.#readLength();
      if (this.#left === 0) {
        this.#readingEnded = true;
        return null;
      }
    }
    const count = await this.#pipe.read(buffer.subarray(0, this.#left));
    if (count === null) throw await this.#loss("read");
    this.#left -= count;
    return count;
  }

  async #readLength(): Promise<number> {
    const bytes = this.#length;
    for (let got = 0; got < LENGTH_BYTES;) {
      const count = await this.#pipe.read(bytes.subarray(got));
      if (count === null) throw await this.#loss("read");
      got += count;
    }
    const length = new DataView(bytes.buffer).getUint32(0);
    if (length > MAX_PIECE_BYTES) {
      throw new TransportError(
        "lost",
        `cannot read from ${
          this.remoteAddress ?? this.transport
        }: what came is no piece of this connection; either the ` +
          "program there does not speak this transport, or something else of it prints to its standard output",
      );
    }
    return length;
  }

  async #loss(act: "read" | "write"): Promise<TransportError> {
    const error = await this.#explainLoss();
    return this.#closed ? closedHere(act) : error;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#writingEnded && !this.#closed) throw writingEnded();
    try {
      for (let at = 0; at < bytes.length; at += MAX_PIECE_BYTES) {
        await this.#writePiece(bytes.subarray(at, at + MAX_PIECE_BYTES));
      }
    } catch (error) {
      // A broken pipe says nothing of why the other end has gone.
      throw error instanceof TransportError && error.code === "lost" ? await this.#loss("write") : error;
    }
    if (this.#closed) throw closedHere("write");
  }

  async #writePiece(piece: Uint8Array): Promise<void> {
    const joined = this.#joined ??= new Uint8Array(LENGTH_BYTES + JOINED_BYTES);
    new DataView(joined.buffer).setUint32(0, piece.length);
    if (piece.length <= JOINED_BYTES) {
      joined.set(piece, LENGTH_BYTES);
      return await this.#pipe.write(joined.subarray(0, LENGTH_BYTES + piece.length));
    }
    await this.#pipe.write(joined.subarray(0, LENGTH_BYTES));
    await this.#pipe.write(piece);
  }

  async closeWrite(): Promise<void> {
    if (this.#closed) throw closedHere("end writing");
    if (this.#writingEnded) return;
    this.#writingEnded = true;
    await this.#pipe.write(new Uint8Array(LENGTH_BYTES));
  }

  close(): void {
    this.#closed = true;
    this.#pipe.close();
  }
}
