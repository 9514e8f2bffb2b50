/** Takes away what setup made, and keeps what somebody changed or added since. */
import { describeError, Failure } from "../system/failure.ts";
import { folderOf, isWithin, nameOf } from "../system/path.ts";
import { parseLeasesFile } from "../commander/knock/leases_file.ts";
import { leasesPath } from "../commander/knock/paths.ts";
import { removeAccount } from "./account_step.ts";
import { updatedSha256 } from "./executable_steps.ts";
import {
  COMMANDER_STATE_DIR,
  COMMANDER_UNIT,
  CONFIG_DIR,
  CONFIG_PATH,
  executablePath,
  MANIFEST_PATH,
  SERVER_UNIT,
  SETUP_LOCK_PATH,
  SETUP_STATE_DIR,
  unitPath,
} from "./layout.ts";
import type { Machine } from "./machine.ts";
import { findEntry, type ManifestEntry } from "./manifest.ts";
import { requireInsideRoot } from "./places.ts";
import { readServerConfig } from "./preflight.ts";
import { SYSTEMCTL } from "./programs.ts";
import { INSTALLED_ROLES } from "./role.ts";
import { removeTemporaries, succeeded, Undertaking } from "./undertaking.ts";

export interface UninstallOptions {
  readonly root: string;
  /** Also configuration, keys, state, and the user. */
  readonly purge: boolean;
  readonly dryRun: boolean;
}

export interface UninstallReport {
  /** Lines, in the order in which it was (or would be) done. */
  readonly removed: readonly string[];
  /** What stays, each with its reason. */
  readonly kept: readonly string[];
}

/** Kept by the operator's own files only, unless purged. */
const PRECIOUS: readonly ManifestEntry["kind"][] = ["config", "key", "state"];
const FOLDER_KINDS: readonly ManifestEntry["kind"][] = ["folder", "cache", "state"];
/** By the executable whose place is taken away. */
const ROLE_OF_UNIT = [[SERVER_UNIT, "server"], [COMMANDER_UNIT, "commander"]] as const;

/**
 * Uninstalls. May be run again after a crash, and after an uninstall without `purge`.
 *
 * @throws {Failure} if leases are open, whose doors nobody would close any more
 */
export async function uninstall(machine: Machine, options: UninstallOptions): Promise<UninstallReport> {
  if (machine.uid() !== 0) {
    throw new Failure(`cannot uninstall: running as uid ${machine.uid() ?? "unknown"}, accepted is root`);
  }
  const work = await Undertaking.begin(machine, options.root);
  const home = await machine.stat(work.at(SETUP_STATE_DIR));
  if (home === null) return { removed: [], kept: await unlisted(work) };
  await requireInsideRoot(machine, options.root, work.manifest.entries.map(({ path }) => path));
  await requireNoLeases(work);
  if (options.dryRun) return await new Removal(work, options).run();
  using _lock = await work.lock();
  await machine.settleUpdate(options.root);
  return await new Removal(work, options).run();
}

/** A lease is undone by the commander alone: without it the door that was opened stays open. */
async function requireNoLeases(work: Undertaking): Promise<void> {
  for (const folder of await leaseFolders(work)) {
    const path = work.at(leasesPath(folder));
    const bytes = await work.machine.read(path);
    if (bytes === null) continue;
    const { leases } = parseLeasesFile(path, new TextDecoder().decode(bytes));
    if (leases.length === 0) continue;
    throw new Failure(
      `cannot uninstall: ${
        leases.length === 1 ? "1 lease is" : `${leases.length} leases are`
      } open, and without ` +
        "the commander nobody closes what they opened; accepted is none",
      {
        hint: "wait until they have ended, or: systemctl stop postern-commander, close them by hand, " +
          `remove ${path}, uninstall`,
      },
    );
  }
}

/** The layout's, and the one that the configuration names instead. */
async function leaseFolders(work: Undertaking): Promise<Set<string>> {
  const config = await readServerConfig(work.machine, work.at(CONFIG_PATH)).catch(() => null);
  return new Set([COMMANDER_STATE_DIR, config?.commanderStateDir ?? COMMANDER_STATE_DIR]);
}

/** What is there without a list that says who made it. */
async function unlisted(work: Undertaking): Promise<string[]> {
  const paths = [...INSTALLED_ROLES.map(executablePath), unitPath(SERVER_UNIT), unitPath(COMMANDER_UNIT)];
  const there: string[] = [];
  for (const path of paths) {
    if (await work.machine.stat(work.at(path)) === null) continue;
    there.push(
      `${work.at(path)}: not on a list of what setup made, since ${work.at(MANIFEST_PATH)} is missing`,
    );
  }
  return there;
}

