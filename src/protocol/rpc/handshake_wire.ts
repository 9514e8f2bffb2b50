/** Reads and writes the frames of a handshake on a connection, and can be stopped in the middle of either. */
import { type RecordKeys, SealedConnection } from "../record/sealed_connection.ts";
import type { Connection } from "../transport/transport.ts";
import { type Frame, FrameError, MAX_HANDSHAKE_BODY_BYTES } from "./frame.ts";
import { FrameReader } from "./frame_reader.ts";
import { encodeRefusal, HANDSHAKE_KINDS, HandshakeRefusal, type RefusalReason } from "./handshake_frame.ts";
import type { Timers } from "./timers.ts";

/** Time that the other side has to take a refusal in. */
export const LINGER_MS = 1_000;
/** What it may still send meanwhile: it is thrown away. */
const MAX_LINGER_BYTES = 65_536;
const LINGER_BUFFER_BYTES = 4_096;

/** The connection ended in the middle of the handshake. */
export class HandshakeEnded extends Error {
  /** Makes one. */
  constructor() {
    super("the connection ended");
    this.name = "HandshakeEnded";
  }
}

/** One side's end of a connection while hands are shaken. */
export class HandshakeWire {
  #connection: Connection;
  /** Rejects when it is time to stop. */
  readonly #stopped: Promise<never>;
  readonly #reader = new FrameReader({
    maxBodyBytes: MAX_HANDSHAKE_BODY_BYTES,
    allowed: HANDSHAKE_KINDS,
    exactly: true,
  });
  #read: Promise<number | null> | null = null;
  #isWriting = false;

  /** Takes a connection, and a promise that never resolves but rejects to stop whatever waits. */
  constructor(connection: Connection, stopped: Promise<never>) {
    this.#connection = connection;
    this.#stopped = stopped;
  }

  /** What everything goes over now. */
  get connection(): Connection {
    return this.#connection;
  }

  /** Puts everything from here on into records. */
  seal(keys: RecordKeys): void {
    this.#connection = new SealedConnection(this.#connection, keys);
  }

  /** Waits for something that is no reading or writing, and not beyond the stop. */
  within<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#stopped]);
  }

  /** Writes a frame. */
  async send(frame: Uint8Array): Promise<void> {
    this.#isWriting = true;
    const written = this.#connection.write(frame).finally(() => this.#isWriting = false);
    await this.within(written);
  }

  /**
   * Reads one frame and not a byte more. Its body is valid until the next.
   *
   * @throws {HandshakeRefusal} if it is of no handshake
   * @throws {HandshakeEnded} if there is none
   */
  async receive(): Promise<Frame> {
    for (;;) {
      const frame = this.#nextFrame();
      if (frame !== null) return frame;
      this.#read = this.#connection.read(this.#reader.space());
      const bytes = await this.within(this.#read);
      this.#read = null;
      if (bytes === null) throw new HandshakeEnded();
      this.#reader.filled(bytes);
    }
  }

  /**
   * Tells the other side why it is refused, and closes once it has had time to read that. Closing at once would take
   * the reason away from it: TCP resets a connection that is closed while something unread lies in it.
   */
  async refuse(reason: RefusalReason, text: string, timers: Timers): Promise<void> {
    const late = Promise.withResolvers<null>();
    const callOff = timers.after(LINGER_MS, () => late.resolve(null));
    try {
      await Promise.race([this.#tell(reason, text), late.promise]);
    } catch {
      // It is refused all the same.
    } finally {
      callOff();
      this.close();
    }
  }

  /** Closes at once; whatever is still being read or written here is left to settle. */
  close(): void {
    this.#connection.close();
  }

  async #tell(reason: RefusalReason, text: string): Promise<void> {
    if (this.#isWriting) return;
    await this.#connection.write(encodeRefusal(reason, text));
    await this.#connection.closeWrite();
    const scrap = new Uint8Array(LINGER_BUFFER_BYTES);
    let left = MAX_LINGER_BYTES;
    while (left > 0) {
      const bytes = await (this.#read ?? this.#connection.read(scrap));
      this.#read = null;
      if (bytes === null) return;
      left -= bytes;
    }
  }

  #nextFrame(): Frame | null {
    try {
      return this.#reader.next();
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      const reason = error.reason === "malformed" ? "handshake_malformed" : error.reason;
      throw new HandshakeRefusal(reason, `what came is not this protocol: ${error.message}`, {
        cause: error,
      });
    }
  }
}
