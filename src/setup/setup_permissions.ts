/** What `client setup` may do, by what it is asked for. */
import { parseServerConfig } from "../server/knock/config.ts";
import { formatListenAddress, type ListenAddress } from "../server/knock/listen_address.ts";
import { Failure } from "../system/failure.ts";
import { hasPermission, type PermissionGrant } from "../system/permissions.ts";
import { readTomlFile } from "../system/toml_file.ts";
import {
  BASH_COMPLETION_DIR,
  CACHE_DIR,
  COMMANDER_STATE_DIR,
  CONFIG_DIR,
  DEFAULT_PORT,
  EXECUTABLE_DIR,
  FISH_COMPLETION_DIR,
  MAN_DIR,
  SERVER_STATE_DIR,
  SETUP_STATE_DIR,
  SOCKET_DIR,
  SYSCTL_PATH,
  SYSUSERS_PATH,
  TMPFILES_PATH,
  UNIT_DIR,
  ZSH_COMPLETION_DIR,
} from "./layout.ts";
import { DF, GROUPADD, GROUPDEL, JOURNALCTL, SYSCTL, SYSTEMCTL, SYSUSERS, USERDEL } from "./programs.ts";
import { SHELL } from "./update/child_program.ts";

export interface SetupScope {
  /** `--dry-run`: then nothing may be written at all. */
  readonly dryRun: boolean;
  /** `--root`, absolute; "/" is the running system. */
  readonly root: string;
  /** `--port`. @default 34020 */
  readonly port?: number;
  /** Where a server with a configuration that is there already listens. */
  readonly listen?: ListenAddress;
}

/** Folders in which setup creates, replaces and removes files. */
const WRITTEN_DIRS: readonly (readonly [path: string, why: string])[] = [
  [CONFIG_DIR, "configuration, commands and first keys"],
  [SERVER_STATE_DIR, "the server's state folder and its owner"],
  [COMMANDER_STATE_DIR, "the commander's state folder"],
  [SETUP_STATE_DIR, "the list of what was made, to be able to take it away"],
  [CACHE_DIR, "the folder that the executables unpack into"],
  [SOCKET_DIR, "the folder of the commander's socket"],
  [EXECUTABLE_DIR, "the executables"],
  [UNIT_DIR, "the units"],
  [parentOf(SYSUSERS_PATH), "the service user"],
  [parentOf(TMPFILES_PATH), "the socket folder after a boot"],
  [parentOf(SYSCTL_PATH), "the size of the receive buffer"],
  [shareOf(MAN_DIR), "manual pages"],
  [shareOf(BASH_COMPLETION_DIR), "completions for bash"],
  [shareOf(ZSH_COMPLETION_DIR), "completions for zsh"],
  [shareOf(FISH_COMPLETION_DIR), "completions for fish"],
];

/**
 * Where the server of an existing configuration listens, for `listen`.
 *
 * @param configPath below the root
 * @returns undefined if there is none, or none that can be read: setup itself then says what is wrong with it
 */
export async function existingListenAddress(configPath: string): Promise<ListenAddress | undefined> {
  if (!hasPermission({ name: "read", path: configPath })) return undefined;
  try {
    // A pipe would be waited for, for ever.
    if (!(await Deno.stat(configPath)).isFile) return undefined;
    return parseServerConfig(await readTomlFile(configPath)).address;
  } catch (error) {
    if (error instanceof Failure || error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}

/** Everything `client setup` needs, uninstalling included. */
export function setupPermissions(scope: SetupScope): PermissionGrant[] {
  const { dryRun, root } = scope;
  const isOffline = root !== "/";
  const from = isOffline ? "--root" : "always";
  return [
    {
      kind: "read",
      access: "allow",
      scope: true,
      from: "always",
      why: "what is installed already, the executables to install, who owns what",
    },
    ...(dryRun ? [] : writeGrants(root)),
    {
      kind: "sys",
      access: "allow",
      scope: "uid",
      from: "always",
      why: "whether this is root",
    },
    {
      kind: "sys",
      access: "allow",
      scope: "networkInterfaces",
      from: "always",
      why: "the addresses under which clients may reach this machine",
    },
    ...netGrants(scope, isOffline),
    runGrant(DF, from, "whether there is room on the disk"),
    // A dry run asks these for the state of things, and changes nothing through them.
    runGrant(SYSTEMCTL, from, "enable, start and look at the services"),
    ...(dryRun ? [] : [
      runGrant(SYSUSERS, from, "make user and group"),
      runGrant(USERDEL, from, "take the user away again"),
      runGrant(GROUPDEL, from, "take the group away again"),
      runGrant(GROUPADD, from, "give back a group that was there before the user that took it along"),
      // Not by name: the runtime makes each file that it may run by name unwritable, and these are the ones it writes.
      runGrant(
        SHELL,
        from,
        "run the executables it has just written: unpack them, try them beside the running ones",
      ),
    ]),
    ...(dryRun || isOffline ? [] : [
      runGrant(SYSCTL, from, "apply the size of the receive buffer"),
      runGrant(JOURNALCTL, from, "see the proving command in the commander's log"),
    ]),
  ];
}

function writeGrants(root: string): PermissionGrant[] {
  // A tree that is no running system may lack any folder on the way, and all of it was named by the operator.
  if (root !== "/") {
    return [{
      kind: "write",
      access: "allow",
      scope: root,
      from: "--root",
      why: "the system that is set up",
    }];
  }
  return WRITTEN_DIRS.map(([scope, why]) => ({ kind: "write", access: "allow", scope, from: "always", why }));
}

function netGrants(
  { port = DEFAULT_PORT, listen, dryRun }: SetupScope,
  isOffline: boolean,
): PermissionGrant[] {
  if (isOffline) return [];
  const own = listen?.port ?? port;
  const grants = [netGrant(`[::]:${own}`, "address, --port", "try whether the port is free")];
  if (dryRun) return grants;
  const local = "the proving knock, over loopback";
  for (const host of ["0.0.0.0:0", "[::]:0"]) grants.push(netGrant(host, "always", local));
  const trial = "the trial of new executables beside the running ones, on a port that is free";
  grants.push(netGrant("127.0.0.1", "always", `${local}; ${trial}`));
  if (listen !== undefined) grants.push(netGrant(formatListenAddress(listen), "address", local));
  return grants;
}

function netGrant(scope: string, from: string, why: string): PermissionGrant {
  return { kind: "net", access: "allow", scope, from, why };
}

function runGrant(scope: string, from: string, why: string): PermissionGrant {
  return { kind: "run", access: "allow", scope, from, why };
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** `/usr/local/share/NAME` of one of its folders. */
function shareOf(path: string): string {
  return path.split("/").slice(0, 5).join("/");
}
