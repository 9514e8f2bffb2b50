/** `postern commander [knock]`. */
import { ACCOUNT_FILES } from "../commander/knock/accounts.ts";
import { type CommanderConfig, loadCommanderConfig } from "../commander/knock/config.ts";
import { commanderPermissions } from "../commander/knock/permissions.ts";
import { runCommander } from "../commander/knock/run.ts";
import { SHELL } from "../commander/knock/shell_path.ts";
import { folderOf } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import { printCheckSummary } from "./check_summary.ts";
import { logFormat } from "./log_format.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Runs commands until a signal, or checks the configuration and says what it means. */
export async function commanderKnock(values: OptionValues, invocation: Invocation): Promise<void> {
  const configPath = values.requiredText("config");
  const commandsPath = values.text("commands") ?? `${folderOf(configPath)}/commands.toml`;
  requirePermissions(
    { read: [configPath, commandsPath, ...ACCOUNT_FILES], run: [SHELL] },
    invocation,
    "cannot read the configuration",
  );
  const config = await loadCommanderConfig(configPath, commandsPath);
  const needed = permissionSet(commanderPermissions(config));
  if (values.flag("check")) {
    for (const warning of config.warnings) printNotice(`warning: ${warning}`);
    return printCheckSummary(config.configPath, facts(config), needed);
  }
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  await runCommander(config, { logFormat: logFormat(values) });
}

function facts(config: CommanderConfig): [string, string][] {
  const names = config.commands.map(({ name, lease }) => lease === null ? name : `${name} (undone later)`);
  return [
    ["commands", names.join(", ") || "none"],
    ["from", config.commandsPath],
    ["socket", config.socketPath],
    ["state", config.stateDir],
    ["non-routable addresses", config.allowNonRoutableIps ? "accepted" : "refused"],
  ];
}
