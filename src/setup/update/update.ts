/**
 * Replaces the installed executables by those of a signed release.
 *
 *   lock -> take back what was broken off -> manifest, verified -> plan
 *   -> every file downloaded, verified, unpacked -> tried beside the running ones by a knock
 *   -> swap -> services restarted -> knock proven again -> settled
 *
 * Up to the swap nothing that is in use is touched. From there on any failure, also a crash, leads back to the old
 * executables.
 */
import { ownershipOf, requireOwnWriters } from "../../commander/knock/ownership.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { SERVER_UNIT } from "../layout.ts";
import { INSTALLED_ROLES, type Role } from "../role.ts";
import { downloadFile } from "./download.ts";
import { writeRecord } from "./installed.ts";
import { goBack, lockInstallation, recoverUnderLock, type Recovery } from "./recover.ts";
import { type ReleaseLocation, visibleLocation } from "./release_location.ts";
import {
  MAX_MANIFEST_BYTES,
  parseManifest,
  type ReleaseManifest,
  requireCurrent,
} from "./release_manifest.ts";
import { MAX_SIGNATURE_FILE_BYTES, verifyRelease } from "./release_signature.ts";
import { ReleaseSource } from "./release_source.ts";
import { SERVICE_UNITS } from "./services.ts";
import { settle, swapIn, tidy } from "./swap.ts";
import { exists } from "./swap_disk.ts";
import { readJournal, type SwapJournal } from "./swap_journal.ts";
import { installedPath, recordPath, stagedPath, stagingDir, type UpdateLayout } from "./update_layout.ts";
import type { UpdateMachine } from "./update_machine.ts";
import { findExecutables, planUpdate, type Replacement, type UpdatePlan } from "./update_plan.ts";

export interface UpdateOptions {
  readonly from: ReleaseLocation;
  /** undefined: the latest. Checked to be a version. */
  readonly version: string | undefined;
  readonly role: Role | undefined;
  readonly publicKey: Uint8Array<ArrayBuffer>;
  readonly force: boolean;
  readonly skipProof: boolean;
  readonly dryRun: boolean;
  /** Ends it, up to the moment in which the swap begins: that is brought to an end, whichever. */
  readonly signal?: AbortSignal;
}

export interface UpdateReport {
  readonly version: string;
  readonly from: string;
  readonly dryRun: boolean;
  /** In a dry run: that would be. */
  readonly replaced: readonly Replacement[];
  readonly unchanged: readonly Role[];
  readonly restarted: readonly string[];
  /** By a knock on the new executables beside the running ones; by one on the restarted services. */
  readonly provenBefore: boolean;
  readonly provenAfter: boolean;
  /** An earlier update that was broken off, and taken back first. */
  readonly recovered: Recovery | null;
  /** Steps that were left out, each with its reason. */
  readonly notDone: readonly string[];
}

const STAGING_MODE = 0o700;
const GROUP_WRITE = 0o020;
const STATE_DIR_MODE = 0o700;

/** @throws {Failure} saying what failed and in which state the installation is */
export async function update(
  options: UpdateOptions,
  layout: UpdateLayout,
  machine: UpdateMachine,
): Promise<UpdateReport> {
  if (options.dryRun) return await dryRun(options, layout, machine);
  using _lock = await enter(layout, machine.uid);
  const recovered = await recoverUnderLock(layout, machine.disk, machine.services);
  const notDone: string[] = [];
  try {
    await makeStaging(layout);
    const { plan, manifest } = await prepare(options, layout, machine, notDone);
    if (plan.replacements.length === 0) {
      return report(options, plan, { recovered, notDone });
    }
    const isProven = needsProof(plan.replacements.map(({ role }) => role), options, layout);
    await download(plan, options, layout, machine);
    let provenBefore = false;
    if (isProven) {
      const left = await machine.proveBeside({
        serverPath: currentPath("server", plan, layout),
        commanderPath: currentPath("commander", plan, layout),
      });
      notDone.push(...left);
      provenBefore = left.length === 0;
    }
    options.signal?.throwIfAborted();
    const units = await machine.services.running(unitsOf(plan));
    const provenAfter = await exchange(plan, units, isProven, layout, machine, notDone);
    await finish(manifest, layout, machine, notDone);
    return report(options, plan, { recovered, notDone, restarted: units, provenBefore, provenAfter });
  } catch (error) {
    if (error instanceof WayBack) throw error.failure;
    throw new Failure(
      `could not update: ${describeError(error)}; nothing was changed${afterRecovery(recovered)}`,
      {
        hint: error instanceof Failure ? error.hint : undefined,
        cause: error,
      },
    );
  } finally {
    await removeStaging(layout, machine);
  }
}

