import type { IpAddress } from "../../protocol/knock/address.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import { type CommandRunner, resultFields, succeeded } from "./command_runner.ts";
import type { CommandSpec, LeaseTerms } from "./command_spec.ts";
import { KeyedLanes } from "./lanes.ts";
import type { LeaseStore } from "./lease_store.ts";
import { isDue, isRenewable, type Lease, leaseKey, LeasesFull, newLease, renewedLease } from "./leases.ts";
import type { CommandLimits, Scheduler } from "./scheduler.ts";

export interface LeaseRunnerOptions {
  readonly store: LeaseStore;
  readonly scheduler: Scheduler;
  readonly runner: CommandRunner;
  readonly log: Log;
  readonly clock: Clock;
}

/** Knocks that may wait for the one before them for the same command and address. */
const MAX_WAITING_KNOCKS = 4;
/** The wall clock may jump, and timers stand still while the machine sleeps: it is looked at this often. */
const MAX_SLEEP_MS = 1000;
const MIN_SLEEP_MS = 10;

/**
 * Runs commands that hold a lease, and their undo when it is due. All that happens to one (command, IP) goes through
 * one lane, so that command, renewal and undo never overlap; within it a task takes one of the command's slots.
 */
export class LeaseRunner {
  readonly #store: LeaseStore;
  readonly #scheduler: Scheduler;
  readonly #runner: CommandRunner;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #lanes = new KeyedLanes();
  readonly #undoing = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #started = false;

  constructor(options: LeaseRunnerOptions) {
    this.#store = options.store;
    this.#scheduler = options.scheduler;
    this.#runner = options.runner;
    this.#log = options.log;
    this.#clock = options.clock;
  }

  /** Handles a knock for a command with a lease; resolves when all it caused is done. */
  async knock(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress): Promise<void> {
    const key = leaseKey({ command: spec.name, ip });
    const entered = this.#lanes.enter(key, () => this.#handleKnock(spec, terms, ip), MAX_WAITING_KNOCKS);
    if (entered === null) this.#runner.refused("queue_full", { command: spec.name, ip });
    else await entered;
  }

  /** Undoes every lease that is due now; resolves when each was tried once. */
  async undoDue(): Promise<void> {
    const due = this.#store.leases.due(this.#clock.wallMs(), this.#clock.monotonicMs());
    await Promise.all(due.map((lease) => this.#enterUndo(lease)));
  }

  /** From now on undoes leases when they become due. */
  start(): void {
    this.#started = true;
    this.#setTimer();
  }

  stop(): void {
    this.#started = false;
    clearTimeout(this.#timer);
  }

  async #handleKnock(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress): Promise<void> {
    const lease = this.#store.leases.find({ command: spec.name, ip });
    if (isRenewable(lease, this.#clock.wallMs())) await this.#renew(lease, spec, terms);
    else await this.#admit(spec, ip, false, () => this.#recordAndRun(spec, terms, ip));
    this.#setTimer();
  }

  async #renew(lease: Lease, spec: CommandSpec, terms: LeaseTerms): Promise<void> {
    const { ip } = lease;
    const renewed = renewedLease(lease, terms, this.#clock.wallMs());
    if (!(await this.#record(renewed))) return;
    this.#log.info("lease renewed", { command: spec.name, ip, undo_at: formatDate(renewed) });
    if (terms.onRenew === "keep") return;
    await this.#admit(spec, ip, true, async () => {
      await this.#runner.runCommand(spec, ip);
    });
  }

  async #admit(
    spec: CommandSpec,
    ip: IpAddress,
    ignoreCooldown: boolean,
    task: () => Promise<void>,
  ): Promise<void> {
    const admission = this.#scheduler.admit(spec, task, { ignoreCooldown });
    if (admission.refused === null) await admission.done;
    else this.#runner.refused(admission.refused, { command: spec.name, ip });
  }

  async #recordAndRun(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress): Promise<void> {
    // Due, or never known to have been applied: what it may have opened is closed first, so that no command runs
    // twice with one undo to follow. Should that fail, the new lease carries the duty on.
    const previous = this.#store.leases.find({ command: spec.name, ip });
    if (previous !== undefined) await this.#undo(previous);
    if (this.#runner.abandoned) return;
    const lease = newLease(spec, terms, ip, this.#clock.wallMs());
    // Durable before the command runs: else a crash in between leaves open what nobody will close.
    if (!(await this.#record(lease))) return;
    this.#log.info("lease recorded", { command: spec.name, ip, undo_at: formatDate(lease) });
    if (await this.#runner.runCommand(spec, ip)) await this.#record({ ...lease, applied: true });
  }

  /** Records a lease; if that fails, says so and returns false: what it stands for must not happen. */
  async #record(lease: Lease): Promise<boolean> {
    const { command, ip } = lease;
    try {
      await this.#store.record(lease);
      return true;
    } catch (error) {
      if (error instanceof LeasesFull) this.#runner.refused("max_leases", { command, ip });
      else this.#log.error("lease not recorded", { command, ip, error: describeError(error) });
      return false;
    }
  }

  async #enterUndo(lease: Lease): Promise<void> {
    const key = leaseKey(lease);
    if (this.#undoing.has(key)) return;
    this.#undoing.add(key);
    await this.#lanes.enter(key, async () => {
      // Renewed while it waited for the lane: then it is not due any more.
      const current = this.#store.leases.find(lease);
      if (current === undefined || !isDue(current, this.#clock.wallMs())) return;
      await this.#scheduler.require(undoLimits(current), () => this.#undo(current));
    });
    this.#undoing.delete(key);
    this.#setTimer();
  }

  async #undo(lease: Lease): Promise<void> {
    const { command, ip } = lease;
    const result = await this.#runner.run(command, lease.undo, ip, lease.undoTimeoutMs);
    if (result !== null && succeeded(result)) {
      this.#log.info("lease undone", { command, ip, ...resultFields(result) });
      await this.#store.remove(lease).catch((error: unknown) => {
        this.#log.error("lease undone but still in its file", { command, ip, error: describeError(error) });
      });
      return;
    }
    if (this.#runner.abandoned) return;
    const failed = this.#store.leases.undoFailed(lease, this.#clock.monotonicMs());
    // In memory first: should the file fail as well, the retry must wait all the same.
    this.#store.leases.put(failed.lease);
    await this.#record(failed.lease);
    this.#log.warn("undo failed", {
      command,
      ip,
      failures: failed.lease.undoFailures,
      retry_in_ms: failed.retryInMs,
      ...(result === null ? {} : resultFields(result)),
    });
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    if (!this.#started) return;
    const dueInMs = this.#store.leases.nextDueInMs(
      this.#clock.wallMs(),
      this.#clock.monotonicMs(),
      this.#undoing,
    );
    if (dueInMs === null) return;
    const sleepMs = Math.min(Math.max(Math.ceil(dueInMs), MIN_SLEEP_MS), MAX_SLEEP_MS);
    this.#timer = setTimeout(() => {
      this.undoDue();
      this.#setTimer();
    }, sleepMs);
  }
}

/** An undo takes a slot of its command; one whose command is no longer configured runs alone. */
function undoLimits(lease: Lease): CommandLimits {
  return { name: lease.command, concurrency: 1, cooldownMs: 0 };
}

function formatDate(lease: Lease): string {
  return new Date(lease.dueAtMs).toISOString();
}
