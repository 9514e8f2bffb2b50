/** `postern server manage`. */
import { formatListenAddress } from "../server/knock/listen_address.ts";
import { managePermissions } from "../server/manage/permissions.ts";
import { permissionSet } from "../system/permissions.ts";
import { printFacts } from "./check_summary.ts";
import { logFormat } from "./log_format.ts";
import { manageConfig } from "./manage_config.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Keeps hosts and administrators together until a signal, or says what the data folder holds. */
export async function serverManage(values: OptionValues, invocation: Invocation): Promise<void> {
  const config = manageConfig(values);
  const needed = permissionSet(managePermissions(config));
  const files = { read: [config.folder], write: [config.folder] };
  if (values.flag("check")) {
    requirePermissions(files, invocation, "cannot check the data folder");
    const { checkManageServer } = await import("../server/manage/run.ts");
    const { hosts, admins, invites, addresses } = await checkManageServer(config);
    return printFacts(`the data folder ${config.folder} is good`, [
      ["address", formatListenAddress(config.address)],
      ["reached at", addresses.join(", ")],
      ["hosts", String(hosts)],
      ["administrators", String(admins)],
      ["invitations", String(invites)],
    ], needed);
  }
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  const { runManageServer } = await import("../server/manage/run.ts");
  await runManageServer(config, { logFormat: logFormat(values) });
}
