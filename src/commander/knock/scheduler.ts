/** What one command allows. */
export interface CommandLimits {
  readonly name: string;
  /** Tasks of this command at once. */
  readonly concurrency: number;
  /** A start within this time after the one before is dropped; 0: none is. */
  readonly cooldownMs: number;
}

export type RefusedStart = "cooldown" | "queue_full" | "stopping";

/** Whether a task was taken on, and if so, when that is over: true if it has run, false if a stop came first. */
export type Admission =
  | { readonly refused: null; readonly done: Promise<boolean> }
  | { readonly refused: RefusedStart };

export interface SchedulerOptions {
  /** Clock for cooldowns; never goes back. */
  monotonicMs: () => number;
  /** Tasks that may wait for one command; more are refused. */
  maxQueued: number;
}

/** Undos of one command at once: a machine that wakes up with a thousand due leases must not fork a thousand shells. */
export const MAX_UNDOS_AT_ONCE = 32;

interface Waiting {
  readonly task: () => Promise<void>;
  readonly end: (ran: boolean) => void;
}

/** Tasks that share slots, in order. */
class Slots {
  running = 0;
  readonly waiting: Waiting[] = [];
}

class CommandQueue {
  lastStartMs = -Infinity;
  readonly starts = new Slots();
  readonly undos = new Slots();
}

/**
 * Runs the tasks of each command at most `concurrency` at once, in order, with a bounded queue; different commands
 * side by side. A task must handle its own errors.
 */
export class Scheduler {
  readonly #queues = new Map<string, CommandQueue>();
  readonly #monotonicMs: () => number;
  readonly #maxQueued: number;
  #running = 0;
  #stopped = false;
  #idle: (() => void)[] = [];

  constructor(options: SchedulerOptions) {
    this.#monotonicMs = options.monotonicMs;
    this.#maxQueued = options.maxQueued;
  }

  /** Runs a task that somebody asked for, unless a limit says no. */
  admit(
    limits: CommandLimits,
    task: () => Promise<void>,
    options: { ignoreCooldown?: boolean } = {},
  ): Admission {
    if (this.#stopped) return { refused: "stopping" };
    const queue = this.#queueOf(limits.name);
    const { starts } = queue;
    const nowMs = this.#monotonicMs();
    const isStart = options.ignoreCooldown !== true;
    if (isStart && nowMs - queue.lastStartMs < limits.cooldownMs) return { refused: "cooldown" };
    const waits = starts.running >= limits.concurrency;
    if (waits && starts.waiting.length >= this.#maxQueued) return { refused: "queue_full" };
    if (isStart) queue.lastStartMs = nowMs;
    return { refused: null, done: this.#add(starts, limits.concurrency, task) };
  }

  /**
   * Runs an undo: never refused, and behind nothing but other undos of the same command. It takes no slot of the
   * command, or whoever may run that from other addresses could keep a door open.
   *
   * @returns false if `stop` came first
   */
  undo(command: string, task: () => Promise<void>): Promise<boolean> {
    if (this.#stopped) return Promise.resolve(false);
    return this.#add(this.#queueOf(command).undos, MAX_UNDOS_AT_ONCE, task);
  }

  /** Drops what waits, and starts nothing any more. */
  stop(): void {
    this.#stopped = true;
    for (const { starts, undos } of this.#queues.values()) {
      for (const waiting of [...starts.waiting.splice(0), ...undos.waiting.splice(0)]) waiting.end(false);
    }
  }

  /** Tasks that run now. */
  get running(): number {
    return this.#running;
  }

  /** Resolves as soon as no task runs. */
  whenIdle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #queueOf(command: string): CommandQueue {
    let queue = this.#queues.get(command);
    if (queue === undefined) {
      queue = new CommandQueue();
      this.#queues.set(command, queue);
    }
    return queue;
  }

  #add(slots: Slots, maxRunning: number, task: () => Promise<void>): Promise<boolean> {
    return new Promise((resolve) => {
      slots.waiting.push({ task, end: resolve });
      this.#startNext(slots, maxRunning);
    });
  }

  #startNext(slots: Slots, maxRunning: number): void {
    if (slots.running >= maxRunning) return;
    const next = slots.waiting.shift();
    if (next === undefined) return;
    slots.running++;
    this.#running++;
    next.task().finally(() => {
      slots.running--;
      this.#running--;
      next.end(true);
      this.#startNext(slots, maxRunning);
      if (this.#running === 0) this.#idle.splice(0).forEach((resolve) => resolve());
    });
  }
}