class Removal {
  readonly #work: Undertaking;
  readonly #options: UninstallOptions;
  readonly #removed: string[] = [];
  readonly #kept: string[] = [];
  /** What stays on the list for a later uninstall. */
  readonly #left: ManifestEntry[] = [];

  constructor(work: Undertaking, options: UninstallOptions) {
    this.#work = work;
    this.#options = options;
  }

  async run(): Promise<UninstallReport> {
    if (!this.#work.isListed) return await this.#runUnlisted();
    await this.#stopServices();
    for (const entry of this.#work.manifest.entries.toReversed()) {
      if (!isWithin(SETUP_STATE_DIR, entry.path)) await this.#removeEntry(entry);
    }
    const isRunning = this.#work.root === "/";
    if (isRunning) await this.#act("reload systemd", () => this.#run(["daemon-reload"]));
    await this.#removeUser();
    await this.#removeHome();
    return { removed: this.#removed, kept: this.#kept };
  }

  /** Without the list nothing is removed but what a setup leaves that was killed before it wrote one. */
  async #runUnlisted(): Promise<UninstallReport> {
    const { machine } = this.#work;
    const home = this.#work.at(SETUP_STATE_DIR);
    const names = (await machine.list(home)).filter((name) => name !== nameOf(SETUP_LOCK_PATH));
    const kept = await unlisted(this.#work);
    if (names.length > 0 || kept.length > 0) {
      return { removed: [], kept: [...kept, `${home}: holds no list of what setup made`] };
    }
    if (this.#options.dryRun) return { removed: [`remove ${home}`], kept };
    await this.#removeHome();
    return { removed: this.#removed, kept };
  }

  async #stopServices(): Promise<void> {
    const { machine, root } = this.#work;
    const units = this.#work.manifest.enabled;
    if (root === "/") await this.#stopRunning();
    if (units.length === 0) return;
    const rootArgs = root === "/" ? [] : [`--root=${root}`];
    const enabled: string[] = [];
    for (const unit of units) {
      const { stdout } = await machine.ask(SYSTEMCTL, [...rootArgs, "is-enabled", unit]);
      if (stdout.trim() === "enabled") enabled.push(unit);
    }
    if (enabled.length === 0) return;
    await this.#act(
      `disable ${enabled.join(", ")}`,
      () => this.#run([...rootArgs, "--no-reload", "disable", ...enabled]),
    );
  }

  /** Those whose unit or executable is about to go, also if somebody else enabled them. */
  async #stopRunning(): Promise<void> {
    const { machine, manifest } = this.#work;
    const present: string[] = [];
    for (const [unit, role] of ROLE_OF_UNIT) {
      const isOurs = manifest.enabled.includes(unit) ||
        [unitPath(unit), executablePath(role)].some((path) => findEntry(manifest, path) !== undefined);
      const { stdout } = await machine.ask(SYSTEMCTL, ["is-active", unit]);
      if (isOurs && !["inactive", "unknown", ""].includes(stdout.trim())) present.push(unit);
    }
    if (present.length === 0) return;
    await this.#act(`stop ${present.join(", ")}`, () => this.#run(["stop", ...present]));
    if (this.#options.dryRun) return;
    try {
      // A knock may have been faster than the stop; from here on there is none.
      await requireNoLeases(this.#work);
    } catch (error) {
      await this.#run(["start", ...present]);
      throw error;
    }
    await machine.run(SYSTEMCTL, ["reset-failed", ...present]);
  }

  async #removeEntry(entry: ManifestEntry): Promise<void> {
    const { machine } = this.#work;
    const path = this.#work.at(entry.path);
    if (PRECIOUS.includes(entry.kind) && !this.#options.purge) {
      this.#left.push(entry);
      if (await machine.stat(path) !== null) this.#kept.push(`${path}: ${entry.kind}; --purge removes it`);
      return;
    }
    const isFolder = FOLDER_KINDS.includes(entry.kind);
    if (!this.#options.dryRun && !isFolder) await removeTemporaries(machine, path);
    const info = await machine.stat(path);
    if (info === null) return;
    if (isFolder ? !info.isDirectory : !info.isFile) {
      this.#left.push(entry);
      this.#kept.push(`${path}: no ${isFolder ? "folder" : "file"} any more, so not what setup made`);
      return;
    }
    switch (entry.kind) {
      case "folder":
        return await this.#removeFolder(entry, path);
      case "cache":
      case "state":
        return await this.#act(`remove ${path}`, () => machine.removeTree(path));
      case "config":
      case "key":
        return await this.#act(`remove ${path}`, () => machine.remove(path));
      default: {
        const found = await machine.sha256(path);
        if (found === entry.sha256 || found === entry.replaces || await this.#isUpdated(entry, found)) {
          return await this.#act(`remove ${path}`, () => machine.remove(path));
        }
        this.#left.push(entry);
        this.#kept.push(`${path}: changed since setup wrote it`);
      }
    }
  }

  async #isUpdated(entry: ManifestEntry, found: string): Promise<boolean> {
    const role = INSTALLED_ROLES.find((each) => nameOf(entry.path) === `postern-${each}`);
    return role !== undefined && found === await updatedSha256(this.#work, role);
  }

  async #removeFolder(entry: ManifestEntry, path: string): Promise<void> {
    const { machine } = this.#work;
    if (this.#options.purge && entry.path === CONFIG_DIR) {
      for (const name of await machine.list(path)) {
        // Keys that were added since belong to this server, and to nothing else any more.
        if (name.endsWith(".key") && (await machine.stat(`${path}/${name}`))?.isFile === true) {
          await this.#act(`remove ${path}/${name}`, () => machine.remove(`${path}/${name}`));
        }
      }
    }
    const names = this.#options.dryRun ? [] : await machine.list(path);
    if (names.length === 0) return await this.#act(`remove ${path}`, () => machine.remove(path));
    this.#left.push(entry);
    const isOurs = this.#left.some(({ path: other }) =>
      other !== entry.path && folderOf(other) === entry.path
    );
    if (!isOurs) this.#kept.push(`${path}: holds ${names.slice(0, 5).join(", ")}`);
  }

  async #removeUser(): Promise<void> {
    const made = this.#work.manifest.account;
    if (!made.user && !made.group) return;
    if (!this.#options.purge) {
      this.#kept.push("user postern: keys and state belong to it; --purge removes it");
      return;
    }
    const what = ["user", "group"].filter((each) => each === "user" ? made.user : made.group).join(" and ");
    await this.#act(`remove ${what} postern`, async () => {
      await removeAccount(this.#work, made);
      // One of that name that somebody makes later is not ours.
      await this.#work.rewrite((manifest) => ({ ...manifest, account: { user: false, group: false } }));
    });
  }

  /** The list itself goes last, and only when nothing is left on it. */
  async #removeHome(): Promise<void> {
    if (this.#options.dryRun) return;
    const { machine } = this.#work;
    const home = this.#work.at(SETUP_STATE_DIR);
    const above = this.#work.manifest.entries.filter(({ path }) => isWithin(SETUP_STATE_DIR, path))
      .toReversed();
    const { user, group } = this.#work.manifest.account;
    if (this.#left.length > 0 || user || group) {
      const entries = [...above.toReversed(), ...this.#left.toReversed()];
      await this.#work.rewrite((manifest) => ({ ...manifest, entries, enabled: [], restart: [] }));
      this.#kept.push(`${this.#work.at(MANIFEST_PATH)}: says what is left`);
      return;
    }
    // The journals of updates, and temporary files of all of them; the manifest is the last to go.
    const names = (await machine.list(home)).filter((name) => name !== nameOf(MANIFEST_PATH));
    for (const name of names) await machine.removeTree(`${home}/${name}`);
    await machine.remove(this.#work.at(MANIFEST_PATH));
    await machine.remove(home);
    this.#removed.push(`remove ${home}`);
    for (const { path } of above) {
      if (path === SETUP_STATE_DIR) continue;
      if ((await machine.list(this.#work.at(path))).length === 0) await machine.remove(this.#work.at(path));
    }
  }

  async #run(args: readonly string[]): Promise<void> {
    succeeded(SYSTEMCTL, args, await this.#work.machine.run(SYSTEMCTL, args));
  }

  /** Does it unless this is a dry run; what fails is named, and the rest goes on. */
  async #act(what: string, act: () => Promise<unknown>): Promise<void> {
    try {
      if (!this.#options.dryRun) await act();
      this.#removed.push(what);
    } catch (error) {
      throw new Failure(`could not ${what}: ${describeError(error)}`, {
        cause: error,
        hint: "the rest is still there and on the list: run this again",
      });
    }
  }
}
