/** Two peers at the two ends of one connection, for tests. */
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Codec } from "../../../src/protocol/rpc/codec.ts";
import type { Contract, PeerInfo } from "../../../src/protocol/rpc/contract.ts";
import type { Served } from "../../../src/protocol/rpc/implement.ts";
import { jsonCodec } from "../../../src/protocol/rpc/json_codec.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../src/protocol/rpc/limits.ts";
import { Peer, type PeerEvent } from "../../../src/protocol/rpc/peer.ts";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";

/** Nobody in particular. */
export const STRANGER: PeerInfo = {
  transport: "memory",
  remoteAddress: null,
  authenticated: "none",
  executablePath: null,
};

/** What one of the two peers is made of. */
export interface Side<Calls extends Contract> {
  readonly serves?: Served;
  readonly calls?: Calls;
  readonly limits?: Partial<Limits>;
  readonly onEvent?: (event: PeerEvent) => void;
}

/** What both have. */
export interface PairOptions<A extends Contract, B extends Contract> {
  readonly dialler: Side<A>;
  readonly listener: Side<B>;
  readonly codec?: Codec;
  readonly timers?: Timers;
  /** The ends, the dialler's first. */
  readonly connections?: readonly [Connection, Connection];
}

/** Two peers that can call each other; disposing of them closes both. */
export interface PeerPair<A extends Contract, B extends Contract> extends AsyncDisposable {
  readonly dialler: Peer<A>;
  readonly listener: Peer<B>;
}

/** Makes two peers without a handshake. */
export function peerPair<A extends Contract, B extends Contract>(options: PairOptions<A, B>): PeerPair<A, B> {
  const [first, second] = options.connections ?? memoryPair();
  const limits = {
    dialler: { ...DEFAULT_LIMITS, ...options.dialler.limits },
    listener: { ...DEFAULT_LIMITS, ...options.listener.limits },
  };
  const common = {
    codec: options.codec ?? jsonCodec(),
    timers: options.timers ?? systemTimers,
    peer: STRANGER,
  };
  const dialler = new Peer({
    ...common,
    connection: first,
    role: "dialler",
    serves: options.dialler.serves ?? null,
    calls: options.dialler.calls ?? null,
    limits: limits.dialler,
    told: limits.listener,
    onEvent: options.dialler.onEvent,
  });
  const listener = new Peer({
    ...common,
    connection: second,
    role: "listener",
    serves: options.listener.serves ?? null,
    calls: options.listener.calls ?? null,
    limits: limits.listener,
    told: limits.dialler,
    onEvent: options.listener.onEvent,
  });
  return {
    dialler,
    listener,
    async [Symbol.asyncDispose](): Promise<void> {
      dialler.close();
      listener.close();
      await Promise.all([dialler.closed, listener.closed]);
    },
  };
}
