/** `postern server manage audit`. */
import {
  auditLine,
  auditObject,
  auditRows,
  verifiedLines,
  verifyAudit,
} from "../server/manage/audit_command.ts";
import { registryPermissions } from "../server/manage/registry_permissions.ts";
import { UsageFailure } from "../system/failure.ts";
import { requireManagePermissions } from "./manage_permissions.ts";
import type { OptionValues } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { exit, EXIT_FAILED, jsonLine, printJson, printNotice, printResult } from "./terminal.ts";

/** Prints the newest rows or, with --verify, whether the chain holds; ends with 1 if it does not. */
export async function serverManageAudit(values: OptionValues, invocation: Invocation): Promise<void> {
  const path = values.requiredText("dir");
  const headFile = values.text("head");
  if (headFile !== undefined && !values.flag("verify")) {
    throw new UsageFailure("cannot use option --head: accepted only with --verify");
  }
  requireManagePermissions(registryPermissions(path, headFile), invocation, "cannot read the audit");
  if (values.flag("verify")) return await verify(path, headFile ?? null, values.flag("json"));
  const rows = await auditRows(path, values.number("limit"));
  printResult(
    values.flag("json")
      ? rows.map((row) => jsonLine(auditObject(row))).join("")
      : rows.map((row) => `${auditLine(row)}\n`).join(""),
  );
}

async function verify(path: string, headFile: string | null, asJson: boolean): Promise<void> {
  const verified = await verifyAudit(path, headFile);
  const lines = verifiedLines(verified);
  if (asJson) printJson(verified);
  else if (verified.sound) printResult(lines.map((line) => `${line}\n`).join(""));
  if (verified.sound) return;
  for (const line of lines) printNotice(`error: ${line}`);
  exit(EXIT_FAILED);
}
