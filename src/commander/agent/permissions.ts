/** Exactly what the agent's process needs; the flags of its `deno run` line are made from this. */
import { formatPattern, type TargetPattern } from "../../protocol/manage/target_pattern.ts";
import type { PermissionGrant } from "../../system/permissions.ts";
import { SHELL } from "../knock/shell_path.ts";
import type { AgentConfig } from "./agent_config.ts";
import type { AgentServer } from "./agent_folder.ts";
import { PASSWD_PATH } from "./session_account.ts";

/** A range of more ports than these is granted as the whole host. */
const MAX_PORTS = 32;
const FOLDER_WHY = "its key, agent.toml, what it knows of its server, rows of sessions that are over";

/**
 * - net: its servers, and what `forward` of agent.toml allows; a target that the runtime has no word for, such as `*`
 *   or a network of IPv6, takes the whole net. What is added to `forward` later needs a restart.
 * - run: the shell, which starts what sessions run. A session may do whatever its user may, so the other scopes bound
 *   mistakes and what gets in by the link, not what administrators do.
 */
export function agentPermissions(
  folder: string,
  server: Pick<AgentServer, "addresses">,
  config: AgentConfig,
): PermissionGrant[] {
  return [
    ...server.addresses.map((address) => allow("net", address, "server.json", "reach the management server")),
    ...forwardScopes(config.forward).map((scope) =>
      allow("net", scope, "forward", scope === true ? "forwards to anywhere" : "forwards to it")
    ),
    ...configPermissions(folder),
    allow("write", folder, "--dir", FOLDER_WHY),
    ...(config.record === null ? [] : [allow("write", config.record, "record", "recordings of shells")]),
    allow("run", SHELL, "always", "start what sessions run"),
  ];
}

/** To read everything that the others depend on. */
export function configPermissions(folder: string): PermissionGrant[] {
  return [
    allow("read", folder, "--dir", FOLDER_WHY),
    allow("read", PASSWD_PATH, "always", "the user that sessions run as"),
    allow("sys", "uid", "always", "whether it may become the user that sessions run as"),
  ];
}

/** To join, and to trust an administrator. */
export function joinPermissions(folder: string, addresses: readonly string[]): PermissionGrant[] {
  return [
    ...addresses.map((address) => allow("net", address, "the token", "reach the management server")),
    allow("read", folder, "--dir", "whether it has joined already"),
    allow("write", folder, "--dir", "the host's key, agent.toml, what it knows of its server"),
  ];
}

/** To pin an administrator's key. */
export function trustPermissions(folder: string): PermissionGrant[] {
  return [
    allow("read", folder, "--dir", "agent.toml, administrators that were here"),
    allow("write", folder, "--dir", "agent.toml"),
  ];
}

/** Scopes of net for the targets of forwards; `true` alone where one of them can be anywhere. */
export function forwardScopes(patterns: readonly TargetPattern[]): (string | true)[] {
  const scopes = patterns.map(scopesOf);
  return scopes.includes(null) ? [true] : [...new Set(scopes.flatMap((each) => each ?? []))];
}

/** Null where only the whole net would do. */
function scopesOf(pattern: TargetPattern): string[] | null {
  const { host, firstPort, lastPort } = pattern;
  const isNetworkV6 = host.kind === "network" && host.address.includes(":") && host.bits < 128;
  if (host.kind === "any" || isNetworkV6) return null;
  const name = formatPattern({ ...pattern, firstPort: 1, lastPort: 1 }).replace(/:1$/, "");
  const count = lastPort - firstPort + 1;
  if (count > MAX_PORTS) return [name];
  return Array.from({ length: count }, (_, at) => `${name}:${firstPort + at}`);
}

/** What is allowed now and was not granted at the start, so that the runtime still refuses it: `forward ...`, `record`. */
export function newlyAllowed(granted: AgentConfig, now: AgentConfig): string[] {
  const added = newTargets(granted, now).map((target) => `forward ${target}`);
  return now.record === null || now.record === granted.record ? added : [...added, "record"];
}

function newTargets(granted: AgentConfig, now: AgentConfig): string[] {
  const before = forwardScopes(granted.forward);
  if (before.includes(true)) return [];
  return forwardScopes(now.forward).filter((scope) => {
    if (scope === true) return true;
    return !before.includes(scope) && !before.includes(scope.replace(/:[0-9]+$/, ""));
  }).map((scope) => scope === true ? "*:*" : scope);
}

function allow(
  kind: PermissionGrant["kind"],
  scope: string | true,
  from: string,
  why: string,
): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}
