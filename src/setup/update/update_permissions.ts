/** Exactly what `client update` needs. */
import type { PermissionGrant } from "../../system/permissions.ts";
import { CHECK_KEY_PATH, CONFIG_DIR, CONFIG_PATH, SERVER_STATE_DIR, SYSTEMD_RUNS_PATH } from "../layout.ts";
import { JOURNALCTL } from "../programs.ts";
import { SHELL } from "./child_program.ts";
import { parseReleaseLocation, serverScope } from "./release_location.ts";
import { updateLayout } from "./update_layout.ts";

export interface UpdateScope {
  /** `--from`, as it was typed. */
  readonly from: string;
  /** `--key`, absolute. */
  readonly keyPath?: string;
  /** `--root`, absolute; "/" is the running system. */
  readonly root: string;
  readonly dryRun: boolean;
}

/**
 * - net: the one server that `--from` names; loopback for the proving knocks.
 * - run: the shell, for what is replaced. The runtime makes each file that it may run by name unwritable, and the files that an update
 *   runs are the ones it writes; what they may do is not less by that, since a verified executable runs as root.
 *
 * @throws {UsageFailure} for a `--from` that is refused
 */
export function updatePermissions({ from, keyPath, root, dryRun }: UpdateScope): PermissionGrant[] {
  const layout = updateLayout(root);
  const location = parseReleaseLocation(from);
  const isOffline = !layout.isRunningSystem;
  const read = (scope: string, why: string, decidedBy = "always"): PermissionGrant => ({
    kind: "read",
    access: "allow",
    scope,
    from: decidedBy,
    why,
  });
  const net = (scope: string, why: string, decidedBy = "always"): PermissionGrant => ({
    kind: "net",
    access: "allow",
    scope,
    from: decidedBy,
    why,
  });
  const write = (scope: string, why: string): PermissionGrant => ({
    kind: "write",
    access: "allow",
    scope,
    from: "--root",
    why,
  });
  return [
    location.kind === "server"
      ? net(serverScope(location.base), "fetch manifest and executables", "--from")
      : read(location.path, "manifest and executables of a release in a folder", "--from"),
    ...(keyPath === undefined ? [] : [read(keyPath, "the publisher's public key", "--key")]),
    ...(isOffline ? [read(root, "what is installed there, and whether a link leads out of it", "--root")] : [
      read(layout.binDir, "what is installed, and what was downloaded"),
      read(layout.stateDir, "the journal of an update that was broken off", "--root"),
    ]),
    { kind: "sys", access: "allow", scope: "uid", from: "always", why: "whose files are trusted" },
    ...(isOffline ? [] : [
      read(CONFIG_DIR, "configuration and key of the proving knock"),
      read(SYSTEMD_RUNS_PATH, "whether there are services to restart"),
      {
        kind: "run",
        access: "allow",
        scope: SHELL,
        from: "always",
        why: "systemctl, and the executables: to ask for their version, to unpack and to try them",
      } as const,
      {
        kind: "run",
        access: "allow",
        scope: JOURNALCTL,
        from: "always",
        why: "see the proving command in the commander's log",
      } as const,
    ]),
    ...(dryRun ? [] : [
      write(layout.binDir, "the executables"),
      write(layout.stateDir, "lock, journal and record of the update; the configuration of a trial"),
    ]),
    ...(dryRun || isOffline ? [] : [
      read(
        SERVER_STATE_DIR,
        `the status file that counts a proving knock (${CHECK_KEY_PATH}, ${CONFIG_PATH})`,
      ),
      read(layout.cacheDir, "what executables that are gone have unpacked"),
      write(layout.cacheDir, "remove it"),
      ...["127.0.0.1", "[::1]"].map((host) =>
        net(host, "the proving knock, on whatever port the server has")
      ),
      ...["0.0.0.0:0", "[::]:0"].map((host) => net(host, "the socket that sends it")),
    ]),
  ];
}
