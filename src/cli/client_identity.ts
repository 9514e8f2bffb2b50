/** `postern client identity`. */
import { readIdentity } from "../client/manage/identity.ts";
import { manageFolder } from "../client/manage/manage_folder.ts";
import { identityPermissions, manageScope } from "../client/manage/permissions.ts";
import { fingerprint, formatPublicKey } from "../protocol/manage/signing_key.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printExact, printNotice } from "./terminal.ts";

/** Prints NAME:KEY, as `postern commander agent trust` takes it. */
export async function clientIdentity(values: OptionValues, invocation: Invocation): Promise<void> {
  const dir = values.text("dir");
  const folder = manageFolder(dir);
  requireManagePermissions(identityPermissions(manageScope(dir)), invocation, "cannot read your identity");
  const { name } = folder.server();
  const { publicKey } = await readIdentity(folder);
  printExact(`${name}:${formatPublicKey(publicKey)}\n`);
  // What the host and the server show of this key, to be compared by eye.
  printNotice(`its fingerprint is ${fingerprint(publicKey)}`);
}
