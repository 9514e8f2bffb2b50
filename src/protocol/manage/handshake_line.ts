/**
 * A connection as the handshake of a link uses it: frames one after the other, not one byte read beyond the frame that
 * is waited for, and one end for all the waiting.
 */
import { shownText } from "./shown_text.ts";
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import {
  encodeFrame,
  type Frame,
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  FrameReader,
  type FrameType,
  LinkError,
  MAX_RESET_TEXT_BYTES,
} from "./frame.ts";
import { joinBytes, u16 } from "./byte_fields.ts";
import { RESET_CODES, type ResetCode, resetCodeOf, ResetError } from "./reset_code.ts";

/** Time that the other side has to take a refusal and to hang up. */
const LINGER_MS = 1_000;
/** What it may still have sent before it hears of it; whoever sends more is cut off. */
const LINGER_READS = 16,
  LINGER_READ_BYTES = 4096;
const CODE_BYTES = 2;

/** How long a line waits, altogether. */
export interface HandshakeLineOptions {
  readonly timers: Timers;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** A connection that closes itself when its time is over, or somebody gives it up. */
export class HandshakeLine {
  readonly #connection: Connection;
  readonly #signal: AbortSignal | undefined;
  readonly #callOff: () => void;
  readonly #close: () => void;
  #isOverdue = false;

  /** Takes over a connection until `release`; the time begins. */
  constructor(connection: Connection, { timers, timeoutMs, signal }: HandshakeLineOptions) {
    this.#connection = connection;
    this.#signal = signal;
    this.#close = (): void => connection.close();
    this.#callOff = timers.after(timeoutMs, () => {
      this.#isOverdue = true;
      connection.close();
    });
    signal?.addEventListener("abort", this.#close);
    if (signal?.aborted) connection.close();
  }

  /**
   * Writes all bytes.
   *
   * @throws {ResetError} "silent" or "lost"; or the signal's reason
   */
  async write(bytes: Uint8Array): Promise<void> {
    try {
      await this.#connection.write(bytes);
    } catch (error) {
      throw this.failure(error);
    }
  }

  /**
   * Reads one frame. Its header is judged before its data is waited for.
   *
   * @param types that may come now, on flow 0
   * @throws {ResetError} "version" or "malformed" if it is no frame or another one, "silent" or "lost"; or the signal's
   * reason
   */
  async readFrame(...types: readonly FrameType[]): Promise<Frame> {
    const header = await this.#read(FRAME_HEADER_BYTES), reader = new FrameReader();
    try {
      reader.feed(header);
      reader.next();
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      throw new ResetError(error.reason, "here", error.message, { cause: error });
    }
    const [, type, flow] = header;
    if (flow !== 0 || !types.some((each) => each === type)) {
      throw new ResetError("malformed", "here", "cannot link: the other side speaks out of turn");
    }
    reader.feed(await this.#read(new DataView(header.buffer).getUint16(FRAME_HEADER_BYTES - 2)));
    const frame = reader.next();
    if (frame === null) throw new ResetError("internal", "here", "cannot link: a frame was cut");
    return frame;
  }

  /** Leaves the connection to somebody else. */
  release(): void {
    this.#callOff();
    this.#signal?.removeEventListener("abort", this.#close);
  }

  /** What it means that reading or writing has failed: the signal's reason, or a `ResetError` "silent" or "lost". */
  failure(cause: unknown): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (this.#isOverdue) {
      return new ResetError("silent", "here", "cannot link: the other side did not answer in time", {
        cause,
      });
    }
    return new ResetError("lost", "there", "cannot link: the connection was lost", { cause });
  }

  async #read(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(length);
    for (let at = 0; at < length;) {
      let count: number | null;
      try {
        count = await this.#connection.read(buffer.subarray(at));
      } catch (error) {
        throw this.failure(error);
      }
      if (count === null) throw this.failure(undefined);
      at += count;
    }
    return buffer;
  }
}

/** Reads a reset of flow 0: its text is cut and cleaned, since people are shown it. */
export function resetOf({ data }: Frame): ResetError {
  const code = resetCodeOf(new DataView(data.buffer, data.byteOffset, data.length).getUint16(0));
  const text = shownText(new TextDecoder().decode(data.subarray(CODE_BYTES)));
  return new ResetError(code, "there", text === "" ? `the other side refuses: ${code}` : text);
}

/**
 * Tells the other side why, and hangs up: at once if it does, else after a second. Never throws.
 *
 * @param text at most 512 bytes of it are told
 */
export async function tellAndHangUp(
  connection: Connection,
  timers: Timers,
  code: ResetCode,
  text: string,
): Promise<void> {
  const callOff = timers.after(LINGER_MS, () => connection.close());
  try {
    const encoded = new Uint8Array(MAX_RESET_TEXT_BYTES);
    const { written } = new TextEncoder().encodeInto(text, encoded);
    const data = joinBytes(u16(RESET_CODES[code]), encoded.subarray(0, written));
    await connection.write(encodeFrame(FRAME_TYPES.reset, 0, data));
    await connection.closeWrite();
    // A socket closed with unread bytes in it may take back what was written last.
    const unread = new Uint8Array(LINGER_READ_BYTES);
    for (let reads = 0; reads < LINGER_READS && await connection.read(unread) !== null; reads++);
  } catch {
    // It is gone; there is nobody to tell.
  } finally {
    callOff();
    connection.close();
  }
}
