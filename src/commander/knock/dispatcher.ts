import { formatCommandHash } from "../../protocol/knock/command_hash.ts";
import type { ForwardMessage } from "../../protocol/knock/forward_message.ts";
import { refusedAddressKind } from "./address_filter.ts";
import type { CommandRunner } from "./command_runner.ts";
import type { CommandSpec } from "./command_spec.ts";
import type { LeaseRunner } from "./lease_runner.ts";
import type { Scheduler } from "./scheduler.ts";
import { startOrRefuse } from "./start.ts";

const ROUTABLE_HINT = "allow_non_routable_ips = true in config.toml lets such addresses in";

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
  readonly #inHand = new Set<Promise<void>>();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#byHash = new Map(options.commands.map((spec) => [spec.hash, spec]));
  }

  /** Handles one message; resolves when all it caused is done. */
  async handle(message: ForwardMessage): Promise<void> {
    const handling = this.#handle(message);
    this.#inHand.add(handling);
    try {
      await handling;
    } finally {
      this.#inHand.delete(handling);
    }
  }

  /** Resolves as soon as every message so far is handled. */
  async whenIdle(): Promise<void> {
    while (this.#inHand.size > 0) await Promise.allSettled(this.#inHand);
  }

  async #handle(message: ForwardMessage): Promise<void> {
    const { allowNonRoutableIps, runner, leases } = this.#options;
    const { ip } = message;
    const spec = this.#byHash.get(message.commandHash);
    if (spec === undefined) {
      runner.refused("unknown_command", { command: `#${formatCommandHash(message.commandHash)}`, ip });
      return;
    }
    const kind = allowNonRoutableIps ? null : refusedAddressKind(ip);
    if (kind !== null) {
      runner.refused("address", { command: spec.name, ip, kind, hint: ROUTABLE_HINT });
      return;
    }
    if (spec.lease !== null) {
      await leases.knock(spec, spec.lease, ip);
      return;
    }
    await startOrRefuse(this.#options, spec, ip, () => runner.runCommand(spec, ip));
  }
}
