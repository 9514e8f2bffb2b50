/** The files that setup writes as they are: units, accounts, sysctl, and the first configuration. */
import commands from "../../deploy/commands.toml" with { type: "text" };
import sysctl from "../../deploy/sysctl.d/60-postern.conf" with { type: "text" };
import commanderUnit from "../../deploy/systemd/postern-commander.service" with { type: "text" };
import serverUnit from "../../deploy/systemd/postern-server.service" with { type: "text" };
import sysusers from "../../deploy/sysusers.d/postern.conf" with { type: "text" };
import tmpfiles from "../../deploy/tmpfiles.d/postern.conf" with { type: "text" };
import { formatKey, generateKey } from "../protocol/knock/key.ts";
import {
  CACHE_DIR,
  COMMANDER_STATE_DIR,
  COMMANDER_UNIT,
  COMMANDS_PATH,
  CONFIG_DIR,
  CONFIG_PATH,
  SERVER_STATE_DIR,
  SERVER_UNIT,
  SOCKET_DIR,
  SYSCTL_PATH,
  SYSUSERS_PATH,
  TMPFILES_PATH,
  unitPath,
} from "./layout.ts";
import type { PlannedFile, PlannedFolder } from "./undertaking.ts";

/** A text that somebody else makes, such as a manual page. */
export interface ExtraFile {
  readonly path: string;
  readonly text: string;
}

const encoder = new TextEncoder();
const PUBLIC_MODE = 0o644;
const PRIVATE_MODE = 0o600;
/** The server reads it, and may not change it. */
const KEY_MODE = 0o640;

export const SYSUSERS_FILE = plain(SYSUSERS_PATH, sysusers);
export const SYSCTL_FILE = plain(SYSCTL_PATH, sysctl);
export const UNIT_FILES: readonly PlannedFile[] = [
  plain(unitPath(COMMANDER_UNIT), commanderUnit),
  plain(unitPath(SERVER_UNIT), serverUnit),
];
export const TMPFILES_FILE = plain(TMPFILES_PATH, tmpfiles);

/** Folders of the services; the ones of the running system's memory are made by systemd-tmpfiles at each boot. */
export const FOLDERS: readonly PlannedFolder[] = [
  { path: CONFIG_DIR, kind: "folder", mode: 0o755, owner: "root" },
  { path: SERVER_STATE_DIR, kind: "state", mode: 0o700, owner: "postern" },
  { path: COMMANDER_STATE_DIR, kind: "state", mode: 0o700, owner: "root" },
  { path: CACHE_DIR, kind: "cache", mode: 0o755, owner: "root" },
];
export const RUN_FOLDERS: readonly PlannedFolder[] = [
  { path: SOCKET_DIR, kind: "cache", mode: 0o755, owner: "root" },
];

/** A file of text that everybody may read. */
export function plain(path: string, text: string): PlannedFile {
  return { path, bytes: encoder.encode(text), mode: PUBLIC_MODE, kind: "file", owner: "root" };
}

export function configFile(text: string): PlannedFile {
  return { path: CONFIG_PATH, bytes: encoder.encode(text), mode: PUBLIC_MODE, kind: "config", owner: "root" };
}

export function commandsFile(): PlannedFile {
  return {
    path: COMMANDS_PATH,
    bytes: encoder.encode(commands),
    mode: PRIVATE_MODE,
    kind: "config",
    owner: "root",
  };
}

export function keyPath(name: string): string {
  return `${CONFIG_DIR}/${name}.key`;
}

/** A new key; each call makes another. */
export function newKeyFile(path: string): PlannedFile {
  const bytes = encoder.encode(formatKey(generateKey()));
  return { path, bytes, mode: KEY_MODE, kind: "key", owner: "root:postern" };
}
