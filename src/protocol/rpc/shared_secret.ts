/**
 * What both sides of an HMAC handshake hold, and all that is ever computed of it. With
 *
 *   transcript = SHA-256(label, dialler's hello frame, listener's hello frame)
 *
 * a proof is HMAC-SHA256(secret, label of the role, transcript), RFC 2104, and the key of a direction is
 * HKDF-SHA256(secret, salt: transcript, info: label of the direction), RFC 5869. Both hellos hold a fresh nonce, so
 * every transcript is a new one.
 */
import { hkdf } from "@noble/hashes/hkdf.js";
import { hmac as hmacOf } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { RecordKeys } from "../record/sealed_connection.ts";
import type { Role } from "./hello.ts";

/** Shortest secret. Whoever listens in can try secrets at home, so it must not be one that people make up. */
export const MIN_SECRET_BYTES = 16;
/** Length of a proof. */
export const PROOF_BYTES = 32;
const KEY_BYTES = 32;

const TRANSCRIPT = label("handshake 1");
const PROCESS_PROOF = label("process proof 1");
const PROOFS: Readonly<Record<Role, Uint8Array>> = {
  dialler: label("dialler proof 1"),
  listener: label("listener proof 1"),
};
/** By who sends. */
const KEYS: Readonly<Record<Role, Uint8Array>> = {
  dialler: label("dialler to listener 1"),
  listener: label("listener to dialler 1"),
};

/** A secret that shows itself to nobody. */
export class SharedSecret {
  readonly #bytes: Uint8Array;

  /**
   * Takes a copy of the secret.
   *
   * @param secret bytes, or a text that stands for its UTF-8
   * @throws {TypeError} if it has fewer than 16 bytes, or the text has no UTF-8
   */
  constructor(secret: string | Uint8Array) {
    if (typeof secret === "string" && !secret.isWellFormed()) {
      throw new TypeError("cannot use that secret: found a text that has no UTF-8");
    }
    // Not `slice`: that of a Node Buffer copies nothing, and a program that wipes its own would wipe this one.
    const bytes = typeof secret === "string" ? new TextEncoder().encode(secret) : new Uint8Array(secret);
    if (bytes.length < MIN_SECRET_BYTES) {
      throw new TypeError(
        `cannot use that secret: found ${bytes.length} bytes, accepted are at least ${MIN_SECRET_BYTES}, ` +
          "which should be random",
      );
    }
    this.#bytes = bytes;
  }

  /** The proof of a role, 32 bytes. */
  prove(role: Role, transcript: Uint8Array): Uint8Array {
    return hmacOf(sha256, this.#bytes, joined(PROOFS[role], transcript));
  }

  /** Whether that is the proof of a role. */
  accepts(role: Role, transcript: Uint8Array, proof: Uint8Array): boolean {
    return equalInConstantTime(this.prove(role, transcript), proof);
  }

  /** The keys as that role uses them. */
  keys(role: Role, transcript: Uint8Array): RecordKeys {
    const [send, receive] = role === "dialler"
      ? [KEYS.dialler, KEYS.listener]
      : [KEYS.listener, KEYS.dialler];
    return { sending: this.#key(transcript, send), receiving: this.#key(transcript, receive) };
  }

  #key(transcript: Uint8Array, direction: Uint8Array): Uint8Array<ArrayBuffer> {
    return new Uint8Array(hkdf(sha256, this.#bytes, transcript, direction, KEY_BYTES));
  }
}

/** SHA-256 over both hello frames as they travelled, headers included. */
export function transcriptOf(dialler: Uint8Array, listener: Uint8Array): Uint8Array {
  return sha256(joined(TRANSCRIPT, dialler, listener));
}

/** What a process answers that has no secret: proves only that it got the listener's nonce. 32 bytes. */
export function processProof(transcript: Uint8Array): Uint8Array {
  return sha256(joined(PROCESS_PROOF, transcript));
}

/** Compares without telling by its time where the first difference lies. Lengths are no secret. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index++) difference |= (a[index] ?? 0) ^ (b[index] ?? 0);
  return difference === 0;
}

/** Ends in a line feed, which no label has inside: none is the beginning of another. */
function label(words: string): Uint8Array {
  return new TextEncoder().encode(`postern rpc ${words}\n`);
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
