/** What an update would do: which executables it replaces, and whether it may. */
import { Failure } from "../../system/failure.ts";
import { INSTALLED_ROLES, type Role } from "../role.ts";
import { findInstalled, type InstalledExecutable, readRecord } from "./installed.ts";
import { type ReleaseFile, releaseFile, type ReleaseManifest } from "./release_manifest.ts";
import { compareVersions } from "./release_version.ts";
import type { UpdateLayout } from "./update_layout.ts";

/** One executable that is to be replaced or, if there is none, installed. */
export interface Replacement {
  readonly role: Role;
  readonly file: ReleaseFile;
  /** SHA-256 of the installed one; null if there is none. */
  readonly oldSha256: string | null;
  /** null if it could not be found out. */
  readonly oldVersion: string | null;
}

export interface UpdatePlan {
  readonly version: string;
  readonly replacements: readonly Replacement[];
  /** Installed already, to the byte. */
  readonly unchanged: readonly Role[];
}

export interface PlanOptions {
  /** undefined: every one that is installed. */
  readonly role: Role | undefined;
  readonly force: boolean;
  readonly target: string;
  readonly ownUid: number;
  /** Version of this program: what an installed executable counts as that does not tell its own. */
  readonly ownVersion: string;
  /** Asks an executable; null if it does not tell. */
  readonly versionOf: (path: string) => Promise<string | null>;
}

/**
 * The executables an update is for: the named one, or all that are installed.
 *
 * @throws {Failure} if none is installed and none was named
 */
export async function findExecutables(
  layout: UpdateLayout,
  options: Pick<PlanOptions, "role" | "ownUid">,
): Promise<ReadonlyMap<Role, InstalledExecutable | null>> {
  const found = new Map<Role, InstalledExecutable | null>();
  for (const role of options.role === undefined ? INSTALLED_ROLES : [options.role]) {
    const installed = await findInstalled(layout, role, options.ownUid);
    if (installed !== null || options.role !== undefined) found.set(role, installed);
  }
  if (found.size > 0) return found;
  throw new Failure(`could not update: found no postern executable in ${layout.binDir}`, {
    hint: "postern client setup, or name one to install with --role",
  });
}

/** @throws {Failure} if a file is missing in the release, or an installed one is newer and --force was not given */
export async function planUpdate(
  manifest: ReleaseManifest,
  installed: ReadonlyMap<Role, InstalledExecutable | null>,
  layout: UpdateLayout,
  options: PlanOptions,
): Promise<UpdatePlan> {
  const record = await readRecord(layout);
  const replacements: Replacement[] = [];
  const unchanged: Role[] = [];
  for (const [role, old] of installed) {
    const file = releaseFile(manifest, role, options.target);
    if (old === null) {
      replacements.push({ role, file, oldSha256: null, oldVersion: null });
    } else if (old.sha256 === file.sha256) {
      unchanged.push(role);
    } else {
      const isRecorded = record !== null && record.files[role] === old.sha256;
      const oldVersion = isRecorded ? record.version : await options.versionOf(old.path);
      replacements.push({ role, file, oldSha256: old.sha256, oldVersion });
    }
  }
  if (!options.force) refuseDowngrade(manifest.version, replacements, options.ownVersion);
  return { version: manifest.version, replacements, unchanged };
}

/** Also what a server does that holds back new releases, and serves an old one whose signature is still good. */
function refuseDowngrade(version: string, replacements: readonly Replacement[], ownVersion: string): void {
  for (const { role, oldVersion, oldSha256 } of replacements) {
    const old = oldVersion ?? ownVersion;
    if (compareVersions(version, old) >= 0) continue;
    const what = oldSha256 === null || oldVersion === null
      ? `this program is ${old}`
      : `the ${role} is ${old}`;
    throw new Failure(`the release is ${version}, and ${what}: an older version is not installed`, {
      hint: "--force installs it all the same, with the flaws that were mended since",
    });
  }
}
