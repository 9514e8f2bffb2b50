/** What a node was told to do, checked, with every default filled in. */
import type { Transport } from "../transport/transport.ts";
import type { Codec } from "./codec.ts";
import type { Contract } from "./contract.ts";
import type { Discovery } from "./discovery/discovery.ts";
import type { HandshakePolicy } from "./handshake_policy.ts";
import type { Served } from "./implement.ts";
import type { Limits } from "./limits.ts";
import type { NodeEventListener } from "./node_event.ts";
import type { RandomBytes, Timers } from "./timers.ts";

/** What is served. */
export interface ServePlan {
  readonly transport: Transport;
  readonly serves: Served;
  readonly calls: Contract | null;
}

/** What is connected to. */
export interface ConnectPlan {
  readonly transport: Transport;
  readonly contract: Contract;
  readonly serves: Served | null;
  /** How long the first connection is tried, where nobody is waited for by name. */
  readonly timeoutMs: number;
}

/** All of it. */
export interface NodePlan {
  readonly serve: ServePlan | null;
  readonly connect: ConnectPlan | null;
  readonly publish: { readonly name: string; readonly addresses: readonly string[] | null } | null;
  readonly waitFor: { readonly name: string; readonly timeoutMs: number } | null;
  readonly places: { readonly kind: "one" } | { readonly kind: "many"; readonly maxConnections: number };
  readonly handshake: HandshakePolicy;
  readonly codec: Codec;
  readonly limits: Limits;
  readonly service: string;
  readonly discovery: Discovery | null;
  readonly timers: Timers;
  readonly randomBytes: RandomBytes;
  readonly onEvent: NodeEventListener | undefined;
}
