/** The commander under examination: what several checks need to know of it, found out once. */
import { type CommandSpec, parseCommands } from "../../commander/knock/command_spec.ts";
import { DEFAULT_MAX_LEASES } from "../../commander/knock/config.ts";
import { type CommanderPaths, readCommanderPaths } from "../../commander/knock/paths.ts";
import { Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { parseTomlBytes, type TomlSource } from "../../system/toml_file.ts";
import { COMMANDER_UNIT, CONFIG_PATH, SERVICE_USER } from "../layout.ts";
import type { Machine } from "./machine.ts";
import { type Account, AccountBook } from "./owner_words.ts";
import { readUnit, type UnitState } from "./unit_state.ts";

export interface CommanderSubject {
  readonly machine: Machine;
  readonly source: TomlSource;
  readonly paths: CommanderPaths;
  readonly accounts: AccountBook;
  /** null: no systemd, or the configuration is not the one that the unit names. */
  readonly unit: UnitState | null;
  /** Whether some process holds the lock of the socket folder, as a running commander does; null: cannot be told. */
  readonly isRunning: boolean | null;
  /** Whom the commander runs as, or ran as last; root unless something says otherwise. */
  readonly ownUid: number;
  /** Who may connect: the server's user; null: there is nobody of that name. */
  readonly socketUser: Account | null;
  readonly maxLeases: number;
  /** null: the file cannot be read or understood, which its own check tells. */
  readonly commands: readonly CommandSpec[] | null;
}

const COMMANDS_BYTES = 4 * 1024 * 1024;
const MAX_LEASES_RANGE = { min: 1, max: Number.MAX_SAFE_INTEGER };
const ROOT_UID = 0;

export async function examineCommander(
  machine: Machine,
  source: TomlSource,
  commandsPath: string | undefined,
): Promise<CommanderSubject> {
  const fields = new TomlFields(source);
  const paths = readCommanderPaths(source, commandsPath);
  const accounts = await AccountBook.read(machine);
  const unit = paths.configPath === CONFIG_PATH ? await readUnit(machine, COMMANDER_UNIT) : null;
  const lockPath = joinPath(paths.socketDir, "commander.lock");
  return {
    machine,
    source,
    paths,
    accounts,
    unit,
    isRunning: await nullIfDenied(machine.isLocked(lockPath).then((held) => held ?? false)),
    ownUid: await commanderUid(machine, accounts, unit, lockPath),
    socketUser: socketUser(fields, accounts),
    maxLeases: fields.count("max_leases", MAX_LEASES_RANGE) ?? DEFAULT_MAX_LEASES,
    commands: await readCommands(machine, paths.commandsPath),
  };
}

/** `""` leaves the socket to the commander's own user; then nobody else is looked for. */
function socketUser(fields: TomlFields, accounts: AccountBook): Account | null {
  const named = fields.text("socket_user")?.trim();
  if (named === undefined) return accounts.find(SERVICE_USER) ?? accounts.find("ruroco");
  return named === "" ? null : accounts.find(/^[0-9]+$/.test(named) ? Number(named) : named);
}

async function commanderUid(
  machine: Machine,
  accounts: AccountBook,
  unit: UnitState | null,
  lockPath: string,
): Promise<number> {
  if (unit?.isThere === true) return unit.user === "" ? ROOT_UID : accounts.find(unit.user)?.uid ?? ROOT_UID;
  const lock = await nullIfDenied(machine.stat(lockPath));
  return lock?.uid ?? ROOT_UID;
}

async function readCommands(machine: Machine, path: string): Promise<readonly CommandSpec[] | null> {
  try {
    const bytes = await machine.read(path, COMMANDS_BYTES);
    return bytes === null ? null : parseCommands(parseTomlBytes(path, bytes, { secret: true }));
  } catch (error) {
    if (error instanceof Failure || error instanceof Deno.errors.PermissionDenied) return null;
    throw error;
  }
}

async function nullIfDenied<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) return null;
    throw error;
  }
}