async function dryRun(
  options: UpdateOptions,
  layout: UpdateLayout,
  machine: UpdateMachine,
): Promise<UpdateReport> {
  const notDone: string[] = [];
  const journal = await readJournalIfAllowed(layout);
  if (journal !== null) notDone.push(`take back the update to ${journal.version} that was broken off`);
  const { plan } = await prepare(options, layout, machine, notDone);
  return report(options, plan, { recovered: null, notDone });
}

/** Everybody may try a dry run, and only root may look into the state folder. */
async function readJournalIfAllowed(layout: UpdateLayout): Promise<SwapJournal | null> {
  try {
    return await readJournal(layout);
  } catch (error) {
    if (error instanceof Failure && error.cause instanceof Deno.errors.PermissionDenied) return null;
    throw error;
  }
}

/** Before anything is downloaded: whoever may not change the installation learns it at once. */
async function enter(layout: UpdateLayout, ownUid: number): Promise<Disposable> {
  try {
    await Deno.mkdir(layout.stateDir, { recursive: true, mode: STATE_DIR_MODE });
  } catch (error) {
    throw notAllowed(layout.stateDir, error);
  }
  await requireOwnFolders(layout, ownUid);
  return await lockInstallation(layout);
}

/** Whoever else may write there could exchange what was verified, or say that an old version was an older one. */
async function requireOwnFolders(layout: UpdateLayout, ownUid: number): Promise<void> {
  requireOwnWriters(layout.stateDir, ownershipOf(await Deno.lstat(layout.stateDir)), ownUid);
  const bin = await Deno.stat(layout.binDir).catch((error: unknown) => {
    throw new Failure(`could not update: no folder ${layout.binDir}`, { cause: error });
  });
  const { uid, mode } = ownershipOf(bin);
  // The group is the machine's own decision: on some Debians it is staff, whose members count as root there.
  requireOwnWriters(layout.binDir, { uid, mode: mode & ~GROUP_WRITE }, ownUid);
}

async function makeStaging(layout: UpdateLayout): Promise<void> {
  try {
    await Deno.mkdir(stagingDir(layout), { mode: STAGING_MODE });
  } catch (error) {
    throw notAllowed(layout.binDir, error);
  }
}

function notAllowed(path: string, error: unknown): Failure {
  return new Failure(`could not write in ${path}`, {
    cause: error,
    hint: error instanceof Deno.errors.PermissionDenied
      ? "run it as root: sudo postern-setup update"
      : undefined,
  });
}

async function removeStaging(layout: UpdateLayout, machine: UpdateMachine): Promise<void> {
  // Not while a swap is unsettled, and never in the way of the failure that is being reported.
  const isSettled = await readJournal(layout).then((journal) => journal === null, () => false);
  if (isSettled) await tidy(layout, machine.disk).catch(() => {});
}

