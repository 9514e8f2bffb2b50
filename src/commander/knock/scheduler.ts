/** What one command allows. */
export interface CommandLimits {
  readonly name: string;
  /** Tasks of this command at once. */
  readonly concurrency: number;
  /** A start within this time after the one before is dropped; 0: none is. */
  readonly cooldownMs: number;
}

export type RefusedStart = "cooldown" | "queue_full" | "stopping";

/** Whether a task will run, and if so, when it has ended. */
export type Admission =
  | { readonly refused: null; readonly done: Promise<void> }
  | { readonly refused: RefusedStart };

export interface SchedulerOptions {
  /** Clock for cooldowns; never goes back. */
  monotonicMs: () => number;
  /** Tasks that may wait for one command; more are refused. */
  maxQueued: number;
}

interface Waiting {
  readonly task: () => Promise<void>;
  readonly end: () => void;
}

class CommandQueue {
  running = 0;
  lastStartMs = -Infinity;
  readonly waiting: Waiting[] = [];
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
    const queue = this.#queueOf(limits);
    const nowMs = this.#monotonicMs();
    const isStart = options.ignoreCooldown !== true;
    if (isStart && nowMs - queue.lastStartMs < limits.cooldownMs) return { refused: "cooldown" };
    const waits = queue.running >= limits.concurrency;
    if (waits && queue.waiting.length >= this.#maxQueued) return { refused: "queue_full" };
    if (isStart) queue.lastStartMs = nowMs;
    return { refused: null, done: this.#add(limits, queue, task, "last") };
  }

  /**
   * Runs a task that must be run, before all that wait: closing again what was opened is never refused.
   *
   * @returns when it has ended, or was dropped by `stop`
   */
  require(limits: CommandLimits, task: () => Promise<void>): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return this.#add(limits, this.#queueOf(limits), task, "first");
  }

  /** Drops what waits and starts nothing any more; returns how many tasks were dropped. */
  stop(): number {
    this.#stopped = true;
    let dropped = 0;
    for (const queue of this.#queues.values()) {
      for (const waiting of queue.waiting.splice(0)) {
        waiting.end();
        dropped++;
      }
    }
    return dropped;
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

  #queueOf(limits: CommandLimits): CommandQueue {
    let queue = this.#queues.get(limits.name);
    if (queue === undefined) {
      queue = new CommandQueue();
      this.#queues.set(limits.name, queue);
    }
    return queue;
  }

  #add(
    limits: CommandLimits,
    queue: CommandQueue,
    task: () => Promise<void>,
    place: "first" | "last",
  ): Promise<void> {
    return new Promise((resolve) => {
      const entry = { task, end: resolve };
      if (place === "first") queue.waiting.unshift(entry);
      else queue.waiting.push(entry);
      this.#startNext(limits, queue);
    });
  }

  #startNext(limits: CommandLimits, queue: CommandQueue): void {
    if (queue.running >= limits.concurrency) return;
    const next = queue.waiting.shift();
    if (next === undefined) return;
    queue.running++;
    this.#running++;
    next.task().finally(() => {
      queue.running--;
      this.#running--;
      next.end();
      this.#startNext(limits, queue);
      if (this.#running === 0) this.#idle.splice(0).forEach((resolve) => resolve());
    });
  }
}
