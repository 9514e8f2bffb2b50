/**
 * A folder that nobody but this user can look into or put anything into: whoever could, could lead clients to a
 * service of his own, or learn where ours are.
 */
import { DiscoveryError } from "../protocol/rpc/discovery/record_store.ts";
import { describeError } from "../system/failure.ts";

const PRIVATE_FOLDER_MODE = 0o700;
const OTHERS_BITS = 0o077;
const MODE_BITS = 0o7777;

/**
 * Makes the folder if it is missing (its parents too, all 0700) and refuses one that is not ours alone. The mode of a
 * folder that was there is not mended: what others could put there, they may have put there.
 *
 * @throws {DiscoveryError} "store"
 */
export async function openPrivateFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true, mode: PRIVATE_FOLDER_MODE });
  } catch (error) {
    throw refusal(path, notCapable(error, path) ?? `it cannot be made: ${describeError(error)}`, error);
  }
  const found = await look(path);
  // Not followed: a link could be turned to another folder after it was looked at.
  if (!found.isDirectory) throw refusal(path, `it is ${found.isSymlink ? "a symbolic link" : "no folder"}`);
  if (Deno.build.os === "windows") return; // has no modes; a user's profile is private by its access list
  const uid = ownUid();
  if (found.uid !== uid) throw refusal(path, `it belongs to user id ${found.uid}, not to ${uid}`);
  const mode = (found.mode ?? MODE_BITS) & MODE_BITS;
  if ((mode & OTHERS_BITS) !== 0) {
    throw refusal(
      path,
      `its mode is ${mode.toString(8).padStart(4, "0")}, which lets others in; 0700 is accepted`,
    );
  }
}

async function look(path: string): Promise<Deno.FileInfo> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    throw refusal(path, notCapable(error, path) ?? describeError(error), error);
  }
}

function ownUid(): number | null {
  try {
    return Deno.uid();
  } catch (error) {
    throw new DiscoveryError(
      "store",
      "cannot tell whose folder it is: run the program with --allow-sys=uid",
      {
        cause: error,
      },
    );
  }
}

/** All that the folder needs at once: the runtime would name one flag after the other. */
function notCapable(error: unknown, path: string): string | null {
  if (!(error instanceof Deno.errors.NotCapable)) return null;
  return `the program lacks the permission, run it with --allow-read=${path} --allow-write=${path} --allow-sys=uid`;
}

function refusal(path: string, found: string, cause?: unknown): DiscoveryError {
  return new DiscoveryError(
    "store",
    `cannot keep services in ${path}: ${found}`,
    cause === undefined ? {} : { cause },
  );
}