/** Everything that can be found out without a download of an executable. */
async function prepare(
  options: UpdateOptions,
  layout: UpdateLayout,
  machine: UpdateMachine,
  notDone: string[],
): Promise<{ plan: UpdatePlan; manifest: ReleaseManifest }> {
  const installed = await findExecutables(layout, { role: options.role, ownUid: machine.uid });
  await requireProvable([...installed.keys()], options, layout, notDone);
  const manifest = await fetchManifest(options, machine);
  const plan = await planUpdate(manifest, installed, layout, {
    role: options.role,
    force: options.force,
    target: machine.target,
    ownUid: machine.uid,
    ownVersion: machine.version,
    versionOf: (path) => machine.versionOf(path),
  });
  return { plan, manifest };
}

/** Reads, verifies and only then parses; see `docs/wire-formats.md`. */
async function fetchManifest(options: UpdateOptions, machine: UpdateMachine): Promise<ReleaseManifest> {
  const source = new ReleaseSource(options.from, machine.fetchLimits);
  const dir = options.version ?? "latest";
  const bytes = await source.read(`${dir}/manifest.json`, MAX_MANIFEST_BYTES);
  const signature = await source.read(`${dir}/manifest.json.sig`, MAX_SIGNATURE_FILE_BYTES);
  await verifyRelease(bytes, signature, options.publicKey);
  const manifest = parseManifest(bytes);
  if (options.version !== undefined && manifest.version !== options.version) {
    throw new Failure(
      `asked for the release ${options.version}, and the manifest there is that of ${manifest.version}`,
    );
  }
  requireCurrent(manifest, machine.nowMs());
  return manifest;
}

function isService(role: Role): boolean {
  return SERVICE_UNITS.some(([each]) => each === role);
}

function needsProof(roles: readonly Role[], options: UpdateOptions, layout: UpdateLayout): boolean {
  return layout.isRunningSystem && !options.skipProof && roles.some(isService);
}

/** Refuses, before anything is done, what could not be proven afterwards. */
async function requireProvable(
  roles: readonly Role[],
  options: UpdateOptions,
  layout: UpdateLayout,
  notDone: string[],
): Promise<void> {
  if (!roles.some(isService)) return;
  if (!layout.isRunningSystem) notDone.push("restart and prove: this is not the running system");
  else if (options.skipProof) notDone.push("prove a knock: --skip-proof was given");
  if (!needsProof(roles, options, layout)) return;
  const needed = [
    [layout.configPath, "the configuration"],
    [layout.checkKeyPath, "the key that proves knocks"],
    ...["server", "commander"].map((role) => [`${layout.binDir}/postern-${role}`, `the ${role}`]),
  ];
  for (const [path = "", what = ""] of needed) {
    if (await isThere(path)) continue;
    throw new Failure(`could not prove a knock after the update: ${what} is missing: ${path}`, {
      hint: "postern client setup makes it; --skip-proof updates without a proof",
    });
  }
}

/** For a dry run by somebody who may not look, it counts as there. */
async function isThere(path: string): Promise<boolean> {
  try {
    return await exists(path);
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied) return true;
    throw error;
  }
}

async function download(
  plan: UpdatePlan,
  options: UpdateOptions,
  layout: UpdateLayout,
  machine: UpdateMachine,
): Promise<void> {
  const source = new ReleaseSource(options.from, machine.fetchLimits);
  for (const { role, file } of plan.replacements) {
    await downloadFile(source, plan.version, file, stagedPath(layout, role), (now) => {
      options.signal?.throwIfAborted();
      machine.progress(now);
    });
  }
  await machine.disk.syncFolder(stagingDir(layout));
  if (!layout.isRunningSystem) return;
  for (const { role } of plan.replacements) await machine.unpack(stagedPath(layout, role));
}

/** The executable of a role as it will be: the new one, or the installed one if it stays. */
function currentPath(role: Role, plan: UpdatePlan, layout: UpdateLayout): string {
  const isReplaced = plan.replacements.some((each) => each.role === role);
  return isReplaced ? stagedPath(layout, role) : installedPath(layout, role);
}

function unitsOf(plan: UpdatePlan): string[] {
  const replaced = plan.replacements.map(({ role }) => role);
  return SERVICE_UNITS.filter(([role]) => replaced.includes(role)).map(([, unit]) => unit);
}

