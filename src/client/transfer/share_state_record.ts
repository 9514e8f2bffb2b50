/** What a share has come to, as it is kept: `share.json`, 0600, replaced as a whole and durably. */
import { Failure } from "../../system/failure.ts";

/** A receiver that is not done. */
export interface KeptPairing {
  /** 32 bytes; what both sides go on with. */
  readonly secret: Uint8Array<ArrayBuffer>;
  /** False: whether it knew the code is not known, as this side was ended in between. */
  readonly isProven: boolean;
}

/** All that is kept of a share but the chunk hashes. */
export interface ShareRecord {
  /** SHA-256 of what is shared, 32 bytes; see `FileList.fingerprint`. */
  readonly fingerprint: Uint8Array<ArrayBuffer>;
  /** When a stream had come to its end, as its offer says, milliseconds since 1970; null for files, which have a time. */
  readonly modifiedMs: number | null;
  /** The code that was told; null: none was. */
  readonly code: string | null;
  /** How many guesses at the code have begun and were not found to be right. */
  readonly openGuesses: number;
  /** How many receivers were let in by it, those that are done included. */
  readonly admitted: number;
  /** Receivers that have begun and are not done. */
  readonly pairings: readonly KeptPairing[];
  /** Earlier codes of this share that were used for a guess. */
  readonly spentCodes: readonly string[];
}

const VERSION = 1;
const FINGERPRINT_BYTES = 32;
const SECRET_BYTES = 32;

/** Of an object that may have any. */
type Fields = { readonly [name in keyof ShareRecord | keyof KeptPairing | "version"]?: unknown };

/** The record as the text of its file. */
export function formatRecord(record: ShareRecord): string {
  const { fingerprint, pairings, ...rest } = record;
  return JSON.stringify({
    version: VERSION,
    fingerprint: fingerprint.toHex(),
    ...rest,
    pairings: pairings.map(({ secret, isProven }) => ({ secret: secret.toHex(), isProven })),
  });
}

/**
 * Reads the text of a record file.
 *
 * @throws {Failure} if it is not what `formatRecord` writes; never with anything of its content
 */
export function parseRecord(text: string): ShareRecord {
  const { fingerprint, modifiedMs, code, openGuesses, admitted, pairings, spentCodes } = fieldsOf(text);
  return {
    fingerprint: hexBytes(fingerprint, FINGERPRINT_BYTES),
    modifiedMs: modifiedMs === null ? null : whole(modifiedMs),
    code: code === null ? null : word(code),
    openGuesses: whole(openGuesses),
    admitted: whole(admitted),
    pairings: list(pairings).map(pairing),
    spentCodes: list(spentCodes).map(word),
  };
}

function fieldsOf(text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable(); // the parser's own error quotes what it read
  }
  const fields = object(value);
  if (fields.version !== VERSION) throw unreadable();
  return fields;
}

function pairing(value: unknown): KeptPairing {
  const { secret, isProven } = object(value);
  if (typeof isProven !== "boolean") throw unreadable();
  return { secret: hexBytes(secret, SECRET_BYTES), isProven };
}

function object(value: unknown): Fields {
  if (typeof value !== "object" || value === null) throw unreadable();
  return { ...value };
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw unreadable();
  return value;
}

function word(value: unknown): string {
  if (typeof value !== "string") throw unreadable();
  return value;
}

function whole(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw unreadable();
  return value;
}

function hexBytes(value: unknown, length: number): Uint8Array<ArrayBuffer> {
  if (typeof value !== "string" || !new RegExp(`^[0-9a-f]{${2 * length}}$`).test(value)) throw unreadable();
  return Uint8Array.fromHex(value);
}

function unreadable(): Failure {
  return new Failure(
    "could not read what was kept of this share: found another form than this version writes",
  );
}
