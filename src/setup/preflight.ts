/** All that is looked at before anything is changed: a refusal here leaves the machine as it was. */
import { parseServerConfig, type ServerConfig } from "../server/knock/config.ts";
import { commandHash } from "../protocol/knock/command_hash.ts";
import { Failure } from "../system/failure.ts";
import { parseTomlBytes } from "../system/toml_file.ts";
import { type FoundAddress, parseIps, publicAddresses } from "./addresses.ts";
import { type AccountFindings, examineAccount } from "./account_findings.ts";
import { type ExecutableSource, findExecutables, type RunningProgram } from "./executables.ts";
import { type ExtraFile, FOLDERS, keyPath, RUN_FOLDERS } from "./installed_files.ts";
import {
  CACHE_DIR,
  CHECK_COMMAND,
  CHECK_KEY_NAME,
  CHECK_KEY_PATH,
  COMMANDER_UNIT,
  COMMANDS_PATH,
  CONFIG_PATH,
  DEFAULT_PORT,
  EXECUTABLE_DIR,
  executablePath,
  MANIFEST_PATH,
  SERVER_UNIT,
  SETUP_LOCK_PATH,
  SETUP_STATE_DIR,
  SYSCTL_PATH,
  SYSTEMD_RUNS_PATH,
  SYSUSERS_PATH,
  TMPFILES_PATH,
  unitPath,
  withRoot,
} from "./layout.ts";
import type { Machine, MachineLooks } from "./machine.ts";
import { type Place, requireSoundPlaces } from "./places.ts";
import { DF, SYSTEMCTL, SYSUSERS } from "./programs.ts";
import { INSTALLED_ROLES } from "./role.ts";

export interface SetupOptions {
  /** "/" is the running system. */
  readonly root: string;
  /** The text of `--ips`. */
  readonly ips: string | undefined;
  readonly port: number;
  readonly keyName: string;
  /** The folder of `--from`. */
  readonly from: string | undefined;
  readonly program: RunningProgram;
}

/** What was found, and what follows from it. */
export interface Findings {
  /** null: the configuration that is there says which. */
  readonly addresses: readonly FoundAddress[] | null;
  /** The configuration that is there and stays; null: one is written. */
  readonly config: ServerConfig | null;
  readonly port: number;
  readonly executables: ExecutableSource;
  /** Units that ran before: they run on until the new ones have been proven. */
  readonly active: readonly string[];
  readonly notes: readonly string[];
}

/** Room for the unpacked runtime besides four executables. */
const UNPACKED_BYTES = 250_000_000;
const KEY_NAME_FORMS =
  "1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter, a digit or an underscore";
/** Before this program existed: keys get no first floor then, and a server without one does not start. */
const CREDIBLE_FROM = "2026-01-01";
const RUROCO_PATH = "/etc/ruroco";

/**
 * @param extras further files that will be written
 * @throws {Failure} naming what stands in the way; nothing has been changed
 */
export async function examine(
  machine: Machine,
  options: SetupOptions,
  extras: readonly ExtraFile[] = [],
): Promise<Findings> {
  const { root } = options;
  const isOffline = root !== "/";
  requireKeyName(options.keyName);
  requireRoot(machine);
  await requireSystem(machine, root);
  if (!isOffline) requireCredibleClock(machine);
  const account = await examineAccount(machine, root);
  const placeNotes = await requireSoundPlaces(machine, root, places(options, extras, account));
  const executables = await findExecutables(machine, options.program, options.from);
  const config = await readExistingConfig(machine, root);
  const addresses = config === null ? chooseAddresses(machine, options) : null;
  const port = config?.address.port ?? options.port;
  const active = isOffline ? [] : await activeUnits(machine);
  if (!isOffline && !active.includes(SERVER_UNIT)) requireFreePort(machine, port);
  await requireRoom(machine, root, executables);
  return {
    addresses,
    config,
    port,
    executables,
    active,
    notes: [
      ...await notes(machine, options, addresses, config),
      ...account.notes,
      ...placeNotes,
      ...executables.notes,
    ],
  };
}

function requireKeyName(name: string): void {
  // No dash at the front: it would be an option where the client names its key file.
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name) && name !== CHECK_KEY_NAME) return;
  throw new Failure(`cannot use option --key-name: found "${name}", accepted: ${KEY_NAME_FORMS}`);
}

