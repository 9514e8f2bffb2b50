/** Which executables are installed, and in which version. */
import * as v from "valibot";
import { ownershipOf, requireOwnWriters } from "../../commander/knock/ownership.ts";
import { Failure } from "../../system/failure.ts";
import type { Role } from "../role.ts";
import { hashFile } from "./digest.ts";
import { isReleaseVersion } from "./release_version.ts";
import type { SwapDisk } from "./swap_disk.ts";
import { installedPath, recordPath, type UpdateLayout } from "./update_layout.ts";

export interface InstalledExecutable {
  readonly role: Role;
  readonly path: string;
  readonly sha256: string;
}

/**
 * The installed executable of a role; null if there is none.
 *
 * @param ownUid who else than root may have put it there
 * @throws {Failure} if it is no regular file, or somebody else may write it: it is run to ask for its version, and its
 * place is taken by what root runs
 */
export async function findInstalled(
  layout: UpdateLayout,
  role: Role,
  ownUid: number,
): Promise<InstalledExecutable | null> {
  const path = installedPath(layout, role);
  try {
    const info = await Deno.lstat(path);
    if (!info.isFile) {
      throw new Failure(
        `could not replace ${path}: found a ${info.isSymlink ? "link" : "folder"}, accepted is a file`,
      );
    }
    requireOwnWriters(path, ownershipOf(info), ownUid);
    return { role, path, sha256: (await hashFile(path)).sha256 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error instanceof Failure ? error : new Failure(`could not read ${path}`, { cause: error });
  }
}

const RECORD = v.strictObject({
  format: v.literal(1),
  version: v.pipe(v.string(), v.check(isReleaseVersion)),
  /** SHA-256 of each executable, by role. */
  files: v.record(v.string(), v.string()),
});

/** What the last update installed. A convenience: without it executables are asked for their version. */
export type ReleaseRecord = v.InferOutput<typeof RECORD>;

/** @returns null if there is none that can be read */
export async function readRecord(layout: UpdateLayout): Promise<ReleaseRecord | null> {
  try {
    const result = v.safeParse(RECORD, JSON.parse(await Deno.readTextFile(recordPath(layout))));
    return result.success ? result.output : null;
  } catch {
    return null;
  }
}

export async function writeRecord(
  layout: UpdateLayout,
  disk: SwapDisk,
  record: ReleaseRecord,
): Promise<void> {
  await disk.write(recordPath(layout), new TextEncoder().encode(JSON.stringify(record) + "\n"));
}
