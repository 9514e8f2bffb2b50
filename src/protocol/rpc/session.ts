/**
 * The deciding half of a peer: takes frames, keeps the books of all calls, queues frames. It reads and writes
 * nothing itself and has no clock of its own, so tests feed it frames and let time pass as they like.
 */
import { type Role } from "./call_ids.ts";
import { makeClient } from "./client.ts";
import type { Codec } from "./codec.ts";
import type { Client, Contract, PeerInfo } from "./contract.ts";
import { Deadlines } from "./deadlines.ts";
import { decodeClose } from "./error_body.ts";
import { ConnectionError, RpcError } from "./errors.ts";
import { type Frame, FRAME_KINDS } from "./frame.ts";
import type { FrameSink } from "./frame_sink.ts";
import type { HeldBody } from "./held_body.ts";
import type { Served } from "./implement.ts";
import { KeepAlive } from "./keep_alive.ts";
import type { Limits, ToldLimits } from "./limits.ts";
import { OurCalls } from "./our_calls.ts";
import { malformed } from "./session_ground.ts";
import { TheirCalls } from "./their_calls.ts";
import type { Timers } from "./timers.ts";

/** What a session is made of. */
export interface SessionOptions<Calls extends Contract> {
  readonly role: Role;
  readonly codec: Codec;
  readonly serves: Served | null;
  readonly calls: Calls | null;
  readonly peer: PeerInfo;
  readonly limits: Limits;
  readonly told: ToldLimits;
  readonly timers: Timers;
  readonly sink: FrameSink;
  /** Holds the body of the frame that `receive` is looking at. */
  readonly hold: () => HeldBody;
  readonly handlerFailed: (method: string, error: unknown) => void;
  /** The connection is to be closed, for a reason that no frame gave: silence, or the end of a drain. */
  readonly close: (error: ConnectionError) => void;
}

/** What is open on a peer; all zero when nothing is. */
export interface PeerCounts {
  /** Calls of ours that the other side has not ended yet, given up ones included. */
  readonly pending: number;
  /** Calls of ours that were not sent yet. */
  readonly waiting: number;
  /** Calls of the other side whose handler has not settled, or whose answer is not queued yet. */
  readonly handlers: number;
  /** Streams of items, both directions: sources that are not finished and readers that are not. */
  readonly streams: number;
  /** Deadlines that are watched. */
  readonly timers: number;
  /** Bytes of frames that are not written yet. */
  readonly queuedBytes: number;
}

/** The books of one connection. */
export class Session<Calls extends Contract> {
  /** The other side's methods. */
  readonly client: Client<Calls>;
  readonly #options: SessionOptions<Calls>;
  readonly #deadlines: Deadlines;
  readonly #keepAlive: KeepAlive;
  readonly #ours: OurCalls;
  readonly #theirs: TheirCalls;
  #isDraining = false;
  /** Whether the other side has seen that this one drains. */
  #isDrainKnown = false;
  #theyDrain = false;
  #ended: ConnectionError | null = null;
  #callOffDrain: (() => void) | null = null;

