import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import { type CommandRunner, resultFields, succeeded } from "./command_runner.ts";
import type { ExecutionResult } from "./execute.ts";
import type { LeaseStore } from "./lease_store.ts";
import { type Lease, repeatedLease } from "./leases.ts";

export interface LeaseUndoerOptions {
  readonly store: LeaseStore;
  readonly runner: CommandRunner;
  readonly log: Log;
  readonly clock: Clock;
  readonly newRunId: () => string;
}

/**
 * Undoes one lease:
 *
 *   run id left by an earlier commander -> end what runs under it -> note a run id -> undo -> remove the lease
 *
 * The caller sees to it that nothing else of the same (command, IP) runs in this commander.
 */
export class LeaseUndoer {
  readonly #store: LeaseStore;
  readonly #runner: CommandRunner;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #newRunId: () => string;

  constructor(options: LeaseUndoerOptions) {
    this.#store = options.store;
    this.#runner = options.runner;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#newRunId = options.newRunId;
  }

  /** Tries once. The lease is gone afterwards, or waits for the next try. */
  async undo(lease: Lease): Promise<void> {
    const { command, ip } = lease;
    const isCleared = await this.#endSurvivors(lease);
    if (this.#runner.abandoned) return;
    const runId = lease.runId ?? this.#newRunId();
    if (lease.runId === null) await this.#update({ ...lease, runId });
    const result = await this.#runner.run({
      command,
      text: lease.undo,
      ip,
      timeoutMs: lease.undoTimeoutMs,
      runId,
    });
    if (result !== null && succeeded(result)) {
      this.#log.info("lease undone", { command, ip, ...resultFields(result) });
      if (isCleared) await this.#remove(lease);
      else await this.#repeat(lease);
    } else if (!this.#runner.abandoned) {
      await this.#noteFailure({ ...lease, runId: isCleared ? null : runId }, result);
    }
  }

  /** Ends what an earlier commander's run has left; false if something may be left all the same. */
  async #endSurvivors(lease: Lease): Promise<boolean> {
    if (lease.runId === null) return true;
    const ending = await this.#runner.endRun(lease.runId);
    if (ending === "gone" || ending === null) return true;
    this.#log.warn("command may still run", {
      command: lease.command,
      ip: lease.ip,
      reason: ending === "cannot look" ? "its processes cannot be looked for here" : "it would not end",
      undo_again_in_ms: lease.undoTimeoutMs,
    });
    return false;
  }

  async #noteFailure(lease: Lease, result: ExecutionResult | null): Promise<void> {
    const { command, ip } = lease;
    // In memory first: should the file fail as well, the retry must wait all the same.
    const retryInMs = this.#store.leases.undoFailed(lease, this.#clock.monotonicMs());
    const failed = this.#store.leases.find(lease) ?? lease;
    await this.#update(failed);
    this.#log.warn("undo failed", {
      command,
      ip,
      failures: failed.undoFailures,
      retry_in_ms: retryInMs,
      ...(result === null ? {} : resultFields(result)),
    });
  }

  async #remove(lease: Lease): Promise<void> {
    const { command, ip } = lease;
    await this.#store.remove(lease).catch((error: unknown) => {
      this.#log.error("lease undone but still in its file", { command, ip, error: describeError(error) });
    });
  }

  async #repeat(lease: Lease): Promise<void> {
    const { command, ip } = lease;
    await this.#store.start(repeatedLease(lease, this.#clock.wallMs())).catch((error: unknown) => {
      // It stays due: at least it must not be tried without a pause.
      this.#store.leases.undoFailed(lease, this.#clock.monotonicMs());
      this.#log.error("lease not recorded", { command, ip, error: describeError(error) });
    });
  }

  /** An undo is never kept from running because the disk is full. */
  async #update(lease: Lease): Promise<void> {
    const { command, ip } = lease;
    await this.#store.update(lease).catch((error: unknown) => {
      this.#log.error("lease not recorded", { command, ip, error: describeError(error) });
    });
  }
}
