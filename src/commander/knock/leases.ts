/**
 * Leases as a state machine without I/O: what is open for whom, and until when. Time is passed in.
 *
 *   knock -> recorded -> cmd runs -> applied -> ... due -> undo runs -> gone
 *                                     ^   |              |   ^
 *                              renew  +---+              +---+ failed: again later
 *
 * A lease is written down before its command runs, so a crash at any moment leaves at worst an undo too many, never an
 * open door that nobody remembers. That is why an undo must be idempotent.
 */
import type { IpAddress } from "../../protocol/knock/address.ts";
import type { CommandSpec, LeaseTerms } from "./command_spec.ts";

/** What must be undone for one (command, IP). Holds the shell text itself: commands.toml may change meanwhile. */
export interface Lease {
  readonly command: string;
  readonly ip: IpAddress;
  readonly undo: string;
  readonly undoTimeoutMs: number;
  readonly undoAfterMs: number;
  /** By the wall clock, since it must survive a reboot. */
  readonly dueAtMs: number;
  /** True once the command is known to have succeeded; until then a knock runs it (again). */
  readonly applied: boolean;
  /** Undo attempts that failed so far. */
  readonly undoFailures: number;
  /** Marks the processes of the command or the undo while one of them may be running, else null. */
  readonly runId: string | null;
}

/** The two clocks at one moment. */
export interface Moment {
  readonly wallMs: number;
  readonly monotonicMs: number;
}

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 10 * 60 * 1000;

/** One name per (command, IP). An address holds no blank, so no two pairs share a name. */
export function leaseKey(lease: Pick<Lease, "command" | "ip">): string {
  return `${lease.ip} ${lease.command}`;
}

/** A lease whose command is about to run. */
export function newLease(
  spec: CommandSpec,
  terms: LeaseTerms,
  ip: IpAddress,
  wallMs: number,
  runId: string,
): Lease {
  return {
    command: spec.name,
    ip,
    undo: terms.undo,
    undoTimeoutMs: spec.timeoutMs,
    undoAfterMs: terms.undoAfterMs,
    dueAtMs: wallMs + terms.undoAfterMs,
    applied: false,
    undoFailures: 0,
    runId,
  };
}

/** The same lease with its date moved. Keeps the undo of what really ran. */
export function renewedLease(lease: Lease, terms: LeaseTerms, wallMs: number): Lease {
  return {
    ...lease,
    undoAfterMs: terms.undoAfterMs,
    dueAtMs: wallMs + terms.undoAfterMs,
    undoFailures: 0,
  };
}

/**
 * The same lease, undone by now, but to be undone once more when its command must have ended: something of it may be
 * left that could not be found.
 */
export function repeatedLease(lease: Lease, wallMs: number): Lease {
  return {
    ...lease,
    undoAfterMs: lease.undoTimeoutMs,
    dueAtMs: wallMs + lease.undoTimeoutMs,
    applied: false,
    undoFailures: 0,
    runId: null,
  };
}

/**
 * Due when the wall clock has reached the date, or when more would remain than the lease ever had: then the clock was
 * set back (a machine that boots in 1970), and waiting for the date could take years.
 */
export function isDueByDate(lease: Lease, wallMs: number): boolean {
  const remainingMs = lease.dueAtMs - wallMs;
  return remainingMs <= 0 || remainingMs > lease.undoAfterMs;
}

/** How long to wait after the given number of failed attempts. */
export function undoRetryMs(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS);
}

/** There is no room for a lease of this command. */
export class LeasesFull extends Error {
  override name = "LeasesFull";
}

/** A lease, and what only this process knows of it. Times by the monotonic clock. */
export interface HeldLease {
  readonly lease: Lease;
  /** Ends the lease even if the wall clock is set back again and again. */
  readonly deadlineMs: number;
  /** No undo is tried before; `-Infinity` unless one has failed. */
  readonly retryAtMs: number;
}

export interface LeasesOptions {
  readonly maxLeases: number;
  /** Names of the configured commands with an undo: each has an equal share of the room for itself. */
  readonly commands: readonly string[];
  /** When `initial` was loaded. */
  readonly now: Moment;
}

/** All leases of this commander. */
export class Leases {
  readonly #held = new Map<string, HeldLease>();
  readonly #used = new Map<string, number>();
  readonly #maxLeases: number;
  readonly #share: number;

  /** @param initial may be more than `maxLeases`, when that was lowered: they are all kept until undone */
  constructor(options: LeasesOptions, initial: Iterable<Lease> = []) {
    this.#maxLeases = options.maxLeases;
    this.#share = Math.floor(options.maxLeases / Math.max(1, options.commands.length));
    for (const command of options.commands) this.#used.set(command, 0);
    for (const lease of initial) {
      const leftMs = isDueByDate(lease, options.now.wallMs) ? 0 : lease.dueAtMs - options.now.wallMs;
      this.#set({ lease, deadlineMs: options.now.monotonicMs + leftMs, retryAtMs: -Infinity });
    }
  }