function requireRoot(machine: Machine): void {
  const uid = machine.uid();
  if (uid === 0) return;
  throw new Failure(`cannot set up a server: running as uid ${uid ?? "unknown"}, accepted is root`, {
    hint: "run it as root: sudo postern-setup setup",
  });
}

async function requireSystem(machine: Machine, root: string): Promise<void> {
  if (root !== "/") {
    if ((await machine.stat(root))?.isDirectory !== true) {
      throw new Failure(`cannot set up the system below ${root}: found no such folder`);
    }
  } else if (await machine.stat(SYSTEMD_RUNS_PATH) === null) {
    throw new Failure("cannot set up a server: found no running systemd, accepted is Linux with systemd", {
      hint: "set it up by hand: docs/deploy.md",
    });
  }
  for (const program of [SYSUSERS, SYSTEMCTL]) {
    if (await machine.stat(program) !== null) continue;
    throw new Failure(`cannot set up a server: found no ${program}, accepted is a system with it`);
  }
}

function requireCredibleClock(machine: Machine): void {
  const now = new Date(machine.nowMs());
  if (now.getTime() >= Date.parse(CREDIBLE_FROM)) return;
  throw new Failure(
    `cannot set up a server: the clock says ${now.toISOString()}, accepted is a time after ${CREDIBLE_FROM}`,
    { hint: "set the clock (timedatectl), or wait until it is synchronised" },
  );
}

/** Everything that is written, or that what is written relies on. */
function places(
  { keyName }: SetupOptions,
  extras: readonly ExtraFile[],
  { uid }: AccountFindings,
): Place[] {
  const folders = [...FOLDERS, ...RUN_FOLDERS].map(({ path, owner }): Place => ({
    path,
    kind: "folder",
    ...(owner === "postern" ? { alsoOwner: uid ?? undefined } : {}),
  }));
  const files = [
    ...[
      MANIFEST_PATH,
      SETUP_LOCK_PATH,
      CONFIG_PATH,
      COMMANDS_PATH,
      SYSUSERS_PATH,
      TMPFILES_PATH,
      SYSCTL_PATH,
    ],
    ...[COMMANDER_UNIT, SERVER_UNIT].map(unitPath),
    ...INSTALLED_ROLES.map(executablePath),
    ...extras.map(({ path }) => path),
  ].map((path): Place => ({ path, kind: "file" }));
  const keys = [keyPath(keyName), CHECK_KEY_PATH].map((path): Place => ({ path, kind: "key" }));
  return [{ path: SETUP_STATE_DIR, kind: "folder" }, ...folders, ...files, ...keys];
}

/** A configuration that is there is never changed; but it must be one that the rest can be made to fit. */
async function readExistingConfig(machine: Machine, root: string): Promise<ServerConfig | null> {
  const path = withRoot(root, CONFIG_PATH);
  const config = await readServerConfig(machine, path);
  if (config === null) return null;
  const commands = await machine.read(withRoot(root, COMMANDS_PATH));
  const problems: string[] = [];
  if (config.grants.get(CHECK_KEY_NAME)?.allow?.has(commandHash(CHECK_COMMAND)) !== true) {
    problems.push(`[keys.${CHECK_KEY_NAME}] with allow = ["${CHECK_COMMAND}"] in ${path}`);
  }
  if (config.statusPath === null || !config.statusPath.endsWith(".json")) {
    problems.push(`a status_file that ends in .json in ${path}`);
  }
  if (commands !== null && !hasCheckCommand(commands)) {
    problems.push(`${CHECK_COMMAND} = "true" below [commands] in ${COMMANDS_PATH}`);
  }
  if (problems.length === 0) return config;
  throw new Failure(
    `cannot prove a knock with the configuration that is there, and it is not mine to change: ` +
      `missing ${problems.join("; ")}`,
    { hint: "add it, and run this again: it makes the key itself" },
  );
}

/** null: there is none. */
export async function readServerConfig(machine: MachineLooks, path: string): Promise<ServerConfig | null> {
  const bytes = await machine.read(path);
  return bytes === null ? null : parseServerConfig(parseTomlBytes(path, bytes));
}

