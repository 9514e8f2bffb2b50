/** Exactly what a management server's process needs; the flags of its `deno run` line are made from this. */
import type { PermissionGrant } from "../../system/permissions.ts";
import { formatListenAddress } from "../knock/listen_address.ts";
import type { ManageConfig } from "./config.ts";

/**
 * The listening address, which lets it accept from anyone and connect to nobody, and is given up once it listens; and
 * the data folder. So a management server that was broken into reaches no host but through the links they made.
 */
export function managePermissions({ folder, address }: ManageConfig): PermissionGrant[] {
  return [
    allow("net", formatListenAddress(address), "--bind", "accept from anyone, connect to nobody"),
    allow("read", folder, "--dir", "keys, certificates, policy.toml and the registry"),
    allow("write", folder, "--dir", "the registry with its audit, and what the database keeps beside it"),
  ];
}

function allow(kind: "net" | "read" | "write", scope: string, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}
