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
}

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 10 * 60 * 1000;

/** One name per (command, IP). An address holds no blank, so no two pairs share a name. */
export function leaseKey(lease: Pick<Lease, "command" | "ip">): string {
  return `${lease.ip} ${lease.command}`;
}

/** A lease whose command has not run yet. */
export function newLease(spec: CommandSpec, terms: LeaseTerms, ip: IpAddress, wallMs: number): Lease {
  return {
    command: spec.name,
    ip,
    undo: terms.undo,
    undoTimeoutMs: spec.timeoutMs,
    undoAfterMs: terms.undoAfterMs,
    dueAtMs: wallMs + terms.undoAfterMs,
    applied: false,
    undoFailures: 0,
  };
}

/** The same lease with its date moved. With `on_renew = "run"` the command runs anew, so its present undo counts. */
export function renewedLease(lease: Lease, terms: LeaseTerms, wallMs: number): Lease {
  return {
    ...lease,
    undo: terms.onRenew === "run" ? terms.undo : lease.undo,
    undoAfterMs: terms.undoAfterMs,
    dueAtMs: wallMs + terms.undoAfterMs,
    undoFailures: 0,
  };
}

/**
 * Due when the wall clock has reached the date, or when more would remain than the lease ever had: then the clock was
 * set back (a machine that boots in 1970), and waiting for the date could take years.
 */
export function isDue(lease: Lease, wallMs: number): boolean {
  const remainingMs = lease.dueAtMs - wallMs;
  return remainingMs <= 0 || remainingMs > lease.undoAfterMs;
}

/** True when a knock has only to move the date of `lease`. */
export function isRenewable(lease: Lease | undefined, wallMs: number): lease is Lease {
  return lease !== undefined && lease.applied && !isDue(lease, wallMs);
}

/** How long to wait after the given number of failed attempts. */
export function undoRetryMs(failures: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS);
}

/** There are `max_leases` already. */
export class LeasesFull extends Error {
  override name = "LeasesFull";
}

/** All leases of this commander, at most `maxLeases` of them. */
export class Leases {
  readonly #leases = new Map<string, Lease>();
  readonly #retryAtMs = new Map<string, number>();
  readonly #maxLeases: number;

  /** @param initial may be more than `maxLeases`, when that was lowered: they are all kept until undone */
  constructor(maxLeases: number, initial: Iterable<Lease> = []) {
    this.#maxLeases = maxLeases;
    for (const lease of initial) this.#leases.set(leaseKey(lease), lease);
  }

  get size(): number {
    return this.#leases.size;
  }

  all(): Lease[] {
    return [...this.#leases.values()];
  }

  find(pair: Pick<Lease, "command" | "ip">): Lease | undefined {
    return this.#leases.get(leaseKey(pair));
  }

  /**
   * Adds a lease or replaces the one of its (command, IP).
   *
   * @throws {LeasesFull} when it is for another (command, IP) and there is no room
   */
  put(lease: Lease): void {
    if (this.find(lease) === undefined && this.#leases.size >= this.#maxLeases) throw new LeasesFull();
    this.#leases.set(leaseKey(lease), lease);
    if (lease.undoFailures === 0) this.#retryAtMs.delete(leaseKey(lease));
  }

  delete(pair: Pick<Lease, "command" | "ip">): void {
    this.#leases.delete(leaseKey(pair));
    this.#retryAtMs.delete(leaseKey(pair));
  }

  /** Notes that the undo of `lease` failed; returns the lease to be put and when it is tried again. */
  undoFailed(lease: Lease, monotonicMs: number): { lease: Lease; retryInMs: number } {
    const failures = lease.undoFailures + 1;
    const retryInMs = undoRetryMs(failures);
    this.#retryAtMs.set(leaseKey(lease), monotonicMs + retryInMs);
    return { lease: { ...lease, undoFailures: failures }, retryInMs };
  }

  /** Leases to be undone now. Retries wait by the monotonic clock: a wall clock set back must not stretch them. */
  due(wallMs: number, monotonicMs: number): Lease[] {
    return this.all().filter((lease) => this.#waitMs(lease, wallMs, monotonicMs) <= 0);
  }

  /** Time until the next lease is due, leaving those named in `except` out; null when there is none. */
  nextDueInMs(wallMs: number, monotonicMs: number, except: ReadonlySet<string>): number | null {
    let nextMs: number | null = null;
    for (const [key, lease] of this.#leases) {
      if (except.has(key)) continue;
      const waitMs = this.#waitMs(lease, wallMs, monotonicMs);
      if (nextMs === null || waitMs < nextMs) nextMs = waitMs;
    }
    return nextMs;
  }

  #waitMs(lease: Lease, wallMs: number, monotonicMs: number): number {
    const dateMs = isDue(lease, wallMs) ? 0 : lease.dueAtMs - wallMs;
    const retryMs = (this.#retryAtMs.get(leaseKey(lease)) ?? monotonicMs) - monotonicMs;
    return Math.max(0, dateMs, retryMs);
  }
}