function hasCheckCommand(bytes: Uint8Array): boolean {
  const { table } = parseTomlBytes(COMMANDS_PATH, bytes, { secret: true });
  const commands = table["commands"];
  return typeof commands === "object" && commands !== null && CHECK_COMMAND in commands;
}

function chooseAddresses(machine: Machine, { ips, root }: SetupOptions): FoundAddress[] {
  if (ips !== undefined) return parseIps(ips);
  if (root === "/") return publicAddresses(machine.networkInterfaces());
  throw new Failure(
    "cannot tell under which address clients will reach the system below --root: found no --ips",
    {
      hint: "add --ips ADDRESS",
    },
  );
}

async function activeUnits(machine: Machine): Promise<string[]> {
  const active: string[] = [];
  for (const unit of [COMMANDER_UNIT, SERVER_UNIT]) {
    const { stdout } = await machine.ask(SYSTEMCTL, ["is-active", unit]);
    if (stdout.trim() === "active") active.push(unit);
  }
  return active;
}

function requireFreePort(machine: Machine, port: number): void {
  if (machine.isPortFree(port)) return;
  throw new Failure(
    `cannot listen on UDP port ${port}: another program has it, accepted is a free port`,
    { hint: `see which: ss -ulpn 'sport = :${port}'; or choose another: --port PORT` },
  );
}

async function requireRoom(machine: Machine, root: string, executables: ExecutableSource): Promise<void> {
  // Twice: the old ones stay until the new ones have been proven.
  const need = 2 * 4 * executables.maxBytes + (executables.unpack ? UNPACKED_BYTES : 0);
  for (const folder of [EXECUTABLE_DIR, CACHE_DIR]) {
    const existing = await nearestFolder(machine, withRoot(root, folder));
    const { code, stdout } = await machine.ask(DF, ["--output=avail", "--block-size=1", existing]);
    const available = Number(stdout.trim().split("\n").at(-1));
    // Without an answer there is nothing to refuse for; a full disk is found out and undone later.
    if (code !== 0 || !Number.isSafeInteger(available) || available >= need) continue;
    throw new Failure(
      `cannot install: ${existing} has room for ${megabytes(available)}, accepted are ${
        megabytes(need)
      } or more`,
    );
  }
}

async function nearestFolder(machine: Machine, path: string): Promise<string> {
  let folder = path;
  while (folder !== "/" && await machine.stat(folder) === null) {
    folder = folder.replace(/\/[^/]*$/, "") || "/";
  }
  return folder;
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1_000_000)} MB`;
}

/** Whether `--ips` asks for what is configured, or for nothing. */
function isSame(config: ServerConfig, ips: string | undefined): boolean {
  const wanted = ips === undefined ? [...config.ips] : parseIps(ips).map(({ ip }) => ip);
  return wanted.length === config.ips.size && wanted.every((ip) => config.ips.has(ip));
}

async function notes(
  machine: Machine,
  options: SetupOptions,
  addresses: readonly FoundAddress[] | null,
  config: ServerConfig | null,
): Promise<string[]> {
  const found: string[] = [];
  if (config !== null && !isSame(config, options.ips)) {
    found.push(`--ips is not used: ips in ${config.configPath} says [${[...config.ips].join(", ")}]`);
  }
  if (config !== null && options.port !== config.address.port && options.port !== DEFAULT_PORT) {
    found.push(`--port is not used: ${config.configPath} says ${config.address.port}`);
  }
  const privateOnes = (addresses ?? []).filter(({ privateKind }) => privateKind !== null);
  if (privateOnes.length > 0) {
    const list = privateOnes.map(({ ip, privateKind }) => `${ip} (${privateKind})`).join(", ");
    found.push(
      `allow_non_routable_ips = true is set: ${list} is no public address, so neither are those of its clients, ` +
        "and no command would run for them",
    );
  }
  if (await machine.stat(withRoot(options.root, RUROCO_PATH)) !== null) {
    found.push(
      `found ruroco in ${RUROCO_PATH}: it is left alone; docs/migrate-from-ruroco.md moves its files over`,
    );
  }
  if (options.root !== "/") found.push(`nothing is started and no knock is proven below ${options.root}`);
  return found;
}
