/**
 * SPAKE2 over ed25519, the symmetric variant, bit for bit as python-spake2 0.8 (`SPAKE2_Symmetric`) and the Rust crate
 * `spake2` do it; older than RFC 9382 and not the same. With a password pw, scalars mod L, and a random x:
 *
 *   w       = HKDF-SHA256(pw; no salt; info "SPAKE2 pw"; 48 bytes), big-endian, mod L
 *   message = "S" + encoding of x*B + w*S                        both sides the same S, whose logarithm nobody knows
 *   K       = x * (their element - w*S)
 *   key     = SHA-256( SHA-256(pw), SHA-256(id), both elements in ascending order, encoding of K )
 *
 * Whoever does not know the password learns from one exchange whether one guess at it was right, and nothing else.
 * Secrets meet only those functions of the library that take the same time for all of them, as far as a runtime with
 * big integers can; the one that does not looks at what has come over the wire.
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { RandomBytes } from "../rpc/timers.ts";

const SIDE_BYTES = 1,
  ELEMENT_BYTES = 32;
/** Length of a message: 33. */
export const SPAKE2_MESSAGE_BYTES: number = SIDE_BYTES + ELEMENT_BYTES;
/** "S": symmetric. */
const SIDE = 0x53;

/** More than the 32 bytes of a scalar, so that the rest mod L has no bias worth naming. */
const PASSWORD_SCALAR_BYTES = 32 + 16,
  RANDOM_SCALAR_BYTES = 32 + 32;
const PASSWORD_INFO = new TextEncoder().encode("SPAKE2 pw");
/** The seed "symmetric" hashed to the curve, `arbitrary_element` of python-spake2; the tests do it again. */
const BLINDING_HEX = "6f00dae87c1be1a73b5922ef431cd8f57879569c222d22b1cd71e8546ab8e6f1";

const { Point } = ed25519;
type Element = ReturnType<typeof Point.fromBytes>;

/** What is wrong with a message: it is our own, or no element that an honest side could have sent. */
export type Spake2Refusal = "reflected" | "malformed";

/** A message of the other side was refused. */
export class Spake2Error extends Error {
  /** What is wrong, for programs. */
  readonly refusal: Spake2Refusal;

  /** Makes one. */
  constructor(refusal: Spake2Refusal, found: string) {
    super(`cannot take a message of SPAKE2: found ${found}`);
    this.name = "Spake2Error";
    this.refusal = refusal;
  }
}

/** One side of one exchange. */
export class Spake2 {
  /** What the other side needs, 33 bytes. */
  readonly message: Uint8Array<ArrayBuffer>;
  readonly #password: Uint8Array;
  readonly #idSymmetric: Uint8Array;
  readonly #x: bigint;
  readonly #blinding: Element;
  #isFinished = false;

  /**
   * Begins an exchange.
   *
   * @param password of any length
   * @param idSymmetric what both sides must agree on beside the password
   * @param random asked for 64 bytes
   */
  constructor(password: Uint8Array, idSymmetric: Uint8Array, random: RandomBytes) {
    this.#password = password;
    this.#idSymmetric = idSymmetric;
    this.#x = scalarOf(random(RANDOM_SCALAR_BYTES));
    this.#blinding = Point.fromHex(BLINDING_HEX).multiply(passwordScalar(password));
    this.message = new Uint8Array(SPAKE2_MESSAGE_BYTES);
    this.message[0] = SIDE;
    this.message.set(base().multiply(this.#x).add(this.#blinding).toBytes(), SIDE_BYTES);
  }

  /**
   * Ends the exchange.
   *
   * Whether it throws does not depend on the password: a side that ended the pairing here for a right guess only, or a
   * wrong one only, would tell which it was without a guess being counted. So an element that leaves the neutral one,
   * w*S itself, gives a key like any other, as in python-spake2.
   *
   * @param theirs the other side's message
   * @returns 32 bytes, the same on both sides if passwords and ids were
   * @throws {Spake2Error} if it is our own message, or not the one encoding of an element of the prime-order group
   * @throws {TypeError} the second time: one x for two messages gives more than one guess
   */
  finish(theirs: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#isFinished) throw new TypeError("cannot finish an exchange of SPAKE2: it was finished before");
    this.#isFinished = true;
    if (theirs.length === this.message.length && theirs.every((byte, at) => byte === this.message[at])) {
      throw new Spake2Error("reflected", "our own");
    }
    const shared = elementOf(theirs).subtract(this.#blinding).multiply(this.#x);
    return this.#key(theirs.subarray(SIDE_BYTES), shared.toBytes());
  }

  #key(theirs: Uint8Array, shared: Uint8Array): Uint8Array<ArrayBuffer> {
    const hash = sha256.create().update(sha256(this.#password)).update(sha256(this.#idSymmetric));
    const elements = [this.message.subarray(SIDE_BYTES), theirs].sort(byBytes);
    for (const element of elements) hash.update(element);
    return new Uint8Array(hash.update(shared).digest());
  }
}

/**
 * The element of a message, in the group of prime order.
 *
 * @throws {Spake2Error} "malformed"
 */
function elementOf(message: Uint8Array): Element {
  if (message.length !== SPAKE2_MESSAGE_BYTES || message[0] !== SIDE) {
    throw new Spake2Error("malformed", "one of another kind or length");
  }
  const element = pointOf(message.subarray(SIDE_BYTES));
  // An element with a part of small order would show three bits of x; one of nothing else makes K known to everybody.
  if (element === null || element.is0() || !element.isTorsionFree()) {
    throw new Spake2Error("malformed", "an element that is not of the group");
  }
  return element;
}

/** Null if it is no point, or not its one encoding (RFC 8032, 5.1.3). */
function pointOf(encoding: Uint8Array): Element | null {
  try {
    return Point.fromBytes(encoding);
  } catch {
    return null;
  }
}

/** Without the tables that the library makes for its own, which take longer to make than one exchange. */
function base(): Element {
  return Point.fromAffine(Point.BASE.toAffine());
}

function passwordScalar(password: Uint8Array): bigint {
  return scalarOf(hkdf(sha256, password, undefined, PASSWORD_INFO, PASSWORD_SCALAR_BYTES));
}

/** Big-endian, as python-spake2 has it, and not as ed25519 has it. */
function scalarOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toHex()}`) % Point.Fn.ORDER;
}

function byBytes(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return (a[at] ?? 0) - (b[at] ?? 0);
}
