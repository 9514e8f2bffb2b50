/** The FILES sections of the manual pages, as a machine is set up by default. */
import * as layout from "../setup/layout.ts";
import { type CommandSpec, type Role, roleOf } from "./table.ts";

type FileEntry = readonly [path: string, what: string];

const COUNTER: FileEntry = [
  "~/.config/postern/counter",
  "The last counter used. Another folder is named by POSTERN_CONF_DIR, RUROCO_CONF_DIR or XDG_CONFIG_HOME.",
];
const TRANSFERS: FileEntry = [
  "~/.local/state/postern/transfers",
  "What an interrupted transfer goes on with; dropped after a week. Another folder is named by XDG_STATE_HOME.",
];
const UNFINISHED: FileEntry = [
  "DIR/.postern-*",
  "What has come of a transfer that was interrupted, in the folder that it is received into.",
];
const CONFIG: FileEntry = [layout.CONFIG_PATH, "The configuration of server and commander."];
const KEYS: FileEntry = [
  `${layout.CONFIG_DIR}/*.key`,
  "One key a file; the server accepts the knocks of each.",
];
const COMMANDS: FileEntry = [layout.COMMANDS_PATH, "What a knock runs. The server cannot read it."];
const FLOORS: FileEntry = [
  layout.SERVER_STATE_DIR,
  "The last counter of each key, which keeps a packet from counting twice; and the status file.",
];
const SOCKET: FileEntry = [
  layout.SOCKET_DIR,
  "The socket on which the server tells the commander of a knock.",
];
const LEASES: FileEntry = [
  layout.COMMANDER_STATE_DIR,
  "What is to be undone, and when; it outlives a reboot.",
];
const INSTALLED: readonly FileEntry[] = [
  [`${layout.EXECUTABLE_DIR}/postern-*`, "The executables."],
  [`${layout.UNIT_DIR}/postern-*.service`, "The units of server and commander."],
  [layout.SETUP_STATE_DIR, "What setup made, so that it can be taken away again."],
];

const SERVER = [CONFIG, KEYS, FLOORS, SOCKET];
const COMMANDER = [CONFIG, COMMANDS, SOCKET, LEASES];

/** The files of everything that a role's executable does; null: of all of them. */
export function roleFiles(role: Role | null): readonly FileEntry[] {
  switch (role) {
    case "client":
      return [COUNTER, TRANSFERS, UNFINISHED];
    case "server":
      return SERVER;
    case "commander":
      return COMMANDER;
    case "setup":
      return [CONFIG, KEYS, COMMANDS, FLOORS, LEASES, SOCKET, ...INSTALLED];
    case null:
      return [COUNTER, TRANSFERS, UNFINISHED, CONFIG, KEYS, COMMANDS, FLOORS, LEASES, SOCKET, ...INSTALLED];
  }
}

/** The files of one command. */
export function manFiles(command: CommandSpec): readonly FileEntry[] {
  switch (command.path.join(" ")) {
    case "client gen":
    case "completions":
    case "man":
      return [];
    case "permissions":
      return [CONFIG];
    case "client send":
    case "client connect":
    case "client reseed":
    case "client doctor":
      return [COUNTER];
    case "client share":
      return [TRANSFERS];
    case "client receive":
      return [TRANSFERS, UNFINISHED];
    case "server doctor":
      return SERVER;
    case "commander doctor":
      return COMMANDER;
    case "client update":
      return INSTALLED;
    default:
      return roleFiles(roleOf(command));
  }
}
