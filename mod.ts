/**
 * Postern as a library: make keys, build and open knock packets, send knocks.
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
export { Failure, UsageFailure } from "./src/system/failure.ts";
