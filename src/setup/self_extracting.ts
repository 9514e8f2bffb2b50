/**
 * The self-extracting executable:
 *
 *   header    16,384 bytes  POSIX shell, `self_extracting_header.sh` with its values filled in, newlines up to its size
 *   bundles                 of client, server, commander, setup, in this order
 *   runtime                 the Deno package from the npm registry (.tgz), byte for byte
 *
 * The four executables of one target differ in one line of the header, the role; so one of them is enough to make the
 * others out of.
 */
import { writeFileDurably } from "../system/durable_file.ts";
import { Failure } from "../system/failure.ts";
import { INSTALLED_ROLES, type Role } from "./role.ts";

export const HEADER_BYTES = 16_384;
const EXECUTABLE_MODE = 0o755;
/** Of the word after `role=`: every role's line has the same length, by spaces at its end. */
const ROLE_CHARS = Math.max(...INSTALLED_ROLES.map((role) => role.length));
const FORMAT_LINE = "# Postern, self-extracting executable, format 1.";
const ROLE_LINE = new RegExp(`^role=(?=.{${ROLE_CHARS}}$)(${INSTALLED_ROLES.join("|")}) *$`, "m");

const SCRIPT_START = "#!";

/** The line of the header that says which role starts. */
export function roleLine(role: Role): string {
  return `role=${role.padEnd(ROLE_CHARS)}`;
}

/**
 * The role of the self-extracting executable that begins with these bytes; null if they begin none.
 *
 * @param header the first `HEADER_BYTES` of the file, or more
 */
export function roleOfHeader(header: Uint8Array): Role | null {
  if (header.length < HEADER_BYTES) return null;
  const text = headerText(header);
  if (!text.startsWith(`#!/bin/sh\n${FORMAT_LINE}`)) return null;
  const word = ROLE_LINE.exec(text)?.[1];
  return INSTALLED_ROLES.find((role) => role === word) ?? null;
}

/**
 * Whether this file is a self-extracting executable of ours, of whatever role and target.
 *
 * @throws {Deno.errors.NotFound} and the like if it cannot be read
 */
export async function isSelfExtracting(path: string): Promise<boolean> {
  using file = await Deno.open(path);
  const header = new Uint8Array(HEADER_BYTES);
  for (let length = 0; length < HEADER_BYTES;) {
    const read = await file.read(header.subarray(length));
    if (read === null) return false;
    length += read;
  }
  return roleOfHeader(header) !== null;
}

/**
 * Whether `deno compile` made this executable, with one layout baked in: that is a program of the machine, while a
 * self-extracting one begins as a script.
 *
 * @throws {Deno.errors.NotFound} and the like if it cannot be read
 */
export async function isCompiled(path: string): Promise<boolean> {
  using file = await Deno.open(path);
  const start = new Uint8Array(SCRIPT_START.length);
  await file.read(start);
  return headerText(start) !== SCRIPT_START;
}

/**
 * The same file for another role.
 *
 * @throws {Failure} if it is no self-extracting executable
 */
export function withRole(file: Uint8Array, role: Role): Uint8Array<ArrayBuffer> {
  if (roleOfHeader(file) === null) {
    throw new Failure(
      "cannot make another role's executable: found no self-extracting executable to make it from",
    );
  }
  // Bytes outside of ASCII would move the offset, so it is counted in a text with one character a byte.
  const at = headerText(file).search(ROLE_LINE);
  const derived = file.slice();
  derived.set(new TextEncoder().encode(roleLine(role)), at);
  return derived;
}

/**
 * Writes the executable of another role (or the same) of the same target and version: what `deno task compile` would
 * have built for it, byte for byte. Whoever reads `toPath` finds the old file or the whole new one.
 *
 * @param mode of the new file
 * @throws {Failure} if `fromPath` is no self-extracting executable, or `toPath` cannot be written
 */
export async function deriveRole(
  fromPath: string,
  role: Role,
  toPath: string,
  mode = EXECUTABLE_MODE,
): Promise<void> {
  await writeFileDurably(toPath, withRole(await Deno.readFile(fromPath), role), { mode });
}

/** One character a byte: what follows the header is no text, and must not be taken for a part of one. */
function headerText(file: Uint8Array): string {
  return new TextDecoder("latin1").decode(file.subarray(0, HEADER_BYTES));
}
