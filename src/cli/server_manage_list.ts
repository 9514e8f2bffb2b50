/** `postern server manage list`. */
import { listing, listingLines } from "../server/manage/list.ts";
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printJson, printResult } from "./terminal.ts";

/** Prints hosts, administrators and invitations. */
export async function serverManageList(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  requireManagePermissions(registryPermissions(path), invocation, "cannot list");
  const found = await listing(path);
  if (values.flag("json")) return printJson(found);
  printResult(listingLines(found).map((line) => `${line}\n`).join(""));
}
