/**
 * What the listener of an mmap ring says first on the socket, and all it says there but for bells. Big-endian.
 *
 *   | "PSTRNMAP" | version u32 | pid u32 | descriptor u32 | ring bytes u32 | token 16 |
 *
 * The token stands at the beginning of the memory as well. It is no secret of the two: it shows that the memory is the
 * one meant. A PID of another PID namespace may be that of a like process here, with like numbers of files.
 */
import { TransportError } from "../transport.ts";
import { isRingBytes } from "./ring.ts";

const MAGIC = new TextEncoder().encode("PSTRNMAP");
const VERSION = 1;
const VERSION_AT = MAGIC.length,
  PID_AT = VERSION_AT + 4,
  DESCRIPTOR_AT = PID_AT + 4,
  RING_BYTES_AT = DESCRIPTOR_AT + 4,
  TOKEN_AT = RING_BYTES_AT + 4;
/** Length of the token. */
export const TOKEN_BYTES = 16;
/** Length of the hello. */
export const MMAP_HELLO_BYTES = TOKEN_AT + TOKEN_BYTES;

/** Where the memory is. */
export interface MmapHello {
  readonly pid: number;
  readonly descriptor: number;
  readonly ringBytes: number;
  /** 16 random bytes. */
  readonly token: Uint8Array<ArrayBuffer>;
}

/** Writes it. */
export function encodeMmapHello(hello: MmapHello): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MMAP_HELLO_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  view.setUint32(VERSION_AT, VERSION);
  view.setUint32(PID_AT, hello.pid);
  view.setUint32(DESCRIPTOR_AT, hello.descriptor);
  view.setUint32(RING_BYTES_AT, hello.ringBytes);
  bytes.set(hello.token, TOKEN_AT);
  return bytes;
}

/**
 * Reads it.
 *
 * @throws {TransportError} "refused" if it is none, or of another version
 */
export function decodeMmapHello(bytes: Uint8Array<ArrayBuffer>): MmapHello {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length !== MMAP_HELLO_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) {
    throw refused("the socket belongs to something else");
  }
  const version = view.getUint32(VERSION_AT);
  if (version !== VERSION) {
    throw refused(`the other process speaks version ${version}, this one ${VERSION}`);
  }
  const ringBytes = view.getUint32(RING_BYTES_AT);
  if (!isRingBytes(ringBytes)) throw refused(`no ring has ${ringBytes} bytes`);
  return {
    pid: view.getUint32(PID_AT),
    descriptor: view.getUint32(DESCRIPTOR_AT),
    ringBytes,
    token: bytes.slice(TOKEN_AT),
  };
}

function refused(found: string): TransportError {
  return new TransportError("refused", `cannot share memory with the other process: ${found}`);
}
