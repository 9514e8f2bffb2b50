/**
 * How a session is opened: signed by the administrator, answered and signed by the host. The server carries both and
 * can change neither.
 *
 *   administrator          server                                host
 *        | -- open ---------> |                                    |
 *        |                    |  its policy; a row of the audit    |
 *        |                    | -- name, signed head, open ------> |  challenge, signature, its own policy
 *        |                    | <------------------------ answer - |
 *        | <- answer, head -- |                                    |
 *        | ============== records with keys of these two, see session_keys.ts ============== |
 *
 * open = | version u8 = 1 | action u8 | flags u8 | session 8 | host's key 32 | administrator's key 32 |
 *        | nonce of the host's link 32 | challenge 16 | expires u32 | X25519 key 32 |
 *        | count u8 | count times: length u8, target | signature 64 |
 * answer = | version u8 = 1 | X25519 key 32 | signature 64 |
 *
 * A challenge is good for one open on one link within its time, by the host's own monotonic clock: a recorded open is
 * never good again, and no wall clock matters. The host's signature is over the whole open, so that an answer belongs
 * to one open only.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { decodeHead, encodeHead, HEAD_BYTES } from "./audit_head.ts";
import { ascii, FieldReader, joinBytes, shortText, u32, u8 } from "./byte_fields.ts";
import { type Action, CHALLENGE_LIFE_MS, type SignedHead } from "./control_contract.ts";
import { isName, MAX_NAME_BYTES, NAME_FORM } from "./names.ts";
import { ResetError } from "./reset_code.ts";
import {
  isPublicKey,
  isSameBytes,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  type SigningKey,
  verifySignature,
} from "./signing_key.ts";

const SESSION_VERSION = 1;
/** Length of a challenge. */
export const CHALLENGE_BYTES = 16;
const SESSION_ID_BYTES = 8,
  NONCE_BYTES = 32,
  EXCHANGE_KEY_BYTES = 32;
/** Targets that one forward declares, at most. */
export const MAX_TARGETS = 32;
/** Parameters of a flow's open, at most. */
const MAX_PARAMETER_BYTES = 4096;
/** Length of an open, at most: there is room for what the server puts before it. */
export const MAX_OPEN_BYTES: number = MAX_PARAMETER_BYTES - 1 - MAX_NAME_BYTES - HEAD_BYTES;
/** Length of an answer: 97. */
export const ANSWER_BYTES: number = 1 + EXCHANGE_KEY_BYTES + SIGNATURE_BYTES;

const OPEN = ascii("postern manage 1 open"),
  OPENED = ascii("postern manage 1 opened");

/** What an open asks for: an action, or a shell that is there already. */
export type OpenAction = Action | "attach";
const ACTIONS: readonly (OpenAction | null)[] = [null, "shell", "exec", "forward", "attach"];
const OUTLIVES_LINK = 1;
const SESSION_ID = /^[0-9a-f]{16}$/;
/** What patterns are of is for the policies to say; nothing in them is to fool a reader of a log. */
const TARGET = /^[\x21-\x7e]{1,255}$/;

/** What an administrator asks for. */
export interface OpenFields {
  readonly action: OpenAction;
  /** Whether it goes on when the link to the administrator breaks; of a shell, taken up again or not. */
  readonly outlivesLink: boolean;
  /** 16 hexadecimal digits: random, or in an attach the one that is meant. */
  readonly session: string;
  /** 32 bytes. */
  readonly hostKey: Uint8Array<ArrayBuffer>;
  /** 32 bytes: the host's nonce of its present link. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  /** 16 bytes, given by the host for this open. */
  readonly challenge: Uint8Array<ArrayBuffer>;
  /** Milliseconds from when the challenge was given, 1 to 30,000. */
  readonly expiresMs: number;
  /** X25519 key of this session, 32 bytes. */
  readonly ephemeral: Uint8Array<ArrayBuffer>;
  /** `host:port` patterns of a forward, 1 to 32; of any other action none. */
  readonly targets: readonly string[];
}