  get size(): number {
    return this.#held.size;
  }

  all(): Lease[] {
    return [...this.#held.values()].map((held) => held.lease);
  }

  find(pair: Pick<Lease, "command" | "ip">): Lease | undefined {
    return this.#held.get(leaseKey(pair))?.lease;
  }

  /** What is held for a (command, IP), to be given back to `restore` when a change is to be taken back. */
  held(pair: Pick<Lease, "command" | "ip">): HeldLease | undefined {
    return this.#held.get(leaseKey(pair));
  }

  restore(pair: Pick<Lease, "command" | "ip">, held: HeldLease | undefined): void {
    if (held === undefined) this.delete(pair);
    else this.#set(held);
  }

  /**
   * True if a lease of this (command, IP) may be put. A command that holds less than its share always may: else a key
   * that may open many harmless leases could lock out all others. Beyond the shares, first come is first served.
   */
  hasRoomFor(pair: Pick<Lease, "command" | "ip">): boolean {
    if (this.#held.has(leaseKey(pair))) return true;
    const used = this.#used.get(pair.command);
    if (used !== undefined && used < this.#share) return true;
    let free = this.#maxLeases - this.#held.size;
    for (const [command, count] of this.#used) {
      if (command !== pair.command) free -= Math.max(0, this.#share - count);
    }
    return free > 0;
  }

  /**
   * Adds a lease whose time starts now, or replaces the one of its (command, IP).
   *
   * @throws {LeasesFull} when there is no room for it
   */
  start(lease: Lease, monotonicMs: number): void {
    if (!this.hasRoomFor(lease)) throw new LeasesFull();
    this.#set({ lease, deadlineMs: monotonicMs + lease.undoAfterMs, retryAtMs: -Infinity });
  }

  /** Replaces what is known of a lease; its time goes on. Does nothing if there is none any more. */
  update(lease: Lease): void {
    const held = this.held(lease);
    if (held !== undefined) this.#set({ ...held, lease });
  }

  delete(pair: Pick<Lease, "command" | "ip">): void {
    if (this.#held.delete(leaseKey(pair))) this.#count(pair.command, -1);
  }

  /** Notes that the undo of `lease` failed; returns how long it waits now. */
  undoFailed(lease: Lease, monotonicMs: number): number {
    const held = this.held(lease);
    const retryInMs = undoRetryMs(lease.undoFailures + 1);
    if (held === undefined) return retryInMs;
    this.#set({
      ...held,
      lease: { ...lease, undoFailures: lease.undoFailures + 1 },
      retryAtMs: monotonicMs + retryInMs,
    });
    return retryInMs;
  }

  /** True when the time of `lease` is over, whether or not its undo waits for a retry. */
  isDue(lease: Lease, now: Moment): boolean {
    return this.#leftMs(lease, now) <= 0;
  }

  /** True when a knock has only to move the date of `lease`. */
  isRenewable(lease: Lease | undefined, now: Moment): lease is Lease {
    return lease !== undefined && lease.applied && !this.isDue(lease, now);
  }

  /** Leases to be undone now. Retries wait by the monotonic clock: a wall clock set back must not stretch them. */
  due(now: Moment): Lease[] {
    return this.all().filter((lease) => this.#waitMs(lease, now) <= 0);
  }

  /** Time until the next lease is due, leaving those named in `except` out; null when there is none. */
  nextDueInMs(now: Moment, except: ReadonlySet<string>): number | null {
    let nextMs: number | null = null;
    for (const [key, { lease }] of this.#held) {
      if (except.has(key)) continue;
      const waitMs = this.#waitMs(lease, now);
      if (nextMs === null || waitMs < nextMs) nextMs = waitMs;
    }
    return nextMs;
  }

  #set(held: HeldLease): void {
    const key = leaseKey(held.lease);
    if (!this.#held.has(key)) this.#count(held.lease.command, 1);
    this.#held.set(key, held);
  }

  /** Only configured commands are counted one by one: the leases of others have no share, and only go. */
  #count(command: string, change: number): void {
    const used = this.#used.get(command);
    if (used !== undefined) this.#used.set(command, used + change);
  }

  #leftMs(lease: Lease, now: Moment): number {
    const dateMs = isDueByDate(lease, now.wallMs) ? 0 : lease.dueAtMs - now.wallMs;
    const deadlineMs = this.held(lease)?.deadlineMs ?? Infinity;
    return Math.max(0, Math.min(dateMs, deadlineMs - now.monotonicMs));
  }

  #waitMs(lease: Lease, now: Moment): number {
    const retryAtMs = this.held(lease)?.retryAtMs ?? -Infinity;
    return Math.max(this.#leftMs(lease, now), retryAtMs - now.monotonicMs);
  }
}
