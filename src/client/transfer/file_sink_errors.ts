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
  EXDEV: ["storage", "it is on another file system than the target folder"],
  ENAMETOOLONG: ["path", "the name, or the whole path, is longer than the file system takes"],
};

/**
 * What was thrown when `path` was worked with, as an error of a transfer; one that is that already stays as it is.
 *
 * @param act what could not be done, as in "write"
 */
export function storageError(act: string, path: string, cause: unknown): TransferError {
  if (cause instanceof TransferError) return cause;
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

function unknownProblem(path: string, cause: unknown): string {
  if (cause instanceof Deno.errors.NotCapable) {
    return `the program lacks the permission, run it with --allow-read=${path} --allow-write=${path}`;
  }
  return describeError(cause);
}
