/** `postern server [knock]`. */
import { loadServerConfig, type ServerConfig } from "../server/knock/config.ts";
import { OPEN_GRANT } from "../server/knock/grants.ts";
import { readKeyFolder } from "../server/knock/keys.ts";
import { formatListenAddress } from "../server/knock/listen_address.ts";
import { serverPermissions } from "../server/knock/permissions.ts";
import { runServer } from "../server/knock/run.ts";
import { lookAtStateFolder } from "../server/knock/state_folder.ts";
import { formatKeyId } from "../protocol/knock/key.ts";
import { TomlFields } from "../system/toml_fields.ts";
import { permissionSet } from "../system/permissions.ts";
import { printCheckSummary } from "./check_summary.ts";
import { logFormat } from "./log_format.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Serves until a signal, or checks the configuration and says what it means. */
export async function serverKnock(values: OptionValues, invocation: Invocation): Promise<void> {
  const configPath = values.requiredText("config");
  requirePermissions({ read: [configPath] }, invocation, "cannot read the configuration");
  const config = await loadServerConfig(configPath);

  const statusPath = values.text("status");
  const options = {
    logFormat: logFormat(values),
    check: values.flag("check"),
    ...(statusPath === undefined ? {} : { statusPath }),
  };
  const needed = permissionSet(serverPermissions(config, options));
  if (options.check) {
    const read = [config.configDir, config.blocklistDir];
    requirePermissions({ read }, invocation, "cannot check the configuration");
    await runServer(config, options);
    return printCheckSummary(config.configPath, await facts(config, statusPath ?? config.statusPath), needed);
  }
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  await runServer(config, options);
}

async function facts(config: ServerConfig, statusPath: string | null): Promise<[string, string][]> {
  const { keys } = await readKeyFolder(config.configDir);
  const { description } = await lookAtStateFolder(config, statusPath);
  return [
    ["address", formatListenAddress(config.address)],
    ["ips", [...config.ips].join(", ") || "none, so every packet is refused"],
    ["keys", `${config.configDir}/*.key`],
    ...keys.map(({ stem, key }): [string, string] => [
      `key ${stem}`,
      `id ${formatKeyId(key.id)}, ${describeGrant(config, stem)}`,
    ]),
    ["grants", [...config.grants.keys()].join(", ") || "none, so every key may run every command"],
    ["state folder", description],
    ["replay floors", config.floorsPath],
    ["commander socket", config.socketPath],
    ["status file", statusPath ?? "none"],
  ];
}

/** What a key may do, by the names that the file gives the commands. */
function describeGrant(config: ServerConfig, stem: string): string {
  const grant = config.grants.get(stem) ?? OPEN_GRANT;
  if (grant.disabled) return "disabled";
  const names = new TomlFields(config.source).table("keys")?.table(stem)?.texts("allow", "a list of names");
  const may = names === undefined ? "every command" : names.join(", ") || "no command";
  if (grant.notAfterMs === null) return may;
  const end = new Date(grant.notAfterMs).toISOString();
  return `${may}, ${grant.notAfterMs < Date.now() ? `expired at ${end}` : `until ${end}`}`;
}
