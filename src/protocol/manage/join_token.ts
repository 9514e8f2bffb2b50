/**
 * The token by which a host or an administrator joins: all that is needed to reach the server, to know it again and to
 * be let in once. As text, on one line:
 *
 *   postern-join-1.<base64url of: body | first 4 bytes of SHA-256(body)>
 *   body = | kind u8 | secret 32 | server's Ed25519 key 32 | count u8 | count times: length u8, host:port |
 *          | length u16 | CA certificate, DER |
 *
 * The checksum is there for a character that got lost in copying, not for an enemy: whoever has made a token up has no
 * secret that a server knows. The whole text is a secret, and no error repeats any of it.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { parseHostPort } from "../transport/host_port.ts";
import { ascii, FieldReader, joinBytes, shortText, u16, u8 } from "./byte_fields.ts";
import { type DiallerRole, SECRET_BYTES } from "./link_hello.ts";
import { isPublicKey, isSameBytes, PUBLIC_KEY_BYTES } from "./signing_key.ts";

/** What every token begins with. */
export const TOKEN_START = "postern-join-1.";
/** Addresses of a server, at most. */
export const MAX_TOKEN_ADDRESSES = 16;
/** Length of the CA's certificate, at most. */
export const MAX_TOKEN_CERTIFICATE_BYTES = 4096;
/** Length of the text, at most. */
export const MAX_TOKEN_CHARACTERS = 16_384;

const CHECKSUM_BYTES = 4;
const KINDS: Readonly<Record<DiallerRole, number>> = { host: 1, administrator: 2 };
const HASHED = ascii("postern manage 1 token");

/** What a token says. */
export interface JoinToken {
  /** Who may join with it. */
  readonly kind: DiallerRole;
  /** 32 random bytes. */
  readonly secret: Uint8Array<ArrayBuffer>;
  /** Ed25519, 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Where the server is reached, "host:port", 1 to 16. */
  readonly addresses: readonly string[];
  /** Of the CA that has signed the server's certificate, DER, 1 to 4,096 bytes. */
  readonly caCertificate: Uint8Array<ArrayBuffer>;
}

/**
 * Writes a token.
 *
 * @throws {TypeError} if a field of it has no form
 */
export function formatJoinToken(token: JoinToken): string {
  const { kind, secret, serverKey, addresses, caCertificate } = token;
  requireForms(token);
  const body = joinBytes(
    u8(KINDS[kind]),
    secret,
    serverKey,
    u8(addresses.length),
    ...addresses.map(shortText),
    u16(caCertificate.length),
    caCertificate,
  );
  return TOKEN_START + base64url(joinBytes(body, checksum(body)));
}

/**
 * Reads a token; white space around it is passed over.
 *
 * @throws {TypeError} if it is none, or a character of it is missing or another one
 */
export function parseJoinToken(text: string): JoinToken {
  const encoded = text.trim();
  if (!encoded.startsWith(TOKEN_START)) throw notAToken(`it does not begin with "${TOKEN_START}"`);
  const bytes = encoded.length <= MAX_TOKEN_CHARACTERS
    ? fromBase64url(encoded.slice(TOKEN_START.length))
    : null;
  const body = bytes?.subarray(0, -CHECKSUM_BYTES);
  // The second comparison leaves one spelling: bits that the last character has to spare could be anything.
  if (
    bytes === null || body === undefined || !isSameBytes(checksum(body), bytes.subarray(body.length)) ||
    base64url(bytes) !== encoded.slice(TOKEN_START.length)
  ) {
    throw notAToken("a part of it is missing or was changed, copy all of it again");
  }
  return decoded(body);
}

/**
 * What is stored of a token's secret, and looked for when somebody shows one.
 *
 * @returns SHA-256, 32 bytes
 */
export function tokenHash(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(sha256(joinBytes(HASHED, secret)));
}

function decoded(body: Uint8Array): JoinToken {
  let token: JoinToken;
  try {
    const reader = new FieldReader(body, "a token");
    const kindNumber = reader.u8();
    const kind = kindNumber === KINDS.host ? "host" : "administrator";
    if (kindNumber !== KINDS[kind]) throw reader.malformed("its kind is not known");
    const secret = reader.take(SECRET_BYTES), serverKey = reader.take(PUBLIC_KEY_BYTES);
    const addresses = Array.from({ length: reader.u8() }, () => reader.shortText());
    token = { kind, secret, serverKey, addresses, caCertificate: reader.take(reader.u16()) };
    reader.requireEnd();
    requireForms(token);
  } catch {
    // Without a cause: it may repeat an address.
    throw notAToken("it is not of the form of this version");
  }
  return token;
}

function requireForms({ secret, serverKey, addresses, caCertificate }: JoinToken): void {
  if (secret.length !== SECRET_BYTES || !isPublicKey(serverKey)) {
    throw new TypeError("cannot make a token: its secret or the server's key is none");
  }
  if (addresses.length === 0 || addresses.length > MAX_TOKEN_ADDRESSES) {
    throw new TypeError(
      `cannot make a token: found ${addresses.length} addresses, accepted are 1 to ${MAX_TOKEN_ADDRESSES}`,
    );
  }
  for (const address of addresses) {
    if (parseHostPort(address, "cannot make a token").port === 0) {
      throw new TypeError("cannot make a token: nobody is reached at port 0");
    }
  }
  if (caCertificate.length === 0 || caCertificate.length > MAX_TOKEN_CERTIFICATE_BYTES) {
    throw new TypeError(
      `cannot make a token: found a certificate of ${caCertificate.length} bytes, accepted are ` +
        `1 to ${MAX_TOKEN_CERTIFICATE_BYTES}`,
    );
  }
}

function checksum(body: Uint8Array): Uint8Array {
  return sha256(body).subarray(0, CHECKSUM_BYTES);
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

function fromBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    return null;
  }
}

function notAToken(found: string): TypeError {
  return new TypeError(`cannot read the token: ${found}`);
}
