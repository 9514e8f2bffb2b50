/** `postern commander agent trust`. */
import { AgentFolder } from "../commander/agent/agent_folder.ts";
import { trustPermissions } from "../commander/agent/permissions.ts";
import { trustAdministrator } from "../commander/agent/trust.ts";
import { absolutePath } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import type { OptionValues } from "./parse.ts";
import { type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice } from "./terminal.ts";

/** Pins an administrator's key in agent.toml, and says which. */
export async function commanderAgentTrust(values: OptionValues, invocation: Invocation): Promise<void> {
  const folder = new AgentFolder(absolutePath(values.requiredText("dir")));
  requirePermissions(
    permissionSet(trustPermissions(folder.path)),
    invocation,
    "cannot trust an administrator",
  );
  const [operand = ""] = values.operands;
  const trusted = await trustAdministrator(folder, operand);
  const { admin: { name }, fingerprint, wasTrusted, replaced } = trusted;
  if (wasTrusted) return printNotice(`${name} was trusted before, with the key ${fingerprint}`);
  printNotice(`trusted: ${name} with the key ${fingerprint}`);
  if (replaced !== null) {
    printNotice(`warning: the key ${replaced}, which had this name, is not trusted any more`);
  }
  printNotice("compare it with what the administrator's postern client identity prints");
}