/** An open as it was read. Its signature is for `verifyOpen` to judge. */
export interface SessionOpen extends OpenFields {
  /** 32 bytes. */
  readonly adminKey: Uint8Array<ArrayBuffer>;
  /** 64 bytes. */
  readonly signature: Uint8Array<ArrayBuffer>;
  /** All of it, as it travelled. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** An open as a host gets it. */
export interface OpenForHost {
  /** By which the server knows the administrator; the host goes by the key. */
  readonly adminName: string;
  /** Newest row of the audit, this open's. */
  readonly head: SignedHead;
  readonly open: SessionOpen;
}

/**
 * Writes and signs an open.
 *
 * @throws {TypeError} if a field of it has no form, or it would be longer than `MAX_OPEN_BYTES`
 */
export async function signOpen(fields: OpenFields, key: SigningKey): Promise<Uint8Array<ArrayBuffer>> {
  const fault = faultOf({ ...fields, adminKey: key.publicKey });
  if (fault !== null) throw new TypeError(`cannot open a session: ${fault}`);
  const unsigned = joinBytes(
    u8(SESSION_VERSION),
    u8(ACTIONS.indexOf(fields.action)),
    u8(fields.outlivesLink ? OUTLIVES_LINK : 0),
    Uint8Array.fromHex(fields.session),
    fields.hostKey,
    key.publicKey,
    fields.linkNonce,
    fields.challenge,
    u32(fields.expiresMs),
    fields.ephemeral,
    u8(fields.targets.length),
    ...fields.targets.map(shortText),
  );
  if (unsigned.length + SIGNATURE_BYTES > MAX_OPEN_BYTES) {
    throw new TypeError(`cannot open a session: its targets are too long together`);
  }
  return joinBytes(unsigned, await key.sign(joinBytes(OPEN, unsigned)));
}

/**
 * Reads an open.
 *
 * @throws {ResetError} "version"; "malformed" for anything else that `signOpen` would not write
 */
export function decodeOpen(bytes: Uint8Array): SessionOpen {
  const reader = new FieldReader(bytes, "the open of a session");
  if (bytes.length > MAX_OPEN_BYTES) throw reader.malformed("it is too long");
  requireVersion(reader.u8(), "the open of a session");
  const action = ACTIONS[reader.u8()] ?? null, flags = reader.u8();
  if (action === null || (flags & ~OUTLIVES_LINK) !== 0) {
    throw reader.malformed("it asks for what is not known");
  }
  const open = {
    action,
    outlivesLink: flags === OUTLIVES_LINK,
    session: reader.take(SESSION_ID_BYTES).toHex(),
    hostKey: reader.take(PUBLIC_KEY_BYTES),
    adminKey: reader.take(PUBLIC_KEY_BYTES),
    linkNonce: reader.take(NONCE_BYTES),
    challenge: reader.take(CHALLENGE_BYTES),
    expiresMs: reader.u32(),
    ephemeral: reader.take(EXCHANGE_KEY_BYTES),
    targets: Array.from({ length: reader.u8() }, () => reader.shortText()),
    signature: reader.take(SIGNATURE_BYTES),
    bytes: new Uint8Array(bytes),
  };
  reader.requireEnd();
  const fault = faultOf(open);
  if (fault !== null) throw reader.malformed(fault);
  return open;
}

/** Whether the administrator whose key is in an open has signed it. Whether that is one to listen to is another thing. */
export function verifyOpen(open: SessionOpen): Promise<boolean> {
  const unsigned = open.bytes.subarray(0, open.bytes.length - SIGNATURE_BYTES);
  return verifySignature(open.adminKey, joinBytes(OPEN, unsigned), open.signature);
}

/**
 * Answers an open, which has been found good.
 *
 * @param open as it travelled
 * @param ephemeral X25519 key of this session, 32 bytes
 * @returns 97 bytes
 */
export async function answerOpen(
  open: Uint8Array,
  ephemeral: Uint8Array,
  hostKey: SigningKey,
): Promise<Uint8Array<ArrayBuffer>> {
  return joinBytes(u8(SESSION_VERSION), ephemeral, await hostKey.sign(answeredText(open, ephemeral)));
}

/**
 * Reads an answer, and lets only that of the host that was asked through.
 *
 * @param open our own
 * @returns the host's X25519 key, 32 bytes
 * @throws {ResetError} "version", "malformed"; "authentication" if the host that the open names has not signed it
 */
export async function verifyAnswer(open: SessionOpen, answer: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const reader = new FieldReader(answer, "the answer of a host");
  requireVersion(reader.u8(), "the answer of a host");
  const ephemeral = reader.take(EXCHANGE_KEY_BYTES), signature = reader.take(SIGNATURE_BYTES);
  reader.requireEnd();
  if (!await verifySignature(open.hostKey, answeredText(open.bytes, ephemeral), signature)) {
    throw new ResetError(
      "authentication",
      "here",
      "cannot open a session: the answer is not signed by the host that was asked",
    );
  }
  return ephemeral;
}

/**
 * What the server passes on to the host: the name of the administrator, the signed head, the open as it came.
 *
 * @throws {TypeError} if the name is none
 */
export function openForHost(adminName: string, head: SignedHead, open: Uint8Array): Uint8Array<ArrayBuffer> {
  if (!isName(adminName)) throw new TypeError(`cannot pass on an open: a name wants ${NAME_FORM}`);
  return joinBytes(shortText(adminName), encodeHead(head), open);
}

/**
 * Reads what the server passes on.
 *
 * @throws {ResetError} as `decodeOpen`; "malformed" if the name or the head is none
 */
export function decodeOpenForHost(bytes: Uint8Array): OpenForHost {
  const reader = new FieldReader(bytes, "the open of a session");
  const adminName = reader.shortText();
  if (!isName(adminName)) throw reader.malformed("the administrator's name is none");
  const head = decodeHead(reader.take(HEAD_BYTES));
  return { adminName, head, open: decodeOpen(reader.rest()) };
}

/** What the server passes back to the administrator: the answer as it came, and the signed head. */
export function answerForAdmin(answer: Uint8Array, head: SignedHead): Uint8Array<ArrayBuffer> {
  return joinBytes(answer, encodeHead(head));
}

/**
 * Reads what the server passes back; the answer in it is for `verifyAnswer`.
 *
 * @throws {ResetError} "malformed" if it is not 201 bytes long
 */
export function decodeAnswerForAdmin(
  bytes: Uint8Array,
): { readonly answer: Uint8Array<ArrayBuffer>; readonly head: SignedHead } {
  const reader = new FieldReader(bytes, "the answer of a host");
  return { answer: reader.take(ANSWER_BYTES), head: decodeHead(reader.rest()) };
}

/** What a host signs. */
function answeredText(open: Uint8Array, ephemeral: Uint8Array): Uint8Array<ArrayBuffer> {
  return joinBytes(OPENED, sha256(open), u8(SESSION_VERSION), ephemeral);
}

function requireVersion(found: number, what: string): void {
  if (found === SESSION_VERSION) return;
  throw new ResetError(
    "version",
    "here",
    `cannot read ${what}: found version ${found}, accepted is ${SESSION_VERSION}`,
  );
}

/** What is wrong with an open, beyond the lengths of what is read; null if nothing is. */
function faultOf(open: OpenFields & { readonly adminKey: Uint8Array }): string | null {
  const { action, hostKey, adminKey, expiresMs, targets, outlivesLink } = open;
  if (!SESSION_ID.test(open.session)) return "a session is called by 16 hexadecimal digits";
  if (!isPublicKey(hostKey) || !isPublicKey(adminKey)) return "a key in it is nobody's";
  // Nobody signs both sides of one session with one key, but whoever was talked into using one key for both.
  if (isSameBytes(hostKey, adminKey)) return "the host's key is the administrator's own";
  if (
    open.linkNonce.length !== NONCE_BYTES || open.challenge.length !== CHALLENGE_BYTES ||
    open.ephemeral.length !== EXCHANGE_KEY_BYTES
  ) return "a nonce, challenge or key in it has another length";
  if (!Number.isInteger(expiresMs) || expiresMs < 1 || expiresMs > CHALLENGE_LIFE_MS) {
    return `it expires after 1 to ${CHALLENGE_LIFE_MS} ms`;
  }
  if (outlivesLink && action !== "shell" && action !== "attach") return "only a shell outlives its link";
  const [least, most] = action === "forward" ? [1, MAX_TARGETS] : [0, 0];
  if (targets.length < least || targets.length > most || !targets.every((target) => TARGET.test(target))) {
    return `a forward has 1 to ${MAX_TARGETS} targets, anything else none`;
  }
  return null;
}
