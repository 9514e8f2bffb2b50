/**
 * RPC for any runtime: nothing here, or in what it imports at once, asks for Deno. A page imports it as
 * `@postern/postern/browser`; `@postern/postern` has all of it too, and besides it what needs the machine.
 *
 * @example A page that calls its server, and can be called by it
 * ```ts
 * import { call, contract, implement, NodeBuilder, webSocket } from "@postern/postern/browser";
 *
 * const math = contract({ add: call<{ a: number; b: number }, number>() });
 * const page = contract({ title: call<null, string>() });
 *
 * const client = await new NodeBuilder()
 *   .connect(math, webSocket("ws://127.0.0.1:1337/"), { serves: implement(page, { title: () => "a page" }) })
 *   .start();
 * console.log(await client.add({ a: 1, b: 2 }));
 * ```
 *
 * @module
 */
export {
  call,
  type CallContext,
  type Caller,
  type CallOptions,
  type Client,
  type Contract,
  contract,
  type ContractOptions,
  duplex,
  type Handler,
  type Handlers,
  type Items,
  type Method,
  type Methods,
  type MethodSchemas,
  type PeerInfo,
  type Schema,
  type SchemaIssue,
  type SchemaResult,
  type Shape,
  stream,
  upload,
} from "./contract.ts";
export {
  ApplicationError,
  CALL_ERROR_NUMBERS,
  type CallErrorCode,
  CLOSE_REASON_NUMBERS,
  type CloseReason,
  ConnectionError,
  RpcError,
} from "./errors.ts";
export { type Codec, CodecError, type EncodedBody } from "./codec.ts";
export { jsonCodec } from "./json_codec.ts";
export { messagePackCodec } from "./messagepack_codec.ts";
export { viewCodec, type ViewValue } from "./view_codec.ts";
export { giveBack } from "./give_back.ts";
export type { FieldValue } from "./view_reader.ts";
export type { TypedArray } from "./view_format.ts";
export { DEFAULT_LIMITS, type Limits, type ToldLimits } from "./limits.ts";
export { type RandomBytes, systemRandomBytes, systemTimers, type Timers } from "./timers.ts";

export {
  asSignedProcess,
  type HandshakeMode,
  type HandshakeOptions,
  type HandshakePolicy,
  noHandshake,
  versionOnly,
} from "./handshake_policy.ts";
export { hmac } from "./hmac_handshake.ts";
export type { SharedSecret } from "./shared_secret.ts";
export type { Role } from "./hello.ts";
export type { RecordKeys } from "../record/sealed_connection.ts";
export { PeerRefusal, type PeerVerifier, type VerifiedProcess } from "./peer_verifier.ts";
export type { RefusalReason } from "./handshake.ts";

export { implement, type Served, type ServedMethod } from "./implement.ts";
export { Peer, type PeerCounts, type PeerEvent, type PeerOptions } from "./peer.ts";
export { openPeer, type OpenPeerOptions } from "./open_peer.ts";
export {
  type ConnectedClient,
  type ConnectToOptions,
  NodeBuilder,
  type NodeOptions,
  type OneToManyOptions,
  type PublishOptions,
  running,
  type ServeOptions,
  type Started,
  type StartOptions,
  type WaitForOptions,
} from "./node.ts";
export type { NodeEvent, NodeEventListener } from "./node_event.ts";
export type { RunningNode } from "./running_node.ts";

export {
  type Discovery,
  type DiscoveryOptions,
  discoveryOver,
  type Publication,
  type Registration,
  type WaitOptions,
} from "./discovery/discovery.ts";
export { memoryDiscovery } from "./discovery/memory_store.ts";
export type { ServiceRecord } from "./discovery/record.ts";
export {
  DiscoveryError,
  type DiscoveryErrorCode,
  type RecordKey,
  type RecordStore,
  type StoredRecord,
} from "./discovery/record_store.ts";

export {
  type Connection,
  type ConnectOptions,
  type Listener,
  type Transport,
  TransportError,
  type TransportErrorCode,
} from "../transport/transport.ts";
export { memory, memoryPair } from "../transport/memory.ts";
export { type BasePort, messagePort, type MessagePortOptions } from "../transport/message_port.ts";
export { webSocket, type WebSocketOptions, type WebSocketTls } from "../transport/web_socket.ts";
export { connectionFromSocket, type SocketFacts, type StreamSocket } from "../transport/socket_connection.ts";
export { connectionFromStreams, type ConnectionStreams } from "../transport/streams.ts";
export { workerRing, type WorkerRingOptions } from "../transport/ring/worker_ring.ts";
export {
  type ConformanceCase,
  ConformanceError,
  type ConformanceOptions,
  listenerConformance,
  type OpenPair,
  pairsOf,
  transportConformance,
} from "../transport/conformance.ts";