/** A failure after which the old executables are back, or could not be brought back: it is told as it is. */
class WayBack extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** Swap, restart, proof; all of it or nothing. Tells whether a knock was proven. */
async function exchange(
  plan: UpdatePlan,
  units: readonly string[],
  isProven: boolean,
  layout: UpdateLayout,
  machine: UpdateMachine,
  notDone: string[],
): Promise<boolean> {
  const journal: SwapJournal = {
    format: 1,
    version: plan.version,
    files: plan.replacements.map(({ role, file, oldSha256 }) => ({ role, old: oldSha256, new: file.sha256 })),
    units: [...units],
  };
  const allUnits = SERVICE_UNITS.map(([, unit]) => unit);
  try {
    await swapIn(journal, layout, machine.disk);
    const restartedAtMs = units.includes(SERVER_UNIT) ? machine.nowMs() : null;
    await machine.services.restart(units);
    const runs = isProven && (await machine.services.running(allUnits)).length === allUnits.length;
    if (runs) await machine.proveInstalled(restartedAtMs);
    else if (isProven) notDone.push("prove a knock on the services: they are not running");
    await settle(layout, machine.disk);
    return runs;
  } catch (error) {
    throw new WayBack(await takeBack(error, journal, layout, machine));
  }
}

async function takeBack(
  error: unknown,
  journal: SwapJournal,
  layout: UpdateLayout,
  machine: UpdateMachine,
): Promise<Failure> {
  const what = `could not update to ${journal.version}: ${describeError(error)}`;
  const hint = error instanceof Failure ? error.hint : undefined;
  try {
    const problem = await goBack(journal, layout, machine.disk, machine.services);
    const restarted = journal.units.length === 0
      ? ""
      : problem === null
      ? ", and the services run them again"
      : `, but the services do not run: ${problem}`;
    return new Failure(`${what}; the old executables are in place again${restarted}`, { hint, cause: error });
  } catch (second) {
    return new Failure(`${what}; and the way back failed: ${describeError(second)}`, {
      hint: second instanceof Failure && second.hint !== undefined
        ? second.hint
        : "the same command again goes on with the way back",
      cause: error,
    });
  }
}

/** What is left when the new executables are installed: none of it can fail the update any more. */
async function finish(
  manifest: ReleaseManifest,
  layout: UpdateLayout,
  machine: UpdateMachine,
  notDone: string[],
): Promise<void> {
  const files = Object.fromEntries(INSTALLED_ROLES.flatMap((role) => {
    const file = manifest.files.find((each) => each.role === role && each.target === machine.target);
    return file === undefined ? [] : [[role, file.sha256]];
  }));
  const steps: readonly (readonly [string, () => Promise<void>])[] = [
    [
      `write ${recordPath(layout)}`,
      () => writeRecord(layout, machine.disk, { format: 1, version: manifest.version, files }),
    ],
    ["remove the old executables", () => tidy(layout, machine.disk)],
    ["remove what old executables unpacked", () => machine.removeUnusedCache()],
  ];
  for (const [what, step] of steps) {
    try {
      await step();
    } catch (error) {
      notDone.push(`${what}: ${describeError(error)}`);
    }
  }
}

function report(
  options: UpdateOptions,
  plan: UpdatePlan,
  rest: Partial<UpdateReport> & Pick<UpdateReport, "recovered" | "notDone">,
): UpdateReport {
  return {
    version: plan.version,
    from: visibleLocation(options.from),
    dryRun: options.dryRun,
    replaced: plan.replacements,
    unchanged: plan.unchanged,
    restarted: [],
    provenBefore: false,
    provenAfter: false,
    ...rest,
  };
}

function afterRecovery(recovered: Recovery | null): string {
  return recovered === null
    ? ""
    : `, but that the update to ${recovered.version}, broken off earlier, was taken back`;
}
