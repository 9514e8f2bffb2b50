/** What the commands beside a running server need: its folder, and nothing else. */
import { absolutePath } from "../../system/path.ts";
import type { PermissionGrant } from "../../system/permissions.ts";

/** Of `init`, `invite`, `revoke`, `list`, `rotate-ca` and, with the file of a head, `audit`. */
export function registryPermissions(folder: string, headFile?: string): PermissionGrant[] {
  const path = absolutePath(folder);
  const grants = [
    allow("read", path, "--dir", "keys, certificates and the registry"),
    allow("write", path, "--dir", "the registry with its audit, and what the database keeps beside it"),
  ];
  return headFile === undefined
    ? grants
    : [...grants, allow("read", absolutePath(headFile), "--head", "the head that was kept elsewhere")];
}

function allow(kind: "read" | "write", scope: string, from: string, why: string): PermissionGrant {
  return { kind, access: "allow", scope, from, why };
}
