/** `postern commander agent`. */
import { type AgentConfig, configGround, readAgentConfig } from "../commander/agent/agent_config.ts";
import { AgentFolder, type AgentServer } from "../commander/agent/agent_folder.ts";
import { joinServer } from "../commander/agent/join.ts";
import { agentPermissions, configPermissions, joinPermissions } from "../commander/agent/permissions.ts";
import { parseJoinToken } from "../protocol/manage/join_token.ts";
import { formatPattern } from "../protocol/manage/target_pattern.ts";
import { systemRandomBytes, systemTimers } from "../protocol/rpc/timers.ts";
import { describeError } from "../system/failure.ts";
import { absolutePath } from "../system/path.ts";
import { permissionSet } from "../system/permissions.ts";
import { printCheckSummary } from "./check_summary.ts";
import { EndingSignals } from "./ending_signals.ts";
import { givenToken } from "./hidden_line.ts";
import { logFormat } from "./log_format.ts";
import type { OptionValues } from "./parse.ts";
import { enforcePermissions, type Invocation, requirePermissions } from "./permission_audit.ts";
import { printNotice, printResult } from "./terminal.ts";

/** Keeps a link to the server until a signal, joins one, or says what the configuration means. */
export async function commanderAgent(values: OptionValues, invocation: Invocation): Promise<void> {
  const folder = new AgentFolder(absolutePath(values.requiredText("dir")));
  const join = values.text("join");
  if (join !== undefined) return await joinHost(folder, join, invocation);
  requirePermissions(
    permissionSet(configPermissions(folder.path)),
    invocation,
    "cannot read the configuration",
  );
  const server = await folder.readServer();
  const config = await readAgentConfig(folder.configPath, await configGround());
  const needed = permissionSet(agentPermissions(folder.path, server, config));
  if (values.flag("check")) return printCheckSummary(folder.configPath, facts(server, config), needed);
  enforcePermissions(needed, invocation, values.flag("strict-permissions"), printNotice);
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  const { runAgent } = await import("../commander/agent/run.ts");
  await runAgent({ folder, server, config, version, logFormat: logFormat(values) });
}

async function joinHost(folder: AgentFolder, operand: string, invocation: Invocation): Promise<void> {
  const token = await givenToken(operand);
  requirePermissions(
    permissionSet(joinPermissions(folder.path, addressesOf(token))),
    invocation,
    "cannot join",
  );
  using ending = new EndingSignals("could not join");
  const { server, fingerprint } = await joinServer({
    folder,
    token,
    timers: systemTimers,
    random: systemRandomBytes,
    signal: ending.signal,
    onRetry: (error) => printNotice(`no answer yet (${describeError(error)}), trying again`),
  });
  printResult(`joined ${server.addresses.join(", ")} as ${server.name}\n`);
  printNotice(`the key of this host has the fingerprint ${fingerprint}`);
  printNotice(`what may be done here, and by whom, is in ${folder.configPath}`);
  printNotice("what is next:");
  printNotice(`  postern commander agent --dir ${folder.path}`);
}

/** Where the token leads; none where it cannot be read, which joining says better. */
function addressesOf(token: string): readonly string[] {
  try {
    return parseJoinToken(token).addresses;
  } catch {
    return [];
  }
}

function facts(server: AgentServer, config: AgentConfig): [string, string][] {
  const yesOrNo = (isAllowed: boolean): string => isAllowed ? "allowed" : "refused";
  return [
    ["host", server.name],
    ["servers", server.addresses.join(", ")],
    ["shell", yesOrNo(config.shell)],
    ["exec", config.commands.length === 0 ? yesOrNo(config.exec) : `${config.commands.length} commands`],
    ["forward", config.forward.map(formatPattern).join(", ") || "refused"],
    ["sessions run as", config.account.name],
    [
      "administrators",
      config.admins.map(({ name }) => name).join(", ") || "any that the server lets through",
    ],
    ["recordings", config.record ?? "none"],
  ];
}
