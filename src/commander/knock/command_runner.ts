import type { IpAddress } from "../../protocol/knock/address.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, type LogFields, LogThrottle } from "../../system/log.ts";
import type { CommandSpec } from "./command_spec.ts";
import { Abandoned, type Execute, type ExecutionResult } from "./execute.ts";
import { leaseKey } from "./leases.ts";
import { type EndRun, endRun, type RunEnding } from "./survivors.ts";

/** Why a knock ran nothing. */
export type CommandRefusal =
  | "unknown_command"
  | "address"
  | "cooldown"
  | "queue_full"
  | "max_leases"
  | "undo_failed";

const REFUSALS_LOGGED = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 64 };

export interface CommandRunnerOptions {
  readonly log: Log;
  readonly execute: Execute;
  readonly monotonicMs: () => number;
  readonly abandon?: AbortSignal;
  /** @default endRun */
  readonly endRun?: EndRun;
}

/** A shell text on behalf of a command. */
export interface ShellRun {
  readonly command: string;
  readonly text: string;
  readonly ip: IpAddress;
  readonly timeoutMs: number;
  readonly runId?: string;
}

/** What finds the processes of a run later on, and what is to be done when none is left. */
export interface RunMark {
  readonly runId: string;
  readonly noteEnd: (succeeded: boolean) => Promise<void>;
}

/** Runs shell texts and says in the log what came of it. */
export class CommandRunner {
  readonly #options: CommandRunnerOptions;
  readonly #throttle = new LogThrottle(REFUSALS_LOGGED);
  readonly #dropped = new Set<string>();

  constructor(options: CommandRunnerOptions) {
    this.#options = options;
  }

  /** True once the commander lets go of what still runs: nothing is to be concluded from a missing result. */
  get abandoned(): boolean {
    return this.#options.abandon?.aborted === true;
  }

  /** How many (command, IP) were dropped by the stop. */
  get droppedCount(): number {
    return this.#dropped.size;
  }

  /** Runs the command for one address, and says that it has finished only when that is noted. */
  async runCommand(spec: CommandSpec, ip: IpAddress, mark?: RunMark): Promise<void> {
    const { log } = this.#options;
    const { name: command, cmd: text, timeoutMs } = spec;
    log.info("command started", { command, ip });
    const run = { command, text, ip, timeoutMs };
    const result = await this.run(mark === undefined ? run : { ...run, runId: mark.runId });
    // Left to itself: it may still be running.
    if (result === null && this.abandoned) return;
    await mark?.noteEnd(result !== null && succeeded(result));
    if (result !== null) log.info("command finished", { command, ip, ...resultFields(result) });
  }

  /** Runs any shell text for a command; null if it could not be started, or was left to itself. */
  async run({ command, ...execution }: ShellRun): Promise<ExecutionResult | null> {
    const { log, execute, abandon } = this.#options;
    const { ip } = execution;
    try {
      return await execute({ ...execution, ...(abandon === undefined ? {} : { abandon }) });
    } catch (error) {
      if (error instanceof Abandoned) log.warn("command left running", { command, ip });
      else log.error("command not started", { command, ip, error: describeError(error) });
      return null;
    }
  }

  /** Ends what is left of an earlier commander's run; null if this one stops meanwhile. */
  async endRun(runId: string): Promise<RunEnding | null> {
    const { log, abandon, endRun: end = endRun } = this.#options;
    try {
      return await end(runId, abandon);
    } catch (error) {
      log.error("shell not started", { error: describeError(error) });
      return "cannot look";
    }
  }

  /** Logs a refusal, throttled per reason: the server can be made to ask for anything at any rate. */
  refused(reason: CommandRefusal, fields: LogFields): void {
    const taken = this.#throttle.take(reason, this.#options.monotonicMs());
    if (!taken.log) return;
    const suppressed = taken.suppressed > 0 ? { suppressed: taken.suppressed } : {};
    this.#options.log.warn("command refused", { reason, ...fields, ...suppressed });
  }

  /** Logs that a knock that was taken on is dropped by the stop, once for each command and address. */
  dropped(command: string, ip: IpAddress): void {
    const key = leaseKey({ command, ip });
    if (this.#dropped.has(key)) return;
    this.#dropped.add(key);
    this.#options.log.warn("command refused", { reason: "stopping", command, ip });
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
