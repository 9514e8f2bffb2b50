/**
 * Takes connections in. The loop that accepts never waits for a handshake: each runs on its own, within its time, and
 * when too many are unfinished the oldest goes. An honest handshake takes milliseconds, so the oldest is the one that
 * says nothing; refusing the newest instead would let a few silent clients keep everybody out.
 *
 *   accept -> handshake -> proof checked -> a place asked for -> accept frame -> peer
 */
import type { Connection, Listener } from "../transport/transport.ts";
import type { PeerInfo } from "./contract.ts";
import type { HandshakeResult, RefusalReason } from "./handshake.ts";
import type { NodeEventListener } from "./node_event.ts";
import type { Peer } from "./peer.ts";
import type { Place, Places } from "./places.ts";
import type { Timers } from "./timers.ts";

/** Handshakes that may be unfinished at once. */
export const MAX_UNFINISHED_HANDSHAKES = 128;
/** Peers that have proved themselves and wait for a place, beyond which more are refused. */
const MAX_WAITING_FOR_PLACE = 128;
/** Between attempts to accept while that fails, for want of file descriptors for example. */
const ACCEPT_RETRY_MS = 200;

/** What an acceptor works with. */
export interface AcceptorParts {
  readonly listener: Listener;
  readonly places: Places;
  readonly timers: Timers;
  readonly report: NodeEventListener;
  /** Shakes hands as the listening side. */
  readonly shake: (
    connection: Connection,
    admit: (peer: PeerInfo) => Promise<RefusalReason | null>,
    signal: AbortSignal,
  ) => Promise<HandshakeResult>;
  /** Makes a peer of a connection that was accepted. */
  readonly open: (shaken: HandshakeResult) => Peer;
}

/** The listening side of a node. */
export class Acceptor {
  readonly #parts: AcceptorParts;
  /** Oldest first; those that wait for a place are not among them. */
  readonly #unfinished = new Set<AbortController>();
  readonly #waiting = new Set<AbortController>();
  readonly #peers = new Set<Peer>();
  readonly #loop: Promise<void>;
  #isClosed = false;
  #wakeLoop = (): void => {};

  /** Begins to accept. */
  constructor(parts: AcceptorParts) {
    this.#parts = parts;
    this.#loop = this.#accept();
  }

  /** Everybody connected. */
  get peers(): readonly Peer[] {
    return [...this.#peers];
  }

  /** How many handshakes are under way. */
  get unfinishedHandshakes(): number {
    return this.#unfinished.size + this.#waiting.size;
  }

  /** Stops accepting, gives unfinished handshakes up, and lets the open calls of those connected finish. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#parts.listener.close();
    this.#wakeLoop();
    for (const each of [...this.#unfinished, ...this.#waiting]) each.abort();
    await this.#loop;
    await Promise.all(this.peers.map((peer) => peer.drain()));
  }

  async #accept(): Promise<void> {
    const { listener, report } = this.#parts;
    while (!this.#isClosed) {
      try {
        const connection = await listener.accept();
        if (connection === null) return;
        this.#begin(connection);
      } catch (error) {
        if (this.#isClosed) return;
        report({ kind: "problem", error });
        await this.#pause();
      }
    }
  }

  async #pause(): Promise<void> {
    await new Promise<void>((resolve) => {
      const callOff = this.#parts.timers.after(ACCEPT_RETRY_MS, resolve);
      this.#wakeLoop = (): void => {
        callOff();
        resolve();
      };
    });
    this.#wakeLoop = (): void => {};
  }

  #begin(connection: Connection): void {
    if (this.#isClosed) {
      connection.close();
      return;
    }
    if (this.#unfinished.size >= MAX_UNFINISHED_HANDSHAKES) {
      const [oldest] = this.#unfinished;
      if (oldest !== undefined) {
        this.#unfinished.delete(oldest);
        oldest.abort();
      }
    }
    const controller = new AbortController();
    this.#unfinished.add(controller);
    void this.#welcome(connection, controller).finally(() => {
      this.#unfinished.delete(controller);
      this.#waiting.delete(controller);
    });
  }

  async #welcome(connection: Connection, controller: AbortController): Promise<void> {
    const { shake, open, places, report } = this.#parts;
    let place: Place | null = null;
    const admit = async (): Promise<RefusalReason | null> => {
      if (this.#waiting.size >= MAX_WAITING_FOR_PLACE) return "too_many_connections";
      this.#unfinished.delete(controller);
      this.#waiting.add(controller);
      const answer = await places.ask();
      if (typeof answer === "string") return answer;
      // The handshake may have run out of time while a place was asked for: nobody would give it back.
      if (isOver) answer.giveBack();
      else place = answer;
      return null;
    };
    let isOver = false;
    try {
      const shaken = await shake(connection, admit, controller.signal);
      const granted = place as Place | null;
      if (granted === null) {
        throw new Error("cannot take a connection: its handshake did not ask for a place");
      }
      const peer = open(shaken);
      granted.occupy(peer);
      this.#take(peer);
    } catch (error) {
      isOver = true;
      connection.close();
      (place as Place | null)?.giveBack();
      report({ kind: "refused", remoteAddress: connection.remoteAddress, error });
    }
  }

  #take(peer: Peer): void {
    const { report } = this.#parts;
    this.#peers.add(peer);
    report({ kind: "connected", by: "there", peer: peer.info });
    void peer.closed.then((error) => {
      this.#peers.delete(peer);
      report({ kind: "disconnected", peer: peer.info, error });
    });
    if (this.#isClosed) peer.close("normal");
  }
}
