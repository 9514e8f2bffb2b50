/**
 * The hello: first frame of each side, and all that is compared before a connection is used. Big-endian, of one
 * length, with one accepted spelling; see docs/wire-formats.md.
 *
 *   | magic 8 | version u8 | mode u8 | role u8 | confidential u8 | told limits 3 x u32 | codec id 16 |
 *   | hash of the contract served 32 | hash of the contract called 32 | service 64 | application version 64 | nonce 32 |
 *
 * Texts end in zeros up to the length of their field. A hash of zeros: there is no contract.
 */
import type { HandshakeMode } from "./handshake_policy.ts";
import type { ToldLimits } from "./limits.ts";
import { HandshakeRefusal, malformed } from "./handshake_frame.ts";

const MAGIC = new TextEncoder().encode("PSTRNRPC");
/** The version of the protocol, handshake, frames and sealing together. */
export const PROTOCOL_VERSION = 1;

const BYTE = 1,
  U32_BYTES = 4,
  CODEC_ID_BYTES = 16,
  HASH_BYTES = 32,
  TEXT_BYTES = 64;
/** Length of a nonce. */
export const NONCE_BYTES = 32;

const VERSION_AT = MAGIC.length,
  MODE_AT = VERSION_AT + BYTE,
  ROLE_AT = MODE_AT + BYTE,
  CONFIDENTIAL_AT = ROLE_AT + BYTE,
  MAX_BODY_AT = CONFIDENTIAL_AT + BYTE,
  MAX_CALLS_AT = MAX_BODY_AT + U32_BYTES,
  WINDOW_AT = MAX_CALLS_AT + U32_BYTES,
  CODEC_ID_AT = WINDOW_AT + U32_BYTES,
  SERVES_AT = CODEC_ID_AT + CODEC_ID_BYTES,
  CALLS_AT = SERVES_AT + HASH_BYTES,
  SERVICE_AT = CALLS_AT + HASH_BYTES,
  APPLICATION_VERSION_AT = SERVICE_AT + TEXT_BYTES,
  NONCE_AT = APPLICATION_VERSION_AT + TEXT_BYTES;
/** Length of a hello's body: 264. */
export const HELLO_BYTES = NONCE_AT + NONCE_BYTES;

const CODEC_ID = /^[a-z0-9.-]{1,16}$/;
const TEXT = /^[\x21-\x7e]{0,64}$/;
const MAX_U32 = 0xffff_ffff;

const MODES: readonly HandshakeMode[] = ["none", "version-only", "hmac", "signed-process"];

/** Which side connected. */
export type Role = "dialler" | "listener";
const ROLE_NUMBERS: Readonly<Record<Role, number>> = { dialler: 1, listener: 2 };

/** What a side says of itself. */
export interface Hello {
  readonly mode: HandshakeMode;
  readonly role: Role;
  /** Whether its end of the connection says that nobody between the two can read or change anything. */
  readonly confidential: boolean;
  readonly told: ToldLimits;
  readonly codecId: string;
  /** 32 bytes; null: it serves nothing. */
  readonly serves: Uint8Array | null;
  /** 32 bytes; null: it calls nothing. */
  readonly calls: Uint8Array | null;
  readonly service: string;
  readonly applicationVersion: string;
  /** 32 bytes, never used before. */
  readonly nonce: Uint8Array;
}

/**
 * Writes a hello.
 *
 * @returns 264 bytes
 * @throws {TypeError} if something of it has no form on the wire
 */
export function encodeHello(hello: Hello): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(HELLO_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(MAGIC);
  bytes[VERSION_AT] = PROTOCOL_VERSION;
  bytes[MODE_AT] = MODES.indexOf(hello.mode);
  bytes[ROLE_AT] = ROLE_NUMBERS[hello.role];
  bytes[CONFIDENTIAL_AT] = hello.confidential ? 1 : 0;
  view.setUint32(MAX_BODY_AT, checkedLimit(hello.told.maxBodyBytes, "maxBodyBytes"));
  view.setUint32(MAX_CALLS_AT, checkedLimit(hello.told.maxConcurrentCalls, "maxConcurrentCalls"));
  view.setUint32(WINDOW_AT, checkedLimit(hello.told.streamWindowBytes, "streamWindowBytes"));
  setText(bytes, CODEC_ID_AT, hello.codecId, CODEC_ID, "codec id");
  setBytes(bytes, SERVES_AT, hello.serves, HASH_BYTES);
  setBytes(bytes, CALLS_AT, hello.calls, HASH_BYTES);
  setText(bytes, SERVICE_AT, hello.service, TEXT, "service name");
  setText(bytes, APPLICATION_VERSION_AT, hello.applicationVersion, TEXT, "application version");
  setBytes(bytes, NONCE_AT, hello.nonce, NONCE_BYTES);
  return bytes;
}

