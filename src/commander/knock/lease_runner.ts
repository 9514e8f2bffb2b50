import type { IpAddress } from "../../protocol/knock/address.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import type { CommandRunner } from "./command_runner.ts";
import type { CommandSpec, LeaseTerms } from "./command_spec.ts";
import { KeyedLanes } from "./lanes.ts";
import { LeaseUndoer } from "./lease_undoer.ts";
import type { LeaseStore } from "./lease_store.ts";
import { type Lease, leaseKey, LeasesFull, type Moment, newLease, renewedLease } from "./leases.ts";
import type { Scheduler } from "./scheduler.ts";
import { startOrRefuse } from "./start.ts";
import { randomRunId } from "./survivors.ts";

export interface LeaseRunnerOptions {
  readonly store: LeaseStore;
  readonly scheduler: Scheduler;
  readonly runner: CommandRunner;
  readonly log: Log;
  readonly clock: Clock;
  /** @default randomRunId */
  readonly newRunId?: () => string;
}

/** Knocks that may wait for the one before them for the same command and address. */
const MAX_WAITING_KNOCKS = 4;
/** The wall clock may jump, and timers stand still while the machine sleeps: it is looked at this often. */
const MAX_SLEEP_MS = 1000;
const MIN_SLEEP_MS = 10;

/**
 * Runs commands that hold a lease, and their undo when it is due. All that happens to one (command, IP) goes through
 * one lane, so that command, renewal and undo never overlap; within it a start takes one of the command's slots, and
 * an undo none.
 */
export class LeaseRunner {
  readonly #store: LeaseStore;
  readonly #scheduler: Scheduler;
  readonly #runner: CommandRunner;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #newRunId: () => string;
  readonly #undoer: LeaseUndoer;
  readonly #lanes = new KeyedLanes();
  readonly #undoing = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #started = false;

  constructor(options: LeaseRunnerOptions) {
    const { newRunId = randomRunId } = options;
    this.#store = options.store;
    this.#scheduler = options.scheduler;
    this.#runner = options.runner;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#newRunId = newRunId;
    this.#undoer = new LeaseUndoer({ ...options, newRunId });
  }

  /** Handles a knock for a command with a lease; resolves when all it caused is done. */
  async knock(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress): Promise<void> {
    const key = leaseKey({ command: spec.name, ip });
    const entered = this.#lanes.enter(key, () => this.#handleKnock(spec, terms, ip), MAX_WAITING_KNOCKS);
    if (entered === null) this.#runner.refused("queue_full", { command: spec.name, ip });
    else await entered;
  }

