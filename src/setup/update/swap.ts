/**
 * Exchanges the installed executables for verified ones, or puts the old ones back.
 *
 *   journal -> second name for each old file -> fsync -> rename each new file over its name -> fsync
 *   ... services restarted, knock proven ...
 *   journal removed -> fsync                                                     the new ones are installed
 *
 * A rename replaces a name in one step, so under each name there is a whole executable at any moment. Whoever finds
 * the journal, after a crash at any of these steps, goes back: the old files still have their second names, or were
 * not touched. The way back needs no room on the disk and may be broken off and begun again.
 */
import { Failure } from "../../system/failure.ts";
import { hashFile } from "./digest.ts";
import { exists, type SwapDisk } from "./swap_disk.ts";
import { type SwapJournal, writeJournal } from "./swap_journal.ts";
import {
  installedPath,
  journalPath,
  keptPath,
  stagedPath,
  stagingDir,
  type UpdateLayout,
} from "./update_layout.ts";
import { INSTALLED_ROLES } from "../role.ts";

/**
 * Puts the staged files in place. After a failure at any step `rollBack` is called for.
 *
 * @throws what the disk throws
 */
export async function swapIn(journal: SwapJournal, layout: UpdateLayout, disk: SwapDisk): Promise<void> {
  await writeJournal(layout, disk, journal);
  for (const { role, old } of journal.files) {
    if (old !== null) await disk.link(installedPath(layout, role), keptPath(layout, role));
  }
  // Before the first rename, or a power cut could bring back the rename and not the second name.
  await disk.syncFolder(layout.binDir);
  for (const { role } of journal.files) {
    await disk.rename(stagedPath(layout, role), installedPath(layout, role));
  }
  await disk.syncFolder(layout.binDir);
}

/** Ends a swap or a way back: from here on what lies under the names is what is installed. */
export async function settle(layout: UpdateLayout, disk: SwapDisk): Promise<void> {
  // It is not there after a way back from a journal that could not be written.
  if (await exists(journalPath(layout))) await disk.remove(journalPath(layout));
  await disk.syncFolder(layout.stateDir);
}

/**
 * Puts the old executables back. The journal stays, so that a crash before the services are restarted is found;
 * `settle` ends it.
 *
 * @throws {Failure} naming every name under which neither the old file nor its second name was found
 */
export async function rollBack(journal: SwapJournal, layout: UpdateLayout, disk: SwapDisk): Promise<void> {
  const lost: string[] = [];
  for (const file of journal.files) {
    const installed = installedPath(layout, file.role);
    if (file.old === null) {
      if (await hashOf(installed) === file.new) await disk.remove(installed);
      continue;
    }
    const kept = keptPath(layout, file.role);
    if (await hashOf(kept) === file.old) {
      // If both names are the same file still, rename(2) does nothing and says that it worked: `tidy` removes the second.
      await disk.rename(kept, installed);
    } else if (await hashOf(installed) !== file.old) {
      lost.push(installed);
    }
  }
  await disk.syncFolder(layout.binDir);
  if (lost.length === 0) return;
  throw new Failure(`could not put back the old ${lost.join(", ")}: neither name holds what was there`, {
    hint: `somebody changed it meanwhile: install it again, then remove ${journalPath(layout)}`,
  });
}

/** Removes what a swap that is settled, or never began, has left. */
export async function tidy(layout: UpdateLayout, disk: SwapDisk): Promise<void> {
  let removed = 0;
  for (const role of INSTALLED_ROLES) {
    const kept = keptPath(layout, role);
    if (!(await exists(kept))) continue;
    await disk.remove(kept);
    removed++;
  }
  if (await exists(stagingDir(layout))) {
    await disk.removeFolder(stagingDir(layout));
    removed++;
  }
  // An old second name that a power cut brought back would be in the way of the next one.
  if (removed > 0) await disk.syncFolder(layout.binDir);
}

async function hashOf(path: string): Promise<string | null> {
  try {
    return (await Deno.lstat(path)).isFile ? (await hashFile(path)).sha256 : null;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