  /** Nothing open. */
  constructor(options: SessionOptions<Calls>) {
    const { role, codec, serves, calls, peer, limits, told, timers, sink, hold } = options;
    this.#options = options;
    this.#deadlines = new Deadlines(timers);
    const ground = {
      codec,
      sink,
      limits,
      told,
      timers,
      deadlines: this.#deadlines,
      hold,
      changed: () => this.#changed(),
    };
    this.#ours = new OurCalls(ground, role);
    this.client = makeClient(calls, this.#ours);
    this.#theirs = new TheirCalls(ground, {
      methods: serves?.methods ?? [],
      caller: role === "dialler" ? "listener" : "dialler",
      // What the handlers were promised is what is called: `openPeer` and `Peer` have compared them.
      context: { peer, client: this.client as Client<Contract>, monotonicMs: () => timers.monotonicMs() },
      handlerFailed: options.handlerFailed,
    });
    this.#keepAlive = new KeepAlive(timers, limits, {
      ping: (value) => void sink.add(FRAME_KINDS.ping, 0, 0, value, null),
      silent: () =>
        options.close(new ConnectionError("silent", "here", "the other side gave no sign of life")),
    });
  }

  /** Whether a call that is made now is begun: nobody is draining and the connection is there. */
  get isAccepting(): boolean {
    return !this.#isDraining && !this.#theyDrain && this.#ended === null;
  }

  /** Bytes have come. */
  heard(): void {
    this.#keepAlive.heard();
  }

  /**
   * Takes a frame.
   *
   * @returns what the other side closes with, if that is what the frame says; nothing follows it
   * @throws {ConnectionError | FrameError} if the frame is not allowed; the connection is to be closed then
   */
  receive(frame: Frame): ConnectionError | null {
    const ours = this.#ours, theirs = this.#theirs;
    switch (frame.kind) {
      case FRAME_KINDS.call:
        if (this.#theyDrain) {
          throw malformed("a call was begun after drain");
        }
        theirs.call(frame);
        return null;
      case FRAME_KINDS.reply:
        this.#requireOurs(frame).reply(frame);
        return null;
      case FRAME_KINDS.error:
        if (this.#isOurs(frame)) {
          ours.fail(frame);
        } else {
          theirs.failItems(frame);
        }
        return null;
      case FRAME_KINDS.item:
        (this.#isOurs(frame) ? ours : theirs).item(frame);
        return null;
      case FRAME_KINDS.end:
        (this.#isOurs(frame) ? ours : theirs).endItems(frame);
        return null;
      case FRAME_KINDS.credit:
        (this.#isOurs(frame) ? ours : theirs).credit(frame);
        return null;
      case FRAME_KINDS.stop:
        (this.#isOurs(frame) ? ours : theirs).stop(frame);
        return null;
      case FRAME_KINDS.cancel:
        if (this.#isOurs(frame)) {
          throw malformed("a call was cancelled by the side that handles it");
        }
        theirs.cancel(frame);
        return null;
      case FRAME_KINDS.ping:
        this.#options.sink.pong(frame.value);
        return null;
      case FRAME_KINDS.pong:
        if (!this.#keepAlive.pong(frame.value)) {
          throw malformed("a pong came for no ping");
        }
        return null;
      case FRAME_KINDS.drain:
        if (this.#theyDrain) {
          throw malformed("drain came twice");
        }
        this.#theyDrain = true;
        ours.refuse(new RpcError("unavailable", "the other side takes no more calls"));
        return null;
      case FRAME_KINDS.close:
        return decodeClose(frame.value, frame.body);
      default:
        throw malformed(`kind ${frame.kind} belongs to the handshake`);
    }
  }

  /**
   * Begins no more calls; when nothing is open, or at the end of the time for it, closes. Calls that the other side
   * sent before it knew are still served: the pong of a ping behind `drain` tells that there are no more of them.
   * Closing without that would leave their callers not knowing whether they ran.
   */
  drain(): void {
    if (this.#isDraining || this.#ended !== null) {
      return;
    }
    const { limits, timers, sink, close } = this.#options;
    this.#isDraining = true;
    sink.add(FRAME_KINDS.drain, 0, 0, 0, null);
    this.#ours.refuse(new RpcError("unavailable", "this side is closing"));
    this.#keepAlive.ping(limits.drainTimeoutMs).then(() => this.#drainKnown(), () => {});
    this.#callOffDrain = timers.after(
      limits.drainTimeoutMs,
      () => close(new ConnectionError("drain_timeout", "here", "open calls did not finish in time")),
    );
  }

  /** The connection has gone: everything open ends at once, and no timer stays. */
  end(error: ConnectionError): void {
    this.#ended = error;
    this.#callOffDrain?.();
    this.#keepAlive.stop(() =>
      new RpcError("disconnected", "the connection went before a pong came", { cause: error })
    );
    this.#ours.end(error);
    this.#theirs.end(new RpcError("disconnected", "the connection to the caller has gone", { cause: error }));
    this.#deadlines.clear();
  }

  /** See `Peer.ping`. */
  ping(timeoutMs: number = this.#options.limits.keepAliveTimeoutMs): Promise<number> {
    if (this.#ended !== null) {
      return Promise.reject(
        new RpcError("disconnected", "cannot ping: the connection is closed", { cause: this.#ended }),
      );
    }
    return this.#keepAlive.ping(timeoutMs);
  }

  /** What is open now. */
  counts(): PeerCounts {
    return {
      pending: this.#ours.size,
      waiting: this.#ours.waiting,
      handlers: this.#theirs.size,
      streams: this.#ours.streams + this.#theirs.streams,
      timers: this.#deadlines.size,
      queuedBytes: this.#options.sink.queuedBytes,
    };
  }

  /** Whether the frame is about a call of ours, open or long ended; if not, it is about one of theirs. */
  #isOurs(frame: Frame): boolean {
    if (this.#ours.knows(frame.id)) {
      return true;
    }
    if (this.#theirs.knows(frame.id)) {
      return false;
    }
    throw malformed(`no call ever had the id ${frame.id}`);
  }

  #requireOurs(frame: Frame): OurCalls {
    if (!this.#isOurs(frame)) {
      throw malformed("a call was answered by the side that made it");
    }
    return this.#ours;
  }

  #drainKnown(): void {
    this.#isDrainKnown = true;
    this.#theirs.refuse(new RpcError("unavailable", "no more calls are taken here"));
    this.#changed();
  }

  #changed(): void {
    if (this.#isDrainKnown && this.#ended === null && this.#ours.size === 0 && this.#theirs.size === 0) {
      this.#options.close(new ConnectionError("normal", "here", "everything was finished"));
    }
  }
}
