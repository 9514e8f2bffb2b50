/**
 * Where everything lies on a machine that was set up: the one list that setup, update and the doctors share.
 * `deploy/config.toml` and the units in `deploy/` name the same places; a test holds them to it.
 */
import type { Role } from "./role.ts";

/** User and group of the server; both have the same name. */
export const SERVICE_USER = "postern";

export const CONFIG_DIR = "/etc/postern";
export const CONFIG_PATH = "/etc/postern/config.toml";
export const COMMANDS_PATH = "/etc/postern/commands.toml";
/** Proves knocks and may run nothing else, so that no user's replay floor is touched. */
export const CHECK_KEY_NAME = "postern-check";
export const CHECK_KEY_PATH = "/etc/postern/postern-check.key";
/** The command that it may run. */
export const CHECK_COMMAND = "postern_check";

/** Replay floors and status file, the server's own. */
export const SERVER_STATE_DIR = "/var/lib/postern";
export const STATUS_PATH = "/var/lib/postern/status.json";
/** Leases, the commander's own. */
export const COMMANDER_STATE_DIR = "/var/lib/postern-commander";
export const SOCKET_DIR = "/run/postern";
/** Runtime and bundles of the self-extracting executables, unpacked by root and read-only for the services. */
export const CACHE_DIR = "/var/cache/postern";

/** What setup made, so that it can be taken away again; and the journal of an update. */
export const SETUP_STATE_DIR = "/var/lib/postern-setup";
export const MANIFEST_PATH = "/var/lib/postern-setup/manifest.json";
/** Held by whoever changes the installation: setup, uninstall, update. */
export const SETUP_LOCK_PATH = "/var/lib/postern-setup/lock";

export const EXECUTABLE_DIR = "/usr/local/bin";
export const UNIT_DIR = "/etc/systemd/system";
export const SERVER_UNIT = "postern-server.service";
export const COMMANDER_UNIT = "postern-commander.service";
export const SYSUSERS_PATH = "/etc/sysusers.d/postern.conf";
export const TMPFILES_PATH = "/etc/tmpfiles.d/postern.conf";
export const SYSCTL_PATH = "/etc/sysctl.d/60-postern.conf";

/** Of what is no program and was not made by the distribution. */
export const SHARE_DIR = "/usr/local/share";
export const MAN_DIR = "/usr/local/share/man/man1";
export const BASH_COMPLETION_DIR = "/usr/local/share/bash-completion/completions";
export const ZSH_COMPLETION_DIR = "/usr/local/share/zsh/site-functions";
export const FISH_COMPLETION_DIR = "/usr/local/share/fish/vendor_completions.d";

export const DEFAULT_PORT = 34_020;

/** Folder that systemd makes when it runs the machine (sd_booted(3)). */
export const SYSTEMD_RUNS_PATH = "/run/systemd/system";

/** `/usr/local/bin/postern-<role>`. */
export function executablePath(role: Role): string {
  return `${EXECUTABLE_DIR}/postern-${role}`;
}

/** `/etc/systemd/system/<unit>`. */
export function unitPath(unit: string): string {
  return `${UNIT_DIR}/${unit}`;
}

/**
 * A path of this list below another root folder, as `--root DIR` asks for.
 *
 * @param root "/" for the running system; an absolute path
 */
export function withRoot(root: string, path: string): string {
  return root === "/" ? path : root.replace(/\/+$/, "") + path;
}