/**
 * Reads a hello: any bytes that `encodeHello` would not write are refused.
 *
 * @throws {HandshakeRefusal} "protocol_version" if it is of another version, whatever else that has;
 * "handshake_malformed" for anything else
 */
export function parseHello(body: Uint8Array<ArrayBuffer>): Hello {
  if (body.length <= VERSION_AT || !MAGIC.every((byte, at) => body[at] === byte)) {
    throw malformed("found something that is no hello of this protocol");
  }
  if (body[VERSION_AT] !== PROTOCOL_VERSION) {
    throw new HandshakeRefusal(
      "protocol_version",
      `found version ${body[VERSION_AT]} of the protocol, accepted is ${PROTOCOL_VERSION}`,
    );
  }
  if (body.length !== HELLO_BYTES) {
    throw malformed(`found a hello of ${body.length} bytes, accepted are ${HELLO_BYTES}`);
  }
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const mode = MODES[view.getUint8(MODE_AT)];
  if (mode === undefined) throw malformed("found a hello with an unknown kind of handshake");
  const confidential = view.getUint8(CONFIDENTIAL_AT);
  if (confidential > 1) throw malformed("found a hello that is neither confidential nor not");
  return {
    mode,
    role: roleOf(view.getUint8(ROLE_AT)),
    confidential: confidential === 1,
    told: {
      maxBodyBytes: view.getUint32(MAX_BODY_AT),
      maxConcurrentCalls: view.getUint32(MAX_CALLS_AT),
      streamWindowBytes: view.getUint32(WINDOW_AT),
    },
    codecId: textOf(body, CODEC_ID_AT, CODEC_ID_BYTES, CODEC_ID, "codec id"),
    serves: hashOf(body, SERVES_AT),
    calls: hashOf(body, CALLS_AT),
    service: textOf(body, SERVICE_AT, TEXT_BYTES, TEXT, "service name"),
    applicationVersion: textOf(body, APPLICATION_VERSION_AT, TEXT_BYTES, TEXT, "application version"),
    nonce: body.slice(NONCE_AT, NONCE_AT + NONCE_BYTES),
  };
}

function checkedLimit(value: number, name: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= MAX_U32) return value;
  throw new TypeError(`cannot shake hands with ${name} ${value}: accepted are whole numbers below 2^32`);
}

function setText(bytes: Uint8Array, at: number, text: string, form: RegExp, name: string): void {
  if (!form.test(text)) {
    throw new TypeError(
      `cannot shake hands with that ${name}: accepted are those of the form ${form.source}`,
    );
  }
  for (let index = 0; index < text.length; index++) bytes[at + index] = text.charCodeAt(index);
}

function setBytes(bytes: Uint8Array, at: number, value: Uint8Array | null, length: number): void {
  if (value === null) return;
  if (value.length !== length) {
    throw new TypeError(
      `cannot shake hands with a hash or nonce of ${value.length} bytes: ${length} are accepted`,
    );
  }
  bytes.set(value, at);
}

function roleOf(number: number): Role {
  if (number === ROLE_NUMBERS.dialler) return "dialler";
  if (number === ROLE_NUMBERS.listener) return "listener";
  throw malformed("found a hello with an unknown role");
}

function hashOf(body: Uint8Array<ArrayBuffer>, at: number): Uint8Array<ArrayBuffer> | null {
  const hash = body.slice(at, at + HASH_BYTES);
  return hash.some((byte) => byte !== 0) ? hash : null;
}

function textOf(body: Uint8Array, at: number, length: number, form: RegExp, name: string): string {
  const text = String.fromCharCode(...body.subarray(at, at + length)).replace(/\0+$/, "");
  // A zero inside does not match: one text has one spelling.
  if (!form.test(text)) throw malformed(`found a hello whose ${name} has not the form ${form.source}`);
  return text;
}
