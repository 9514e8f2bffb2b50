/**
 * SOCKS version 5 as a proxy speaks it (RFC 1928), without authentication, for connections only:
 *
 *   client -> 05 | count u8 | methods           which ways to authenticate it knows
 *          <- 05 00                             none is wanted; 05 FF and the end if it insists on one
 *   client -> 05 | 01 connect | 00 | 01 IPv4 4 / 03 length u8, name / 04 IPv6 16 | port u16 BE
 *          <- 05 | reply u8 | 00 | 01 | 0.0.0.0 | 0
 *   then the bytes of the connection, both ways
 *
 * Whoever can open a local port can speak here. So what is read before the reply is bounded by these fields, byte by
 * byte: what a client sends too early stays in the socket. Time is bounded by the caller, who closes the socket.
 */
import { parseHostPort, type Target } from "../../protocol/manage/target_pattern.ts";

/** What the reply says (RFC 1928, section 6). */
export const SOCKS_REPLIES = {
  succeeded: 0x00,
  general_failure: 0x01,
  not_allowed: 0x02,
  network_unreachable: 0x03,
  host_unreachable: 0x04,
  connection_refused: 0x05,
  command_not_supported: 0x07,
  address_type_not_supported: 0x08,
} as const;

/** Why a connection was not made, or that it was. */
export type SocksReply = keyof typeof SOCKS_REPLIES;

/** What is needed of the socket. */
export interface SocksSocket {
  /** Null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
}

/** A client speaks something else, or wants what is not offered; it has had the answer that it can be given. */
export class SocksError extends Error {
  /** Makes one; the message has nothing in it that the client chose. */
  constructor(message: string) {
    super(message);
    this.name = "SocksError";
  }
}

const VERSION = 5;
const NO_AUTHENTICATION = 0x00;
const NO_ACCEPTABLE_METHOD = 0xff;
const CONNECT = 0x01;
const ADDRESS_V4 = 0x01;
const ADDRESS_NAME = 0x03;
const ADDRESS_V6 = 0x04;
const V4_BYTES = 4;
const V6_BYTES = 16;
const PORT_BYTES = 2;
/**
 * Reads where a client wants to go. The reply is the caller's to give, by `replySocks`.
 *
 * @throws {SocksError} if it speaks something else or asks for what is not offered; it was answered so far as it can
 * be, and the socket is to be closed
 */
export async function readSocksRequest(socket: SocksSocket): Promise<Target> {
  await agreeOnMethod(socket);
  const [version = 0, command = 0, , type = 0] = await exactly(socket, 4);
  requireVersion(version);
  if (command !== CONNECT) {
    await replySocks(socket, "command_not_supported");
    throw new SocksError(
      `cannot serve a SOCKS client: it asks for command ${command}, served is 1 (connect)`,
    );
  }
  const host = await readHost(socket, type);
  const [high = 0, low = 0] = await exactly(socket, PORT_BYTES);
  const target = parseHostPort(`${host.includes(":") ? `[${host}]` : host}:${high * 0x100 + low}`);
  if (target === null) {
    await replySocks(socket, "host_unreachable");
    throw new SocksError("cannot serve a SOCKS client: what it asks for is no name or address with a port");
  }
  return target;
}

/** Answers a request. */
export async function replySocks(socket: SocksSocket, reply: SocksReply): Promise<void> {
  await writeAll(
    socket,
    Uint8Array.of(VERSION, SOCKS_REPLIES[reply], 0, ADDRESS_V4, ...new Array(V4_BYTES + PORT_BYTES).fill(0)),
  );
}

async function agreeOnMethod(socket: SocksSocket): Promise<void> {
  const [version = 0, count = 0] = await exactly(socket, 2);
  requireVersion(version);
  const methods = await exactly(socket, count);
  if (!methods.includes(NO_AUTHENTICATION)) {
    await writeAll(socket, Uint8Array.of(VERSION, NO_ACCEPTABLE_METHOD));
    throw new SocksError("cannot serve a SOCKS client: it insists on authentication, and none is offered");
  }
  await writeAll(socket, Uint8Array.of(VERSION, NO_AUTHENTICATION));
}

async function readHost(socket: SocksSocket, type: number): Promise<string> {
  if (type === ADDRESS_V4) return (await exactly(socket, V4_BYTES)).join(".");
  if (type === ADDRESS_V6) return groupsOf(await exactly(socket, V6_BYTES));
  if (type === ADDRESS_NAME) {
    const [length = 0] = await exactly(socket, 1);
    return String.fromCharCode(...await exactly(socket, length));
  }
  await replySocks(socket, "address_type_not_supported");
  throw new SocksError(
    `cannot serve a SOCKS client: it asks for address type ${type}, served are 1, 3 and 4`,
  );
}

function groupsOf(bytes: Uint8Array): string {
  return (bytes.toHex().match(/.{4}/g) ?? []).join(":");
}

function requireVersion(version: number): void {
  if (version === VERSION) return;
  // To be silent is all one can do: other protocols have other errors.
  throw new SocksError(
    `cannot serve a client: its first byte is ${version}, expected is 5, as SOCKS version 5 has it`,
  );
}

async function exactly(socket: SocksSocket, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count);
  for (let length = 0; length < count;) {
    const read = await socket.read(bytes.subarray(length));
    if (read === null) {
      throw new SocksError("cannot serve a SOCKS client: it left before it had asked for anything");
    }
    length += read;
  }
  return bytes;
}

async function writeAll(socket: SocksSocket, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await socket.write(rest));
}
