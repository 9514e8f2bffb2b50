import type { IpAddress } from "../../protocol/knock/address.ts";
import type { CommandRunner } from "./command_runner.ts";
import type { CommandSpec } from "./command_spec.ts";
import type { Scheduler } from "./scheduler.ts";

/**
 * Runs `task` within the limits of its command, or logs why it is not run.
 *
 * @returns true when it has run
 */
export async function startOrRefuse(
  parts: { readonly scheduler: Scheduler; readonly runner: CommandRunner },
  spec: CommandSpec,
  ip: IpAddress,
  task: () => Promise<void>,
  options: { ignoreCooldown?: boolean } = {},
): Promise<boolean> {
  const admission = parts.scheduler.admit(spec, task, options);
  if (admission.refused === null) {
    const ran = await admission.done;
    if (!ran) parts.runner.dropped(spec.name, ip);
    return ran;
  }
  if (admission.refused === "stopping") parts.runner.dropped(spec.name, ip);
  else parts.runner.refused(admission.refused, { command: spec.name, ip });
  return false;
}
