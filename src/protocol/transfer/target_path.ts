/**
 * The guard: what becomes of the paths that a peer says. Whatever writes below a target folder gets its names from
 * here, in every branch; a check of its own beside it would be the one that is forgotten.
 *
 * Judged as text, without looking at any file: what may lie on the way there is judged when it is written.
 */
import { TransferError } from "./errors.ts";
import { nameProblem, utf8Bytes } from "./name_rules.ts";

/** Longest path, in bytes of UTF-8. */
export const MAX_PATH_BYTES = 4096;
/** Most names of one path. */
export const MAX_PATH_DEPTH = 100;
/** As much of a path as a message repeats. */
const MAX_SHOWN_CHARS = 200;
/** What a terminal does not show, or acts on. */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/**
 * The names that lead from the target folder to where a peer's path may be written. Nothing is mended: a path is taken
 * as it is, or not at all, so that two paths never become one.
 *
 * @param path as the peer said it, with "/" between the names
 * @returns 1 to 100 names; joined by "/" they are the path
 * @throws {TransferError} `path`
 */
export function targetPath(path: string): readonly string[] {
  // A character is a byte at least: what is far too long is not even encoded.
  if (path.length > MAX_PATH_BYTES || utf8Bytes(path) > MAX_PATH_BYTES) {
    throw refused(path, `more than ${MAX_PATH_BYTES} bytes`);
  }
  if (path.startsWith("/")) throw refused(path, "an absolute path");
  const names = path.split("/");
  if (names.length > MAX_PATH_DEPTH) throw refused(path, `more than ${MAX_PATH_DEPTH} names`);
  for (const name of names) {
    const found = nameProblem(name);
    if (found !== null) throw refused(path, found);
  }
  return names;
}

/** Whether a path has a name that begins with a dot, which file lists leave out and programs read as settings. */
export function isHiddenPath(path: string): boolean {
  return /(?:^|\/)\./.test(path);
}

/** A peer's path as a message may repeat it: in quotes, on one line, not too long, nothing in it invisible. */
export function shownPath(path: string): string {
  const shown = path.length > MAX_SHOWN_CHARS ? `${path.slice(0, MAX_SHOWN_CHARS)}...` : path;
  return JSON.stringify(shown).replace(UNSHOWN, escaped);
}

function escaped(character: string): string {
  return [...Array(character.length).keys()]
    .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");
}

function refused(path: string, found: string): TransferError {
  return new TransferError(
    "path",
    `cannot accept the path ${
      shownPath(path)
    }: found ${found}, accepted are names that are safe on every system, ` +
      'with "/" between them',
  );
}
