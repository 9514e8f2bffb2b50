/** What the file system answers, as an error of a transfer. */
import { TransferError, type TransferErrorCode } from "../../protocol/transfer/errors.ts";
import { describeError } from "../../system/failure.ts";

/** What some answers mean to a person; the others say it themselves. */
const KNOWN: Readonly<Record<string, readonly [code: TransferErrorCode, found: string]>> = {
  ENOSPC: ["space", "no space is left there"],
  EDQUOT: ["space", "the disk quota is used up"],
  EFBIG: ["space", "the file system takes no file as large as that"],
  EROFS: ["storage", "the file system is read-only"],
  EACCES: ["storage", "the system denies it to this user"],
  EPERM: ["storage", "the system denies it to this user"],
  ENOTDIR: ["storage", "it is no folder"],
  EXDEV: ["storage", "it is on another file system than the target folder"],
  ENAMETOOLONG: ["path", "the name, or the whole path, is longer than the file system takes"],
};

/** And what they mean of the folder that is received into. */
const KNOWN_OF_TARGET: Readonly<Record<string, string>> = {
  EEXIST: "it is no folder",
  ENOTDIR: "what should be a folder on the way there is none",
  ENOENT: "there is no such folder, and the system lets none be made there",
};
/** Act of `storageError` for that folder. */
export const RECEIVE_INTO = "receive into";

/**
 * What was thrown when `path` was worked with, as an error of a transfer; one that is that already stays as it is.
 *
 * @param act what could not be done, as in "write"
 */
export function storageError(act: string, path: string, cause: unknown): TransferError {
  if (cause instanceof TransferError) return cause;
  const ofTarget = act === RECEIVE_INTO ? KNOWN_OF_TARGET[systemCode(cause)] : undefined;
  if (ofTarget !== undefined) {
    return new TransferError("storage", `cannot ${act} ${path}: ${ofTarget}`, { cause });
  }
  const [code, found] = KNOWN[systemCode(cause)] ?? ["storage", unknownProblem(path, cause)];
  return new TransferError(code, `cannot ${act} ${path}: ${found}`, { cause });
}

/** Does what works with `path`; what it throws is told as `storageError` does. */
export async function storing<T>(act: string, path: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(act, path, error);
  }
}

/** The name of the system's error, such as "ENOENT"; empty if it is none. */
export function systemCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}

const KEPT_FOLDERS = /^\/(?:dev|etc|proc|sys)(?:\/|$)/;

function unknownProblem(path: string, cause: unknown): string {
  if (cause instanceof Deno.errors.NotCapable) {
    // No flag for a path helps there.
    if (KEPT_FOLDERS.test(path)) return "it is no folder for files, the runtime keeps programs out of there";
    return `the program lacks the permission, run it with --allow-read=${path} --allow-write=${path}`;
  }
  return describeError(cause);
}
