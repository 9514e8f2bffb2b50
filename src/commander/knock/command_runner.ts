import type { IpAddress } from "../../protocol/knock/address.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, type LogFields, LogThrottle } from "../../system/log.ts";
import type { CommandSpec } from "./command_spec.ts";
import { Abandoned, type Execute, type ExecutionResult } from "./execute.ts";

/** Why a knock ran nothing. */
export type CommandRefusal =
  | "unknown_command"
  | "address"
  | "cooldown"
  | "queue_full"
  | "max_leases"
  | "stopping";

const REFUSALS_LOGGED = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 64 };

export interface CommandRunnerOptions {
  readonly log: Log;
  readonly execute: Execute;
  readonly home: string;
  readonly monotonicMs: () => number;
  readonly abandon?: AbortSignal;
}

/** Runs shell texts and says in the log what came of it. */
export class CommandRunner {
  readonly #options: CommandRunnerOptions;
  readonly #throttle = new LogThrottle(REFUSALS_LOGGED);

  constructor(options: CommandRunnerOptions) {
    this.#options = options;
  }

  /** True once the commander lets go of what still runs: nothing is to be concluded from a missing result. */
  get abandoned(): boolean {
    return this.#options.abandon?.aborted === true;
  }

  /** Runs the command for one address; true if it succeeded. */
  async runCommand(spec: CommandSpec, ip: IpAddress): Promise<boolean> {
    const { log } = this.#options;
    log.info("command started", { command: spec.name, ip });
    const result = await this.run(spec.name, spec.cmd, ip, spec.timeoutMs);
    if (result === null) return false;
    log.info("command finished", { command: spec.name, ip, ...resultFields(result) });
    return succeeded(result);
  }

  /** Runs any shell text for a command; null if it could not be started, or was left to itself. */
  async run(
    command: string,
    text: string,
    ip: IpAddress,
    timeoutMs: number,
  ): Promise<ExecutionResult | null> {
    const { log, execute, home, abandon } = this.#options;
    try {
      return await execute({ text, ip, timeoutMs, home, ...(abandon === undefined ? {} : { abandon }) });
    } catch (error) {
      if (error instanceof Abandoned) log.warn("command left running", { command, ip });
      else log.error("command not started", { command, ip, error: describeError(error) });
      return null;
    }
  }

  /** Logs a refusal, throttled per reason: the server can be made to ask for anything at any rate. */
  refused(reason: CommandRefusal, fields: LogFields): void {
    const taken = this.#throttle.take(reason, this.#options.monotonicMs());
    if (!taken.log) return;
    const suppressed = taken.suppressed > 0 ? { suppressed: taken.suppressed } : {};
    this.#options.log.warn("command refused", { reason, ...fields, ...suppressed });
  }
}

export function succeeded(result: ExecutionResult): boolean {
  return result.status === 0 && !result.timedOut;
}

/** Fields of a log line about a finished shell text. */
export function resultFields(result: ExecutionResult): LogFields {
  return {
    status: result.status,
    duration_ms: result.durationMs,
    stdout: result.stdout,
    stderr: result.stderr,
    ...(result.timedOut ? { timed_out: true } : {}),
    ...(result.droppedBytes > 0 ? { dropped_bytes: result.droppedBytes } : {}),
  };
}
