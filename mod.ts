/**
 * Postern as a library: make keys, build and open knock packets, send knocks; share files and receive them, encrypted
 * from end to end; and typed calls between programs over any transport (RPC).
 *
 * A knock is one encrypted 94-byte UDP datagram that asks a server to run a command it has configured. The server
 * never answers. Sending needs `--allow-net`, and `--unstable-net` (or `"unstable": ["net"]` in deno.json), because
 * the runtime's UDP sockets are still marked unstable.
 *
 * @example Knock
 * ```ts
 * import { sendKnock } from "@postern/postern";
 *
 * const key = await Deno.readTextFile("user.key");
 * const { destinations } = await sendKnock({ address: "host.example:34020", key, command: "open_ssh" });
 * console.log(destinations.filter((each) => each.error === null).length, "knocks sent");
 * ```
 *
 * @example Make a key, build a packet and open it again
 * ```ts
 * import { commandHash, decodePacket, encodePacket, generateKey, parseIp } from "@postern/postern";
 *
 * const key = generateKey();
 * const fields = {
 *   commandHash: commandHash("open_ssh"),
 *   counter: BigInt(Date.now()) * 1_000_000n,
 *   strict: true,
 *   sourceIp: null,
 *   destinationIp: parseIp("192.0.2.1"),
 * };
 * const packet = encodePacket(key, fields, crypto.getRandomValues(new Uint8Array(12)));
 * console.log(packet.length, decodePacket(key, packet).strict); // 94 true
 * ```
 *
 * @example Share a folder, and receive it where the code is known
 * ```ts
 * import { receive, share, tcp } from "@postern/postern";
 *
 * // A relay is started by `postern server relay`. It joins the two connections and can read nothing.
 * const relay = tcp("relay.example:8080");
 * const connect = (signal: AbortSignal) => relay.connect(undefined, { signal });
 *
 * await share({ paths: ["photos"] }, {
 *   connect,
 *   onEvent: (event) => event.event === "code" && console.log("the code is", event.code),
 * });
 *
 * // On another machine:
 * const received = await receive("481516-ocean-rabbit-velvet", { connect, folder: "inbox" });
 * if (received.kind === "files") console.log(received.paths); // [ "inbox/photos" ]
 * ```
 *
 * @example Serve typed calls, and call them
 * ```ts
 * import { call, contract, hmac, Node, stream, tcp } from "@postern/postern";
 *
 * const math = contract({
 *   add: call<{ a: number; b: number }, number>(),
 *   countTo: stream<number, number>(),
 * });
 * const handshake = hmac(crypto.getRandomValues(new Uint8Array(32)));
 *
 * await using server = await new Node({ handshake }).serve(math, tcp("127.0.0.1:0"), {
 *   add: ({ a, b }) => a + b,
 *   async *countTo(last) {
 *     for (let i = 1; i <= last; i++) yield i;
 *   },
 * }).start();
 *
 * await using client = await new Node({ handshake }).connect(math, tcp(server.addresses[0])).start();
 * console.log(await client.add({ a: 1, b: 2 }), await Array.fromAsync(client.countTo(3))); // 3 [ 1, 2, 3 ]
 * ```
 *
 * @example Find a service by its name, whichever program starts first
 * ```ts
 * import { call, contract, memory, memoryDiscovery, Node } from "@postern/postern";
 *
 * const greeting = contract({ greet: call<string, string>() });
 * const discovery = memoryDiscovery(); // without it: this user's folder of services, on Windows the registry
 *
 * const looking = new Node({ discovery }).connect(greeting, memory()).waitFor("GREETING").start();
 * await using server = await new Node({ discovery })
 *   .serve(greeting, memory(), { greet: (name) => `hello ${name}` })
 *   .publish("GREETING").oneToOne().start();
 *
 * await using client = await looking;
 * console.log(await client.greet("you"), server.peers.length); // hello you 1
 * ```
 *
 * @module
 */
export { AddressError, type IpAddress, parseIp } from "./src/protocol/knock/address.ts";
export { commandHash } from "./src/protocol/knock/command_hash.ts";
export { formatKey, generateKey, type Key, KeyError, parseKey } from "./src/protocol/knock/key.ts";
export {
  decodePacket,
  encodePacket,
  type KnockFields,
  PacketError,
  type PacketRefusal,
} from "./src/protocol/knock/packet.ts";
export {
  sendKnock,
  type SendKnockOptions,
  type SendReport,
  type SentKnock,
} from "./src/client/knock/send.ts";
export { share, type ShareOptions, type ShareWhat } from "./src/client/transfer/share.ts";
export { receive, type ReceiveOptions, type ReceiveResult } from "./src/client/transfer/receive.ts";
export type { TransferOptions } from "./src/client/transfer/transfer_options.ts";
export { TransferError, type TransferErrorCode, type TransferSide } from "./src/protocol/transfer/errors.ts";
export type { OnTransferEvent, TransferEvent } from "./src/protocol/transfer/events.ts";
export {
  DEFAULT_GRACE_MS as DEFAULT_TRANSFER_GRACE_MS,
  DEFAULT_LIMITS as DEFAULT_TRANSFER_LIMITS,
  DEFAULT_WAIT_MS as DEFAULT_TRANSFER_WAIT_MS,
  type TransferLimits,
} from "./src/protocol/transfer/limits.ts";
export type { Offer, OfferEntry } from "./src/protocol/transfer/offer.ts";
export { Failure, UsageFailure } from "./src/system/failure.ts";

export * from "./src/protocol/rpc/browser.ts";
export { Node } from "./src/rpc/node.ts";
export { folderDiscovery, type FolderDiscoveryOptions } from "./src/rpc/discovery_folder.ts";
export { registryDiscovery, type RegistryDiscoveryOptions } from "./src/rpc/discovery_registry.ts";
export type { ProcessView, RunningImage, SocketEnds } from "./src/rpc/peer_process.ts";
export { signedProcess, type SignedProcessOptions } from "./src/rpc/signed_process.ts";
export { tcp } from "./src/protocol/transport/tcp.ts";
export { tls, type TlsOptions } from "./src/protocol/transport/tls.ts";
export { unix, type UnixOptions } from "./src/protocol/transport/unix.ts";
export {
  vsock,
  type VsockPlace,
  type VsockSocket,
  type VsockSystem,
} from "./src/protocol/transport/vsock.ts";
export type { ListeningSocket } from "./src/protocol/transport/socket_listener.ts";
export { childStdio, type ChildStdioOptions, stdio } from "./src/protocol/transport/stdio.ts";
export { mmapRing, type MmapRingOptions } from "./src/protocol/transport/ring/mmap.ts";
