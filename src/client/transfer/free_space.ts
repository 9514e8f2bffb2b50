/** How much room is left on a file system, where the program may ask. */
import { TransferError } from "../../protocol/transfer/errors.ts";
import { hasPermission } from "../../system/permissions.ts";

/** What is free for this user. */
export interface FreeSpace {
  readonly bytes: number;
  /** How many files more; null if the file system has no such limit. */
  readonly files: number | null;
  /** Every file takes a multiple of it. */
  readonly blockBytes: number;
}

/**
 * What is free where a folder lies.
 *
 * @returns null without `--allow-sys=statfs`, and where the system does not tell
 */
export async function freeSpace(folder: string): Promise<FreeSpace | null> {
  if (!hasPermission({ name: "sys", kind: "statfs" })) return null;
  // The only way: the runtime has no function of its own. It loads many modules, so only when it is wanted.
  const { statfs } = await import("node:fs/promises");
  try {
    const { bavail, bsize, files, ffree } = await statfs(folder);
    return { bytes: bavail * bsize, files: files === 0 ? null : ffree, blockBytes: bsize };
  } catch {
    return null; // The writing itself will tell.
  }
}

/**
 * Refuses what cannot fit.
 *
 * @param missing how many bytes of each file are still to be written, for each that is not in its place
 * @throws {TransferError} `space`
 */
export function requireSpace(folder: string, missing: Iterable<number>, free: FreeSpace): void {
  let bytes = 0;
  let files = 0;
  for (const each of missing) {
    bytes += Math.ceil(each / free.blockBytes) * free.blockBytes;
    files++;
  }
  if (bytes > free.bytes) {
    throw new TransferError(
      "space",
      `cannot receive into ${folder}: ${bytes} bytes are still to be written, and ${free.bytes} are free there`,
    );
  }
  if (free.files !== null && files > free.files) {
    throw new TransferError(
      "space",
      `cannot receive into ${folder}: ${files} files are still to be written, and ${free.files} more can be made there`,
    );
  }
}
