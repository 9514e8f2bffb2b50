/**
 * The first thing that each side says to the other; see docs/wire-formats.md.
 *
 *   | magic "PSTN" | version u8 | mode u8 | role u8 | instance 16 | share |
 *
 * The share of a code is a message of SPAKE2, see spake2.ts; that of a resumed pairing a nonce and a key, see
 * pairing_share.ts. The first five bytes are those of every version.
 */
import { PairingError } from "./pairing_error.ts";

const MAGIC = new TextEncoder().encode("PSTN");
/** The version of the protocol: pairing, records and messages together. */
export const TRANSFER_VERSION = 1;

const BYTE = 1;
/** Length of an instance: 16. */
export const INSTANCE_BYTES = 16;
const VERSION_AT = MAGIC.length,
  MODE_AT = VERSION_AT + BYTE,
  ROLE_AT = MODE_AT + BYTE,
  INSTANCE_AT = ROLE_AT + BYTE;
/** Length of what is the same in every version: 5. */
export const HELLO_START_BYTES: number = VERSION_AT + BYTE;
/** Length of everything before the share: 23. */
export const HELLO_HEAD_BYTES: number = INSTANCE_AT + INSTANCE_BYTES;

const SIDE_BYTES = 1,
  ELEMENT_BYTES = 32,
  NONCE_BYTES = 32,
  PUBLIC_KEY_BYTES = 32;

/** Which side of a transfer. */
export type TransferRole = "sender" | "receiver";
const ROLES: Readonly<Record<TransferRole, number>> = { sender: 1, receiver: 2 };

/** By what two pair: a code, or what they kept from the last time. */
export type PairingMode = "code" | "resume";
const MODES: Readonly<Record<PairingMode, number>> = { code: 1, resume: 2 };
/** Length of a share: 33 with a code, 64 when resumed. */
export const SHARE_BYTES: Readonly<Record<PairingMode, number>> = {
  code: SIDE_BYTES + ELEMENT_BYTES,
  resume: NONCE_BYTES + PUBLIC_KEY_BYTES,
};

/** What a side says of itself. */
export interface Hello {
  readonly mode: PairingMode;
  readonly role: TransferRole;
  /** 16 random bytes, the same for as long as this side looks for one other side. */
  readonly instance: Uint8Array;
  /** Of the length in `SHARE_BYTES`; never used before. */
  readonly share: Uint8Array;
}

/** Length of a whole hello: 56 with a code, 87 when resumed. */
export function helloBytes(mode: PairingMode): number {
  return HELLO_HEAD_BYTES + SHARE_BYTES[mode];
}

/**
 * Writes a hello.
 *
 * @returns as many bytes as `helloBytes` says
 * @throws {TypeError} if instance or share have another length
 */
export function encodeHello({ mode, role, instance, share }: Hello): Uint8Array<ArrayBuffer> {
  if (instance.length !== INSTANCE_BYTES || share.length !== SHARE_BYTES[mode]) {
    throw new TypeError(
      `cannot write a hello: found an instance of ${instance.length} bytes and a share of ${share.length}, ` +
        `accepted are ${INSTANCE_BYTES} and ${SHARE_BYTES[mode]}`,
    );
  }
  const bytes = new Uint8Array(helloBytes(mode));
  bytes.set(MAGIC);
  bytes[VERSION_AT] = TRANSFER_VERSION;
  bytes[MODE_AT] = MODES[mode];
  bytes[ROLE_AT] = ROLES[role];
  bytes.set(instance, INSTANCE_AT);
  bytes.set(share, HELLO_HEAD_BYTES);
  return bytes;
}

/**
 * Judges the first 5 bytes of a hello.
 *
 * @throws {PairingError} "malformed" if it is none, "version" if it is one of another version
 */
export function checkHelloStart(start: Uint8Array): void {
  if (!MAGIC.every((byte, at) => start[at] === byte)) {
    throw new PairingError("malformed", "found something that is no hello of this protocol", {
      isForeign: true,
    });
  }
  const version = start[VERSION_AT];
  if (version !== TRANSFER_VERSION) {
    throw new PairingError(
      "version",
      `found version ${version} of the protocol, accepted is ${TRANSFER_VERSION}`,
    );
  }
}

/**
 * Judges the first 23 bytes of a hello beside our own. What is compared here may have been changed on the way; the
 * keys depend on it once more, as it was sent.
 *
 * @param own our hello
 * @throws {PairingError} "malformed", "same_role" or "same_instance", the first that is true
 */
export function checkHelloHead(head: Uint8Array, own: Uint8Array): void {
  if (head[MODE_AT] !== own[MODE_AT]) {
    throw new PairingError("malformed", "found a side that wants to pair in another way");
  }
  const role = head[ROLE_AT];
  if (role === own[ROLE_AT]) {
    throw new PairingError("same_role", "found another side of the same role");
  }
  if (role !== ROLES.sender && role !== ROLES.receiver) {
    throw new PairingError("malformed", "found a side that is neither sender nor receiver");
  }
  const instance = head.subarray(INSTANCE_AT, HELLO_HEAD_BYTES);
  if (instance.every((byte, at) => own[INSTANCE_AT + at] === byte)) {
    throw new PairingError("same_instance", "found this side itself");
  }
}
