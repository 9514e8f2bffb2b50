/** `postern server [knock]`. */
import { loadServerConfig, type ServerConfig } from "../server/knock/config.ts";
import { formatListenAddress } from "../server/knock/listen_address.ts";
import { runServer, serverPermissions } from "../server/knock/run.ts";
import { printCheckSummary } from "./check_summary.ts";
import { logFormat } from "./log_format.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Serves until a signal, or checks the configuration and says what it means. */
export async function serverKnock(values: OptionValues, invocation: Invocation): Promise<void> {
  const configPath = values.requiredText("config");
  requirePermissions({ read: [configPath] }, "cannot read the configuration");
  const config = await loadServerConfig(configPath);

  const statusPath = values.text("status");
  const options = {
    logFormat: logFormat(values),
    check: values.flag("check"),
    ...(statusPath === undefined ? {} : { statusPath }),
  };
  const needed = serverPermissions(config, options);
  if (options.check) {
    requirePermissions({ read: [config.configDir, config.blocklistDir] }, "cannot check the configuration");
    await runServer(config, options);
    return printCheckSummary(config.configPath, facts(config, statusPath), needed);
  }
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  await runServer(config, options);
}

function facts(config: ServerConfig, statusPath: string | undefined): [string, string][] {
  return [
    ["address", formatListenAddress(config.address)],
    ["ips", [...config.ips].join(", ") || "none, so every packet is refused"],
    ["keys", `${config.configDir}/*.key`],
    ["grants", [...config.grants.keys()].join(", ") || "none, so every key may run every command"],
    ["replay floors", config.floorsPath],
    ["commander socket", config.socketPath],
    ["status file", statusPath ?? config.statusPath ?? "none"],
  ];
}
