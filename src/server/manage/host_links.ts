/**
 * Which hosts are there. A host is its key, and a key has one link:
 *
 * ```
 *   proven --> is there a link with this key? -- no ---------------------> link
 *                       | yes: ping it          -- no answer in 3 s -----> the old one was a ghost: replaced
 *                       +------------------------- an answer ------------> newcomer refused: in_use
 *   link --- register, in time ---> online --- link gone ---> offline
 * ```
 */
import type { hostForServer, Pins, Registration } from "../../protocol/manage/control_contract.ts";
import type { ResetCode } from "../../protocol/manage/reset_code.ts";
import type { RunningLink } from "../../protocol/manage/running_link.ts";
import type { Peer } from "../../protocol/rpc/peer.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { GHOST_ANSWER_MS, HOST_ANSWER_MS } from "./config.ts";

/** The calls that a host serves. */
export type HostPeer = Peer<typeof hostForServer>;

/** What a link of a host is made of. */
export interface HostLinkParts {
  readonly key: Uint8Array<ArrayBuffer>;
  readonly name: string;
  /** IP address and port. */
  readonly address: string;
  /** 32 bytes: the host's nonce of this link. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  readonly link: RunningLink;
  /** Makes the peer of its control flow. */
  readonly serve: (host: HostLink) => HostPeer;
  readonly timers: Timers;
}

/** The link of one host. */
export class HostLink {
  readonly key: Uint8Array<ArrayBuffer>;
  /** The key as hexadecimal digits. */
  readonly keyHex: string;
  readonly name: string;
  readonly address: string;
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  readonly link: RunningLink;
  readonly peer: HostPeer;
  /** What it said of itself; null before it did, and until then it is not online. */
  registration: Registration | null = null;
  /** When it said so, by the wall clock. */
  onlineSinceMs = 0;
  /** Round trip; null while it is not known. */
  latencyMs: number | null = null;
  readonly #timers: Timers;
  #asking: Promise<boolean> | null = null;

  constructor(parts: HostLinkParts) {
    this.key = parts.key;
    this.keyHex = parts.key.toHex();
    this.name = parts.name;
    this.address = parts.address;
    this.linkNonce = parts.linkNonce;
    this.link = parts.link;
    this.#timers = parts.timers;
    this.peer = parts.serve(this);
  }

  /** Whether it may be asked for anything. */
  get isOnline(): boolean {
    return this.registration !== null && this.link.isOpen;
  }

  /** Whether somebody answers at its other end; asked once for all who want to know at the same time. */
  isAlive(): Promise<boolean> {
    if (!this.link.isOpen) return Promise.resolve(false);
    this.#asking ??= this.peer.client.ping(null, { deadlineMs: GHOST_ANSWER_MS })
      .then(() => true, () => false)
      .finally(() => this.#asking = null);
    return this.#asking;
  }

  /** Measures the latency; whether there is a figure now and was none before. */
  async measure(): Promise<boolean> {
    const beganMs = this.#timers.monotonicMs();
    try {
      await this.peer.client.ping(null, { deadlineMs: HOST_ANSWER_MS });
    } catch {
      // It may be overloaded; whether it is gone is for the heartbeat to say.
      return false;
    }
    const isFirst = this.latencyMs === null;
    this.latencyMs = Math.round((this.#timers.monotonicMs() - beganMs) * 10) / 10;
    return isFirst;
  }

  /** Hands it the certificates to believe; it answers by the call `pinned`. */
  async pin(pins: Pins): Promise<void> {
    try {
      await this.peer.client.pin(pins, { deadlineMs: HOST_ANSWER_MS });
    } catch {
      // Its next link asks again.
    }
  }

  /** Ends the link; the host is told why. */
  close(code: ResetCode, text: string): void {
    this.link.close(code, text);
  }
}

/** What came of a newcomer's wish for the link of a key. */
export type Claim =
  | { readonly kind: "free" }
  /** Another link has the key, and answers. */
  | { readonly kind: "held"; readonly holder: HostLink }
  /** A newer one with the same key came while it was looked. */
  | { readonly kind: "superseded" };

/** All links of hosts. */
export class HostLinks {
  readonly #byKey = new Map<string, HostLink>();
  /** The newest one that asks for a key. */
  readonly #claims = new Map<string, symbol>();

  /** The link of a key, registered or not. */
  get(keyHex: string): HostLink | undefined {
    return this.#byKey.get(keyHex);
  }

  /** The same if the host is online. */
  online(keyHex: string): HostLink | undefined {
    const link = this.#byKey.get(keyHex);
    return link?.isOnline ? link : undefined;
  }

  /** Each one. */
  all(): IterableIterator<HostLink> {
    return this.#byKey.values();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * Looks whether a newcomer may have the link of a key, and ends a ghost that has it. A cut connection is often known at
   * the host's end alone, so its next one is not the stranger here. Of several newcomers the newest one counts: the
   * others are attempts that the same host has given up.
   */
  async claim(keyHex: string): Promise<Claim> {
    const claim = Symbol();
    this.#claims.set(keyHex, claim);
    try {
      const holder = this.#byKey.get(keyHex);
      if (holder === undefined) return { kind: "free" };
      const isAlive = await holder.isAlive();
      if (this.#claims.get(keyHex) !== claim) return { kind: "superseded" };
      if (isAlive) return { kind: "held", holder };
      holder.close("replaced", "the server ends this link: a newer one with the same key took its place");
      return { kind: "free" };
    } finally {
      if (this.#claims.get(keyHex) === claim) this.#claims.delete(keyHex);
    }
  }

  /** A link stands. One of the same key that stood up meanwhile is ended. */
  add(host: HostLink): void {
    const other = this.#byKey.get(host.keyHex);
    this.#byKey.set(host.keyHex, host);
    other?.close("replaced", "the server ends this link: a newer one with the same key took its place");
  }

  /** It has ended; false if another one had taken its place before. */
  remove(host: HostLink): boolean {
    return this.#byKey.get(host.keyHex) === host && this.#byKey.delete(host.keyHex);
  }
}
