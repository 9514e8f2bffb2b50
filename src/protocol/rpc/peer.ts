/**
 * A peer: one end of an RPC connection whose handshake is done. Both ends are alike; each may serve and call.
 *
 * This is the wiring: a loop that reads frames for the session, the outbox that writes what the session queues, and
 * how a connection ends.
 */
import { type Connection, TransportError } from "../transport/transport.ts";
import type { Client, Contract, PeerInfo } from "./contract.ts";
import type { Codec } from "./codec.ts";
import { encodeClose } from "./error_body.ts";
import { type CloseReason, ConnectionError } from "./errors.ts";
import { FRAME_KINDS, FrameError } from "./frame.ts";
import { FrameReader } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import { requireSameCalls, type Served } from "./implement.ts";
import type { Limits, ToldLimits } from "./limits.ts";
import { Outbox } from "./outbox.ts";
import { type PeerCounts, Session } from "./session.ts";
import type { Timers } from "./timers.ts";

export type { PeerCounts } from "./session.ts";

/** Time that the other side has to take the last frame and to hang up. */
const LINGER_MS = 1_000;

/** What a program may want to log; nothing of it reaches the other side. */
export interface PeerEvent {
  /** A handler, or the items it gave, failed with something that is no `RpcError`; the caller gets "internal". */
  readonly kind: "handler_failed";
  /** Name of the method. */
  readonly method: string;
  /** What was thrown. */
  readonly error: unknown;
}

/** What a peer is made of. */
export interface PeerOptions<Calls extends Contract = Contract> {
  /** Where the handshake has been done. The peer owns it from now on. */
  readonly connection: Connection;
  /** Who dialled has the odd call ids. */
  readonly role: "dialler" | "listener";
  /** The same as the other side's. */
  readonly codec: Codec;
  /** What the other side may call. */
  readonly serves: Served | null;
  /** What `client` calls. */
  readonly calls: Calls | null;
  /** What the handshake showed of the other side. */
  readonly peer: PeerInfo;
  /** What this side told in its hello, and what it keeps to itself. */
  readonly limits: Limits;
  /** What the other side told. */
  readonly told: ToldLimits;
  /** The clock. */
  readonly timers: Timers;
  /** See `FrameWriterOptions.blockBytes`. */
  readonly blockBytes?: number | undefined;
  /** Called with what a program may want to log. */
  readonly onEvent?: ((event: PeerEvent) => void) | undefined;
}

/** One end of an RPC connection. */
export class Peer<Calls extends Contract = Contract> {
  /** The other side's methods. An object without prototype; empty where `calls` was null. */
  readonly client: Client<Calls>;
  /** Resolves, once, when the connection is gone and all that waited for it was told; never rejects. */
  readonly closed: Promise<ConnectionError>;
  /** Who is at the other end. */
  readonly info: PeerInfo;
  readonly #connection: Connection;
  readonly #timers: Timers;
  readonly #reader: FrameReader;
  readonly #outbox: Outbox;
  readonly #session: Session<Calls>;
  readonly #readEnded: Promise<void>;
  #ended: ConnectionError | null = null;
  #resolveClosed: (error: ConnectionError) => void = () => {};

