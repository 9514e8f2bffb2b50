/**
 * What the two ends of a link say before they trust each other, and what their proofs are over. All of it travels in
 * frames of flow 0, see frame.ts; docs/wire-formats.md has the layout.
 *
 *   hello of a dialler  | version u8 = 1 | kind u8 | role u8 | nonce 32 | Ed25519 key 32 |
 *   hello of a server   | version u8 = 1 | kind u8 | role u8 = 0 | nonce 32 | Ed25519 key 32 |
 *   prove               | signature 64 |, and behind it in a join | secret 32 |
 *
 * The transcript has both hellos as they travelled and the certificate that TLS showed: whoever sits between with a
 * certificate of his own, even of the same CA, has another one at each side, and passes on proofs of nothing. Server
 * and dialler sign different words before it, so that neither's proof is one of the other.
 *
 * Whoever has stolen the private key of that very certificate can sit in between: no more of TLS can be had here. Then
 * the control calls are open to him, and sessions are not.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { ascii, FieldReader, joinBytes, u8 } from "./byte_fields.ts";
import { ResetError } from "./reset_code.ts";
import { isPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from "./signing_key.ts";

/** The version of the link protocol: hello, proofs, control contracts and sessions together. */
export const LINK_VERSION = 1;
/** Length of a nonce. */
export const NONCE_BYTES = 32;
/** Length of the secret of a token. */
export const SECRET_BYTES = 32;
/** Length of a hello: 67. */
export const HELLO_BYTES: number = 3 + NONCE_BYTES + PUBLIC_KEY_BYTES;

/** What a connection is for: a link, or to join, after which it is one too. */
export type LinkKind = "link" | "join";
/** Who dials. */
export type DiallerRole = "host" | "administrator";

const KINDS: Readonly<Record<LinkKind, number>> = { link: 1, join: 2 };
const ROLES: Readonly<Record<DiallerRole | "server", number>> = { server: 0, host: 1, administrator: 2 };

const TRANSCRIPT = ascii("postern manage 1 link"),
  SERVER_PROOF = ascii("postern manage 1 server proof"),
  DIALLER_PROOF = ascii("postern manage 1 dialler proof");

/** What a side says of itself. */
export interface LinkHello {
  readonly kind: LinkKind;
  readonly role: DiallerRole | "server";
  /** 32 random bytes of this connection. */
  readonly nonce: Uint8Array<ArrayBuffer>;
  /** 32 bytes; of nobody's unless it is proven. */
  readonly key: Uint8Array<ArrayBuffer>;
}

/** What a side proves itself by. */
export interface LinkProof {
  /** 64 bytes. */
  readonly signature: Uint8Array<ArrayBuffer>;
  /** 32 bytes, of a dialler that joins; null of any other. */
  readonly secret: Uint8Array<ArrayBuffer> | null;
}

/** Writes a hello: 67 bytes. */
export function encodeHello({ kind, role, nonce, key }: LinkHello): Uint8Array<ArrayBuffer> {
  return joinBytes(u8(LINK_VERSION), u8(KINDS[kind]), u8(ROLES[role]), nonce, key);
}

/**
 * Reads a hello. The version is looked at before anything else, the length included: a later version may be longer.
 *
 * @throws {ResetError} "version"; "malformed" for anything else that is no hello, or a key that is nobody's
 */
export function decodeHello(bytes: Uint8Array): LinkHello {
  const reader = new FieldReader(bytes, "a hello");
  const version = reader.u8();
  if (version !== LINK_VERSION) throw otherVersion(version);
  const kind = nameOf(KINDS, reader.u8()), role = nameOf(ROLES, reader.u8());
  if (kind === null || role === null) throw reader.malformed("its kind or role is not known");
  const nonce = reader.take(NONCE_BYTES), key = reader.take(PUBLIC_KEY_BYTES);
  reader.requireEnd();
  if (!isPublicKey(key)) throw reader.malformed("its key is nobody's");
  return { kind, role, nonce, key };
}

/** What a side is refused with that speaks another version of this protocol. */
export function otherVersion(found: number): ResetError {
  return new ResetError(
    "version",
    "here",
    `cannot link: found version ${found} of the link protocol, accepted is ${LINK_VERSION}`,
  );
}

/** Length of a proof: 64, of a dialler that joins 96. */
export function proofBytes(kind: LinkKind, by: "server" | "dialler"): number {
  return SIGNATURE_BYTES + (kind === "join" && by === "dialler" ? SECRET_BYTES : 0);
}

/** Writes a proof. */
export function encodeProof({ signature, secret }: LinkProof): Uint8Array<ArrayBuffer> {
  return secret === null ? signature.slice() : joinBytes(signature, secret);
}

/**
 * Reads a proof.
 *
 * @throws {ResetError} "malformed" if it is not of the length in `proofBytes`
 */
export function decodeProof(bytes: Uint8Array, kind: LinkKind, by: "server" | "dialler"): LinkProof {
  const reader = new FieldReader(bytes, "a proof");
  const signature = reader.take(SIGNATURE_BYTES);
  const secret = kind === "join" && by === "dialler" ? reader.take(SECRET_BYTES) : null;
  reader.requireEnd();
  return { signature, secret };
}

/**
 * SHA-256 over all that was said before the proofs.
 *
 * @param dialler hello as it travelled, 67 bytes
 * @param server hello as it travelled, 67 bytes
 * @param certificate of the server in TLS, DER
 */
export function linkTranscript(dialler: Uint8Array, server: Uint8Array, certificate: Uint8Array): Uint8Array {
  return sha256(joinBytes(TRANSCRIPT, dialler, server, sha256(certificate)));
}

/** What a server signs. */
export function serverProofText(transcript: Uint8Array): Uint8Array<ArrayBuffer> {
  return joinBytes(SERVER_PROOF, transcript);
}

/** What a dialler signs. */
export function diallerProofText(transcript: Uint8Array, secret: Uint8Array | null): Uint8Array<ArrayBuffer> {
  return secret === null
    ? joinBytes(DIALLER_PROOF, transcript)
    : joinBytes(DIALLER_PROOF, transcript, sha256(secret));
}

function nameOf<Name extends string>(numbers: Readonly<Record<Name, number>>, number: number): Name | null {
  for (const name of Object.keys(numbers) as Name[]) {
    if (numbers[name] === number) return name;
  }
  return null;
}
