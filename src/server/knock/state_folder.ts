/** What can be said of the server's folders before it starts, without writing into them. */
import { Failure } from "../../system/failure.ts";
import { folderOf } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import { SERVER_USER, type ServerConfig } from "./config.ts";

const WRITABLE_BY_OTHERS = 0o022;
const PERMISSION_BITS = 0o7777;

/** Owner and mode of the state folder, for a summary, and what does not keep the server from starting. */
export interface StateFolder {
  readonly description: string;
  readonly warnings: readonly string[];
}

/**
 * Looks at the folder of the replay floors and that of the status file.
 *
 * @param statusPath null: there is no status file
 * @throws {Failure} if the server could not start: the state folder is missing, or is none
 */
export async function lookAtStateFolder(
  config: ServerConfig,
  statusPath: string | null,
): Promise<StateFolder> {
  const folder = config.blocklistDir;
  const info = await statIfThere(folder);
  if (info?.isDirectory !== true) {
    throw new Failure(
      `cannot keep replay floors in ${folder} (blocklist_dir): found ${
        info === null ? "no such folder" : "no folder"
      }`,
      { hint: `install -d -m 700 -o ${SERVER_USER} ${folder}` },
    );
  }
  const warnings: string[] = [];
  const mode = (info.mode ?? 0) & PERMISSION_BITS;
  const shown = mode.toString(8).padStart(4, "0");
  if ((mode & WRITABLE_BY_OTHERS) !== 0) {
    warnings.push(
      `others may write ${folder} (mode ${shown}), and take the replay floors away: ` +
        `chown ${SERVER_USER} ${folder} && chmod 700 ${folder}`,
    );
  }
  const statusFolder = statusPath === null ? folder : folderOf(statusPath);
  if (
    hasPermission({ name: "read", path: statusFolder }) &&
    (await statIfThere(statusFolder))?.isDirectory !== true
  ) {
    warnings.push(
      `there is no folder for the status file ${statusPath}: install -d -o ${SERVER_USER} ${statusFolder}`,
    );
  }
  return { description: `${folder} (uid ${info.uid}, mode ${shown})`, warnings };
}

async function statIfThere(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new Failure(`cannot look at ${path}`, { cause: error });
  }
}
