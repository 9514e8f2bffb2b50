/** What a receiver keeps of a pairing, to go on with it and never to guess with the same code again. */
import { sha256 } from "@noble/hashes/sha2.js";

/** Longest form of a pairing, in bytes. */
export const MAX_PAIRING_BYTES: number = 64 * 1024;
/** A pairing is of no use after a week: the other side has forgotten it by then. */
export const PAIRING_MAX_AGE_MS: number = 7 * 24 * 60 * 60 * 1000;
const VERSION = 1;
const LABEL = "postern transfer 1 received code ";
const STATES = ["spent", "proven", "finished"] as const;
const HEX_32_BYTES = /^[0-9a-f]{64}$/;
const FIELDS = ["code", "secret", "state", "target", "timeMs", "version"].join(" ");

/**
 * How far it has come:
 * - `spent`: our confirmation was sent or may have been; whether the other side knows the code, nobody can tell
 * - `proven`: the other side knows the code
 * - `finished`: everything was received
 */
export type PairingState = (typeof STATES)[number];

/** One pairing. */
export interface ReceivedPairing {
  /** Of `codeTagOf`. */
  readonly codeTag: string;
  /** 32 bytes. */
  readonly resumeSecret: Uint8Array<ArrayBuffer>;
  /** Absolute path of the folder that is received into. */
  readonly target: string;
  /** When the code was spent, by the wall clock. */
  readonly timeMs: number;
  readonly state: PairingState;
}

/**
 * By which a code is known again without being kept: SHA-256, in hex. Whoever can read it could try all codes; a salted
 * or slow hash would not stop him for long, and what he finds is spent, and lies beside the secret that is worth more.
 *
 * @param code in its one spelling, the `text` of a `TransferCode`
 */
export function codeTagOf(code: string): string {
  return sha256(new TextEncoder().encode(LABEL + code)).toHex();
}

/** A pairing as a file holds it: JSON, one line. */
export function encodePairing(pairing: ReceivedPairing): Uint8Array<ArrayBuffer> {
  const { codeTag, resumeSecret, target, timeMs, state } = pairing;
  const fields = { version: VERSION, code: codeTag, secret: resumeSecret.toHex(), target, timeMs, state };
  return new TextEncoder().encode(`${JSON.stringify(fields)}\n`);
}

/**
 * Reads a pairing.
 *
 * @returns null for anything that `encodePairing` does not give
 */
export function decodePairing(bytes: Uint8Array): ReceivedPairing | null {
  let fields: unknown;
  try {
    fields = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return null;
  }
  if (typeof fields !== "object" || fields === null) return null;
  if (Object.keys(fields).sort().join(" ") !== FIELDS) return null;
  const { version, code, secret, target, timeMs, state } = fields as Record<string, unknown>;
  if (version !== VERSION || !isHex(code) || !isHex(secret)) return null;
  if (typeof target !== "string" || typeof timeMs !== "number" || !isState(state)) return null;
  return { codeTag: code, resumeSecret: Uint8Array.fromHex(secret), target, timeMs, state };
}

/** Whether the other side has forgotten it. One from the future is not: it may be our clock that was set back. */
export function isTooOld({ timeMs }: ReceivedPairing, nowMs: number): boolean {
  return nowMs - timeMs > PAIRING_MAX_AGE_MS;
}

function isHex(value: unknown): value is string {
  return typeof value === "string" && HEX_32_BYTES.test(value);
}

function isState(value: unknown): value is PairingState {
  return STATES.some((state) => state === value);
}