  /**
   * Undoes every lease that is due now; resolves when each was tried once. From the very call on, no knock for their
   * commands and addresses gets ahead of them.
   */
  async undoDue(): Promise<void> {
    await Promise.all(this.#store.leases.due(this.#now()).map((lease) => this.#enterUndo(lease)));
  }

  /** How many leases are being undone, or wait for that. */
  get undoing(): number {
    return this.#undoing.size;
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
    if (!this.#store.leases.isRenewable(lease, this.#now())) await this.#start(spec, terms, ip);
    else if (terms.onRenew === "keep") await this.#renew(lease, terms);
    // What is open was opened together with another undo, which a new run would put out of use.
    else if (lease.undo !== terms.undo) await this.#start(spec, terms, ip, { ignoreCooldown: true });
    else await this.#renewAndRun(lease, spec, terms);
    this.#setTimer();
  }

  async #start(
    spec: CommandSpec,
    terms: LeaseTerms,
    ip: IpAddress,
    options: { ignoreCooldown?: boolean } = {},
  ): Promise<void> {
    // Asked first, so that a start that cannot be takes no cooldown; asked again when the lease is recorded.
    if (!this.#store.leases.hasRoomFor({ command: spec.name, ip })) {
      this.#runner.refused("max_leases", { command: spec.name, ip });
      return;
    }
    await startOrRefuse(this.#parts, spec, ip, () => this.#recordAndRun(spec, terms, ip), options);
  }

  async #renew(lease: Lease, terms: LeaseTerms): Promise<boolean> {
    const renewed = renewedLease(lease, terms, this.#clock.wallMs());
    if (!(await this.#record(renewed))) return false;
    this.#log.info("lease renewed", { command: lease.command, ip: lease.ip, undo_at: formatDate(renewed) });
    return true;
  }

  async #renewAndRun(lease: Lease, spec: CommandSpec, terms: LeaseTerms): Promise<void> {
    const runId = this.#newRunId();
    if (!(await this.#renew({ ...lease, runId }, terms))) return;
    const noteEnd = (): Promise<void> => this.#noteEnd(lease, true);
    const run = (): Promise<void> => this.#runner.runCommand(spec, lease.ip, { runId, noteEnd });
    const ran = await startOrRefuse(this.#parts, spec, lease.ip, run, { ignoreCooldown: true });
    if (!ran) await noteEnd();
  }

  async #recordAndRun(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress): Promise<void> {
    const pair = { command: spec.name, ip };
    // Due, or never known to have been applied, or to be undone by another text: what it may have opened is closed
    // first, so that no command runs twice with one undo to follow.
    const previous = this.#store.leases.find(pair);
    if (previous !== undefined) await this.#undoer.undo(previous);
    if (this.#runner.abandoned) {
      this.#runner.dropped(spec.name, ip);
      return;
    }
    const left = this.#store.leases.find(pair);
    if (left !== undefined && left.undo !== terms.undo) {
      // A new lease would forget the old undo, which still has to succeed.
      this.#runner.refused("undo_failed", pair);
      return;
    }
    const runId = this.#newRunId();
    const lease = newLease(spec, terms, ip, this.#clock.wallMs(), runId);
    // Durable before the command runs: else a crash in between leaves open what nobody will close.
    if (!(await this.#record(lease))) return;
    this.#log.info("lease recorded", { command: spec.name, ip, undo_at: formatDate(lease) });
    const noteEnd = (succeeded: boolean): Promise<void> => this.#noteEnd(lease, succeeded);
    await this.#runner.runCommand(spec, ip, { runId, noteEnd });
  }

  /** Records a lease whose time starts; if that fails, says so and returns false: what it stands for must not happen. */
  async #record(lease: Lease): Promise<boolean> {
    const { command, ip } = lease;
    try {
      await this.#store.start(lease);
      return true;
    } catch (error) {
      if (error instanceof LeasesFull) this.#runner.refused("max_leases", { command, ip });
      else this.#log.error("lease not recorded", { command, ip, error: describeError(error) });
      return false;
    }
  }

  /** Notes that nothing of the command runs any more. Should that fail, the next commander closes what is open. */
  async #noteEnd({ command, ip }: Lease, applied: boolean): Promise<void> {
    const lease = this.#store.leases.find({ command, ip });
    if (lease === undefined) return;
    await this.#store.update({ ...lease, applied, runId: null }).catch((error: unknown) => {
      this.#log.error("lease not recorded", { command, ip, error: describeError(error) });
    });
  }

  async #enterUndo(lease: Lease): Promise<void> {
    const key = leaseKey(lease);
    if (this.#undoing.has(key)) return;
    this.#undoing.add(key);
    await this.#lanes.enter(key, async () => {
      // Renewed while it waited for the lane: then it is not due any more.
      const current = this.#store.leases.find(lease);
      if (current === undefined || !this.#store.leases.isDue(current, this.#now())) return;
      await this.#scheduler.undo(current.command, () => this.#undoer.undo(current));
    });
    this.#undoing.delete(key);
    this.#setTimer();
  }

  get #parts(): { scheduler: Scheduler; runner: CommandRunner } {
    return { scheduler: this.#scheduler, runner: this.#runner };
  }

  #now(): Moment {
    return { wallMs: this.#clock.wallMs(), monotonicMs: this.#clock.monotonicMs() };
  }

  #setTimer(): void {
    clearTimeout(this.#timer);
    if (!this.#started) return;
    const dueInMs = this.#store.leases.nextDueInMs(this.#now(), this.#undoing);
    if (dueInMs === null) return;
    const sleepMs = Math.min(Math.max(Math.ceil(dueInMs), MIN_SLEEP_MS), MAX_SLEEP_MS);
    this.#timer = setTimeout(() => {
      this.undoDue();
      this.#setTimer();
    }, sleepMs);
  }
}

function formatDate(lease: Lease): string {
  return new Date(lease.dueAtMs).toISOString();
}