  /**
   * Begins to read and write.
   *
   * @throws {TypeError} if the handlers were promised other methods of the other side than `calls`
   */
  constructor(options: PeerOptions<Calls>) {
    const { connection, role, codec, serves, calls, peer, limits, told, timers, blockBytes, onEvent } =
      options;
    requireSameCalls(serves, calls);
    this.info = peer;
    this.#connection = connection;
    this.#timers = timers;
    this.#reader = new FrameReader({ maxBodyBytes: limits.maxBodyBytes });
    this.#outbox = new Outbox(
      connection,
      new FrameWriter({ maxBodyBytes: told.maxBodyBytes, blockBytes }),
      limits.maxQueuedBytes,
      (error) => this.#end(lost(error), "silently"),
    );
    this.#session = new Session({
      role,
      codec,
      serves,
      calls,
      peer,
      limits,
      told,
      timers,
      sink: this.#outbox,
      hold: () => this.#reader.hold(),
      handlerFailed: (method, error) => {
        // Later, so that a listener that throws does not disturb the call.
        queueMicrotask(() => onEvent?.({ kind: "handler_failed", method, error }));
      },
      close: (error) => this.#end(error, "telling"),
    });
    this.client = this.#session.client;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#readEnded = this.#read();
  }

  /** Whether calls can begin: neither side drains, and the connection is there. */
  get isAccepting(): boolean {
    return this.#session.isAccepting;
  }

  /**
   * Begins no more calls and takes no more, lets what is open finish within limits.drainTimeoutMs, then closes.
   * Resolves when the connection is closed.
   */
  async drain(): Promise<void> {
    this.#session.drain();
    await this.closed;
  }

  /**
   * Gives everything up and closes, after telling the other side why. Does nothing the second time.
   *
   * @param message for the other side, at most 256 bytes of it
   */
  close(reason: CloseReason = "normal", message: string = "closed by the program"): void {
    this.#end(new ConnectionError(reason, "here", message), "telling");
  }

  /**
   * Asks whether the other side lives.
   *
   * @param timeoutMs how long to wait; without it limits.keepAliveTimeoutMs
   * @returns milliseconds there and back
   * @throws {RpcError} "deadline_exceeded" if no answer comes in time, "disconnected" if the connection goes
   */
  ping(timeoutMs?: number): Promise<number> {
    return this.#session.ping(timeoutMs);
  }

  /** What is open now. */
  counts(): PeerCounts {
    return this.#session.counts();
  }

  /** The same as `drain`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** Reads until the other side writes no more; what comes after the end of the session is read to nowhere. */
  async #read(): Promise<void> {
    try {
      for (;;) {
        const bytes = await this.#connection.read(this.#reader.space());
        if (bytes === null) {
          break;
        }
        if (this.#ended === null) {
          this.#reader.filled(bytes);
          this.#session.heard();
          this.#takeFrames();
        }
      }
    } catch (error) {
      this.#end(...endingOf(error));
    }
    this.#end(lost(), "silently");
  }

  #takeFrames(): void {
    try {
      for (let frame = this.#reader.next(); frame !== null; frame = this.#reader.next()) {
        const close = this.#session.receive(frame);
        if (close !== null) {
          this.#end(close, "silently");
        }
        if (this.#ended !== null) {
          return;
        }
      }
    } catch (error) {
      this.#end(...endingOf(error));
    }
  }

  #end(error: ConnectionError, how: Goodbye): void {
    if (this.#ended !== null) {
      return;
    }
    this.#ended = error;
    if (how === "telling") {
      const { value, body } = encodeClose(error.reason, error.message);
      this.#outbox.add(FRAME_KINDS.close, 0, 0, value, body);
    }
    // Before anyone is told: what they do then must not get behind the last frame.
    const flushed = this.#outbox.finish();
    this.#session.end(error);
    void this.#hangUp(error, how === "telling" ? flushed : null);
  }

  async #hangUp(error: ConnectionError, flushed: Promise<void> | null): Promise<void> {
    if (flushed !== null) {
      await this.#linger(flushed);
    }
    this.#connection.close();
    this.#outbox.stop();
    this.#resolveClosed(error);
  }

  /**
   * Lets the other side read why before the connection is cut: a socket that is closed with unread bytes in it may
   * take back what was written last. So this side reads on until the other hangs up, or the time for it is over.
   */
  #linger(flushed: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const callOff = this.#timers.after(LINGER_MS, resolve);
      const done = (): void => {
        callOff();
        resolve();
      };
      flushed.then(() => this.#connection.closeWrite()).then(() => this.#readEnded).then(done, done);
    });
  }
}

type Goodbye = "telling" | "silently";

function lost(cause?: unknown): ConnectionError {
  return new ConnectionError("lost", "there", "the connection has gone without a word", { cause });
}

/** What an error that was thrown while reading means for the connection. */
function endingOf(error: unknown): [ConnectionError, Goodbye] {
  if (error instanceof ConnectionError) {
    return [error, "telling"];
  }
  if (error instanceof FrameError) {
    return [new ConnectionError(error.reason, "here", error.message, { cause: error }), "telling"];
  }
  if (error instanceof TransportError) {
    return error.code === "tampered"
      ? [new ConnectionError("tampered", "here", error.message, { cause: error }), "telling"]
      : [lost(error), "silently"];
  }
  return [new ConnectionError("internal", "here", "this side failed", { cause: error }), "telling"];
}
