/** `postern server manage invite`. */
import { invite } from "../server/manage/invite.ts";
import { timeText } from "../server/manage/list.ts";
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { printNewKey, printNotice } from "./terminal.ts";

/** Prints a token, alone on standard output. */
export async function serverManageInvite(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  requireManagePermissions(registryPermissions(path), invocation, "cannot invite");
  const [kind, name = ""] = values.operands;
  const role = kind === "host" ? "host" : "administrator";
  const replaces = values.flag("replace");
  const { token, expiresMs, takenBack } = await invite(path, {
    role,
    name,
    tags: values.text("tag")?.split(",").map((tag) => tag.trim()) ?? null,
    lifeMs: values.number("expires"),
    replaces,
  });
  printNewKey(`${token}\n`);
  if (takenBack > 0) printNotice(`an earlier token for ${name} that nobody had used is worth nothing now`);
  printNotice(`good once, until ${timeText(expiresMs)}; whoever has it can join as ${name}`);
  if (replaces) printNotice(`the present ${name} stays until the token is used`);
  const [where, line] = role === "host"
    ? ["on the host", "postern commander agent --join -"]
    : ["on the administrator's machine", "postern client join -"];
  printNotice(`hint: ${where} run this, and paste the token there:`);
  printNotice(`  ${line}`);
}
