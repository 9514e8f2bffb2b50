/** The steps of a setup, in order: each says what it would do, and does it. */
import { CHECK_KEY_PATH, SYSUSERS_PATH } from "./layout.ts";
import { configText } from "./config_text.ts";
import { executableStep, unpackStep } from "./executable_steps.ts";
import {
  commandsFile,
  configFile,
  type ExtraFile,
  FOLDERS,
  keyPath,
  newKeyFile,
  plain,
  RUN_FOLDERS,
  SYSCTL_FILE,
  SYSUSERS_FILE,
  TMPFILES_FILE,
  UNIT_FILES,
} from "./installed_files.ts";
import type { Findings, SetupOptions } from "./preflight.ts";
import {
  applySysctlStep,
  type Changes,
  enableStep,
  reloadManager,
  reloadManagerStep,
  startStep,
} from "./service_steps.ts";
import { nameOf } from "../system/path.ts";
import type { PlannedFile, PlannedFolder, Undertaking } from "./undertaking.ts";
import { accountStep } from "./account_step.ts";

/**
 * One step. Whatever it does goes through the undertaking, which writes it down before it is done and knows how to
 * take it back: that is the step's `undo`.
 */
export interface Step {
  readonly name: string;
  /** Why it is needed, for a dry run. */
  readonly why: string;
  /** What is left to do, a line for each act; nothing: the step is done. Changes nothing. */
  plan(): Promise<string[]>;
  apply(): Promise<void>;
  /** What it leaves as it is though it would have written something else. */
  kept?(): Promise<string[]>;
}

/** @param extras manual pages and completions */
export function setupSteps(
  work: Undertaking,
  findings: Findings,
  options: SetupOptions,
  extras: readonly ExtraFile[],
): Step[] {
  const isOffline = work.root !== "/";
  const { addresses, port, executables } = findings;
  const changes: Changes = { keys: false, tried: false };
  return [
    filesStep(work, "account file", `${nameOf(SYSUSERS_PATH)} names the service user`, [SYSUSERS_FILE]),
    accountStep(work),
    foldersStep(work, isOffline ? FOLDERS : [...FOLDERS, ...RUN_FOLDERS]),
    onceStep(
      work,
      "configuration",
      "the server answers for these addresses, on this port",
      addresses === null ? [] : [configFile(configText(addresses, port))],
    ),
    onceStep(work, "commands", "what a knock may run; postern_check proves that it does", [commandsFile()]),
    onceStep(work, "keys", "a first key for a client, and one that proves knocks and can do nothing else", [
      newKeyFile(keyPath(options.keyName)),
      newKeyFile(CHECK_KEY_PATH),
    ], changes),
    executableStep(work, findings, changes),
    ...(executables.unpack ? [unpackStep(work)] : []),
    filesStep(work, "units", "systemd runs server and commander by them", UNIT_FILES, true),
    filesStep(work, "socket folder", "systemd makes it again at each boot", [TMPFILES_FILE]),
    filesStep(work, "receive buffer", "a flood or a pause loses fewer knocks", [SYSCTL_FILE]),
    filesStep(
      work,
      "manuals and completions",
      "man postern, and the tab key",
      extras.map(({ path, text }) => plain(path, text)),
    ),
    enableStep(work),
    ...(isOffline
      ? []
      : [applySysctlStep(work), reloadManagerStep(work), startStep(work, findings, changes)]),
  ];
}

/** Files that are written, and brought up to date as long as nobody else changed them. */
function filesStep(
  work: Undertaking,
  name: string,
  why: string,
  files: readonly PlannedFile[],
  areUnits = false,
): Step {
  async function pending(): Promise<PlannedFile[]> {
    const states = await Promise.all(files.map((file) => work.stateOf(file)));
    return files.filter((_file, i) => states[i] === "missing" || states[i] === "ours, of another version");
  }
  return {
    name,
    why,
    plan: async () =>
      await Promise.all((await pending()).map(async (file) => {
        const isNew = await work.stateOf(file) === "missing";
        return `${isNew ? "write" : "replace by this version's"} ${describe(work, file)}`;
      })),
    async apply(): Promise<void> {
      const files = await pending();
      if (areUnits && work.root === "/") {
        work.onUndoLast("systemd's view of the units", () => reloadManager(work));
        await work.mustRestart(files.map(({ path }) => nameOf(path)));
      }
      for (const file of files) await work.writeFile(file);
    },
    async kept(): Promise<string[]> {
      const states = await Promise.all(files.map((file) => work.stateOf(file)));
      return files.flatMap(({ path }, i) =>
        states[i] === "changed"
          ? [`${work.at(path)} was changed since setup wrote it`]
          : states[i] === "not ours"
          ? [`${work.at(path)} was there before`]
          : []
      );
    },
  };
}

/** Files that are written if they are missing, and never touched again. */
function onceStep(
  work: Undertaking,
  name: string,
  why: string,
  files: readonly PlannedFile[],
  changes?: Changes,
): Step {
  async function pending(): Promise<PlannedFile[]> {
    const states = await Promise.all(files.map((file) => work.stateOf(file)));
    return files.filter((_file, i) => states[i] === "missing");
  }
  return {
    name,
    why,
    plan: async () => (await pending()).map((file) => `write ${describe(work, file)}`),
    async apply(): Promise<void> {
      for (const file of await pending()) {
        await work.writeFile(file);
        if (changes !== undefined) changes.keys = true;
      }
    },
  };
}

function foldersStep(work: Undertaking, folders: readonly PlannedFolder[]): Step {
  async function pending(): Promise<PlannedFolder[]> {
    const found = await Promise.all(folders.map(({ path }) => work.machine.stat(work.at(path))));
    return folders.filter((_folder, i) => found[i] === null);
  }
  return {
    name: "folders",
    why: "configuration, state of each role, and what the executables unpack",
    plan: async () => (await pending()).map((folder) => `make ${describe(work, folder)}`),
    async apply(): Promise<void> {
      for (const folder of await pending()) await work.makeFolder(folder);
    },
  };
}

function describe(work: Undertaking, { path, mode, owner }: PlannedFile | PlannedFolder): string {
  return `${work.at(path)} (${owner}, ${mode.toString(8).padStart(4, "0")})`;
}
