/** The server under examination: what several checks need to know of it, found out once. */
import type { ServerConfig } from "../../server/knock/config.ts";
import { TomlFields } from "../../system/toml_fields.ts";
import { CONFIG_PATH, SERVER_UNIT, SERVICE_USER } from "../layout.ts";
import type { Machine } from "./machine.ts";
import { type Account, AccountBook } from "./owner_words.ts";
import { type UdpSocket, udpSockets } from "./udp_sockets.ts";
import { readUnit, type UnitState } from "./unit_state.ts";

export interface ServerSubject {
  readonly machine: Machine;
  readonly config: ServerConfig;
  /** `--status`, else the configuration's. */
  readonly statusPath: string | null;
  readonly accounts: AccountBook;
  /** Whom the server runs as, or is meant to; null: nobody of that name is known here. */
  readonly user: Account | null;
  /** null: no systemd, or the configuration is not the one that the unit names. */
  readonly unit: UnitState | null;
  /** On the configured port; null: cannot be told. */
  readonly sockets: readonly UdpSocket[] | null;
  /** Whether some process holds the lock of the floors, as a running server does; null: cannot be told. */
  readonly isRunning: boolean | null;
  readonly allowsNonRoutable: boolean;
}

export async function examineServer(
  machine: Machine,
  config: ServerConfig,
  statusPath: string | undefined,
): Promise<ServerSubject> {
  const accounts = await AccountBook.read(machine);
  const unit = config.configPath === CONFIG_PATH ? await readUnit(machine, SERVER_UNIT) : null;
  const sockets = config.address.port === 0
    ? null
    : await nullIfItFails(udpSockets(machine, config.address.port));
  // A lock file that is not there is held by nobody.
  const isRunning = await nullIfItFails(machine.isLocked(config.lockPath).then((held) => held ?? false));
  return {
    machine,
    config,
    statusPath: statusPath ?? config.statusPath,
    accounts,
    user: serverUser(config, accounts, unit, isRunning === true ? sockets : null),
    unit,
    sockets,
    isRunning,
    allowsNonRoutable: new TomlFields(config.source).flag("allow_non_routable_ips") ?? false,
  };
}

/** Who he is by the process itself, else by its unit, else by what the commander's socket is for. */
function serverUser(
  config: ServerConfig,
  accounts: AccountBook,
  unit: UnitState | null,
  running: readonly UdpSocket[] | null,
): Account | null {
  const uid = running?.[0]?.uid;
  if (uid !== undefined) return accounts.find(uid) ?? { name: `uid ${uid}`, uid, gids: new Set() };
  if (unit?.isThere === true) return accounts.find(unit.user === "" ? 0 : unit.user);
  const named = new TomlFields(config.source).text("socket_user")?.trim();
  if (named !== undefined && named !== "") {
    return accounts.find(/^[0-9]+$/.test(named) ? Number(named) : named);
  }
  return accounts.find(SERVICE_USER) ?? accounts.find("ruroco");
}

/** What cannot be looked at here is told as such by the check that is about it. */
async function nullIfItFails<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch {
    return null;
  }
}
