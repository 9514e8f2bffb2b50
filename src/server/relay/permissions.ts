/** Exactly what a relay's process needs; the flags of its `deno run` line are made from this. */
import { temporaryPathOf } from "../../system/durable_file.ts";
import type { PermissionGrant } from "../../system/permissions.ts";
import { formatListenAddress } from "../knock/listen_address.ts";
import type { RelayConfig } from "./relay.ts";

/**
 * The listening address, which lets it accept from anyone and connect to nobody; and for the status file alone, three
 * paths. All but these paths are given up once it listens.
 */
export function relayPermissions(
  { address, statusPath }: Pick<RelayConfig, "address" | "statusPath">,
): PermissionGrant[] {
  const net = allow("net", formatListenAddress(address), "--bind", "accept from anyone, connect to nobody");
  if (statusPath === null) return [net];
  const temporary = temporaryPathOf(statusPath);
  return [
    net,
    allow("read", temporary, "--status", "a rename reads what it moves"),
    allow("write", statusPath, "--status", "counters for monitoring"),
    allow("write", temporary, "--status", "counters, before they take the old ones' place"),
  ];
}

function allow(kind: "net" | "read" | "write", scope: string, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}
