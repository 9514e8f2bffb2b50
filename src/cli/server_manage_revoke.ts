/** `postern server manage revoke`. */
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { type Revocable, revoke } from "../server/manage/revoke.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Shuts somebody out, or takes an invitation back. */
export async function serverManageRevoke(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  requireManagePermissions(registryPermissions(path), invocation, "cannot revoke");
  const [word, name = ""] = values.operands;
  const kind: Revocable = word === "host" || word === "invite" ? word : "administrator";
  await revoke(path, kind, name);
  printNotice(
    kind === "invite"
      ? `the token for ${name} is worth nothing now`
      : `${name} is shut out; a running server ends its links and sessions within a second`,
  );
}
