/** A peer from a fresh connection: the handshake, then the peer. What browsers and small programs use. */
import type { Connection } from "../transport/transport.ts";
import type { Codec } from "./codec.ts";
import type { Contract, PeerInfo } from "./contract.ts";
import { type HandshakePolicy, noHandshake } from "./handshake_policy.ts";
import { type RefusalReason, shakeHands } from "./handshake.ts";
import { requireSameCalls, type Served } from "./implement.ts";
import { jsonCodec } from "./json_codec.ts";
import { completeLimits, type Limits } from "./limits.ts";
import { Peer, type PeerEvent } from "./peer.ts";
import { type RandomBytes, systemRandomBytes, systemTimers, type Timers } from "./timers.ts";

/** What `openPeer` wants to know. */
export interface OpenPeerOptions<Calls extends Contract = Contract> {
  /** Fresh: nothing read from it or written to it. The peer owns it from now on. */
  readonly connection: Connection;
  /** "dialler" for the side that connected, "listener" for the one that accepted. */
  readonly role: "dialler" | "listener";
  /** What both sides demand of each other. @default noHandshake() */
  readonly handshake?: HandshakePolicy;
  /** The same on both sides. @default jsonCodec() */
  readonly codec?: Codec;
  /** What the other side may call. */
  readonly serves?: Served | undefined;
  /** What `client` calls. */
  readonly calls?: Calls | undefined;
  /** Name of the service; empty at the dialler: any. @default "" */
  readonly service?: string;
  /** Those that are not named are the default ones. */
  readonly limits?: Partial<Limits>;
  /** The clock. @default that of the runtime */
  readonly timers?: Timers;
  /** Where nonces come from. @default the generator of the runtime */
  readonly randomBytes?: RandomBytes;
  /** Gives up while hands are shaken; later it does nothing. */
  readonly signal?: AbortSignal | undefined;
  /** Asked by a listener once the other side has proved what the policy demands; null to accept. */
  readonly admit?: (peer: PeerInfo) => Promise<RefusalReason | null>;
  /** Called with what a program may want to log. */
  readonly onEvent?: (event: PeerEvent) => void;
}

/**
 * Shakes hands over a connection and opens a peer on it.
 *
 * @throws {ConnectionError} if the handshake fails; the connection is closed then
 * @throws {TypeError} if the options make no peer; likewise
 */
export async function openPeer<Calls extends Contract = Contract>(
  options: OpenPeerOptions<Calls>,
): Promise<Peer<Calls>> {
  try {
    return await shakenPeer(options);
  } catch (error) {
    options.connection.close();
    throw error;
  }
}

async function shakenPeer<Calls extends Contract>(options: OpenPeerOptions<Calls>): Promise<Peer<Calls>> {
  const { role, codec = jsonCodec(), timers = systemTimers, onEvent } = options;
  const limits = completeLimits(options.limits);
  const serves = options.serves ?? null, calls = options.calls ?? null;
  requireSameCalls(serves, calls);
  const { connection, peer, told } = await shakeHands({
    connection: options.connection,
    role,
    policy: options.handshake ?? noHandshake(),
    service: options.service ?? "",
    serves: serves?.contract ?? null,
    calls,
    codecId: codec.id,
    limits,
    timers,
    randomBytes: options.randomBytes ?? systemRandomBytes,
    signal: options.signal,
    admit: options.admit,
  });
  return new Peer({ connection, role, codec, serves, calls, peer, limits, told, timers, onEvent });
}
