/** `postern commander agent`: the process around an agent, its signals, its lock and its permissions. */
import { systemRandomBytes, systemTimers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import { Log, type LogFormat } from "../../system/log.ts";
import { Agent } from "./agent.ts";
import type { AgentConfig } from "./agent_config.ts";
import type { AgentFolder, AgentServer } from "./agent_folder.ts";
import { hostExec } from "./sessions/exec_session.ts";
import { hostForward } from "./sessions/forward_session.ts";
import { keepEnderReady } from "./sessions/session_process.ts";
import { hostShell } from "./sessions/shell_session.ts";

/** What the command line and the folder say. */
export interface AgentRun {
  readonly folder: AgentFolder;
  readonly server: AgentServer;
  readonly config: AgentConfig;
  readonly logFormat: LogFormat;
  /** Of Postern. */
  readonly version: string;
}

/** By the default of a hang-up, which a terminal gives that goes, it would die and leave its sessions behind. */
const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
/** Whole kinds that nothing of an agent needs, whatever was granted. */
const UNUSED_KINDS = ["env", "ffi", "import"] as const;

/**
 * Runs until SIGTERM, SIGINT or SIGHUP, then ends every session, tells the server, and resolves.
 *
 * @throws {Failure} if another agent uses the folder, or it cannot be used
 */
export async function runAgent({ folder, server, config, logFormat, version }: AgentRun): Promise<void> {
  const log = new Log({ role: "agent", format: logFormat });
  const stopAsked = Promise.withResolvers<void>();
  const stop = (): void => stopAsked.resolve();
  for (const signal of SIGNALS) Deno.addSignalListener(signal, stop);
  try {
    await folder.create();
    using _lock = await folder.lock();
    const key = await folder.readKey();
    dropPermissions(log);
    await using _ender = tryToKeepEnder(log);
    const agent = await Agent.start({
      folder,
      server,
      config,
      key,
      version,
      starters: { shell: hostShell, exec: hostExec, forward: hostForward },
      timers: systemTimers,
      random: systemRandomBytes,
      log,
    });
    log.info("agent ready", {
      host: server.name,
      servers: server.addresses.join(" "),
      admins: config.admins.length === 0 ? "any that the server lets through" : config.admins.length,
    });
    await stopAsked.promise;
    await agent.stop();
  } finally {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, stop);
  }
}

function dropPermissions(log: Log): void {
  for (const name of UNUSED_KINDS) {
    const { state } = Deno.permissions.revokeSync({ name });
    if (state === "granted") log.warn("permission could not be given up", { permission: name });
  }
}

/** Without it the agent is of use all the same. */
function tryToKeepEnder(log: Log): AsyncDisposable | null {
  try {
    return keepEnderReady();
  } catch (error) {
    log.error("sessions that take every process cannot be ended", { error: describeError(error) });
    return null;
  }
}
