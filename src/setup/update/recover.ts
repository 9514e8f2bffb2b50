/** Ends an update that was broken off: by a crash, a power cut, a kill. */
import { describeError } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { rollBack, settle, tidy } from "./swap.ts";
import { exists, type SwapDisk, systemDisk } from "./swap_disk.ts";
import { readJournal, type SwapJournal } from "./swap_journal.ts";
import { noServices, type Services, systemServices } from "./services.ts";
import { trialDir, type UpdateLayout, updateLayout } from "./update_layout.ts";
import type { Role } from "../role.ts";

/** What was broken off and taken back. */
export interface Recovery {
  /** That was to be installed. */
  readonly version: string;
  /** Whose old executables are in place again. */
  readonly roles: readonly Role[];
  readonly restarted: readonly string[];
  /** Why the services do not run for all that; null if they do. */
  readonly restartProblem: string | null;
}

/**
 * Takes back an update that was broken off; for setup and doctor, before anything else. Does nothing, and takes no
 * lock, if there was none.
 *
 * @param root "/" is the running system
 * @throws {Failure} if the lock is held (an update is at work), or the old executables cannot be put back
 */
export async function recoverUpdate(root = "/"): Promise<Recovery | null> {
  const layout = updateLayout(root);
  if (await readJournal(layout) === null) return null;
  using _lock = await lockInstallation(layout);
  return await recoverUnderLock(layout, systemDisk, root === "/" ? await systemServices() : noServices);
}

/** The lock of whoever changes the installation. */
export function lockInstallation(layout: UpdateLayout): Promise<Disposable> {
  return acquireLock(layout.lockPath, {
    timeoutMs: 0,
    hint: "another setup or update is at work on this installation; wait until it is done",
    user: "root",
  });
}

/** `recoverUpdate` for the holder of the lock. Also removes what an update that changed nothing has left. */
export async function recoverUnderLock(
  layout: UpdateLayout,
  disk: SwapDisk,
  services: Services,
): Promise<Recovery | null> {
  const journal = await readJournal(layout);
  const problem = journal === null ? null : await goBack(journal, layout, disk, services);
  await tidy(layout, disk);
  if (await exists(trialDir(layout))) await disk.removeFolder(trialDir(layout));
  return journal === null ? null : {
    version: journal.version,
    roles: journal.files.map(({ role }) => role),
    restarted: journal.units,
    restartProblem: problem,
  };
}

/**
 * Puts the old executables back and has the services run them.
 *
 * @returns why a service did not start, which is no reason to go on holding the installation for unsettled: with the
 * old executables in place it has to be looked at by somebody, or replaced by another update
 * @throws {Failure} if the old executables cannot be put back; the journal stays then
 */
export async function goBack(
  journal: SwapJournal,
  layout: UpdateLayout,
  disk: SwapDisk,
  services: Services,
): Promise<string | null> {
  await rollBack(journal, layout, disk);
  // Always: nobody knows how far the broken one came, and a service may run the new executable.
  const problem = await services.restart(journal.units).then(() => null, describeError);
  await settle(layout, disk);
  return problem;
}
