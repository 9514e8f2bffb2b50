import { formatCommandHash } from "../../protocol/knock/command_hash.ts";
import type { ForwardMessage } from "../../protocol/knock/forward_message.ts";
import { refusedAddressKind } from "./address_filter.ts";
import type { CommandRunner } from "./command_runner.ts";
import type { CommandSpec } from "./command_spec.ts";
import type { LeaseRunner } from "./lease_runner.ts";
import type { Scheduler } from "./scheduler.ts";

export interface DispatcherOptions {
  readonly commands: readonly CommandSpec[];
  readonly allowNonRoutableIps: boolean;
  readonly scheduler: Scheduler;
  readonly runner: CommandRunner;
  readonly leases: LeaseRunner;
}

/** Turns what the server asks for into a command that runs, or a line in the log that says why not. */
export class Dispatcher {
  readonly #byHash: ReadonlyMap<bigint, CommandSpec>;
  readonly #options: DispatcherOptions;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#byHash = new Map(options.commands.map((spec) => [spec.hash, spec]));
  }

  /** Handles one message; resolves when all it caused is done. */
  async handle(message: ForwardMessage): Promise<void> {
    const { allowNonRoutableIps, scheduler, runner, leases } = this.#options;
    const { ip } = message;
    const spec = this.#byHash.get(message.commandHash);
    if (spec === undefined) {
      runner.refused("unknown_command", { command: `#${formatCommandHash(message.commandHash)}`, ip });
      return;
    }
    const kind = allowNonRoutableIps ? null : refusedAddressKind(ip);
    if (kind !== null) {
      runner.refused("address", { command: spec.name, ip, kind });
      return;
    }
    if (spec.lease !== null) {
      await leases.knock(spec, spec.lease, ip);
      return;
    }
    const admission = scheduler.admit(spec, async () => {
      await runner.runCommand(spec, ip);
    });
    if (admission.refused === null) await admission.done;
    else runner.refused(admission.refused, { command: spec.name, ip });
  }
}
