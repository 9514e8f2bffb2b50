/**
 * Services by name: published where others on this machine find them, with a lease, so that what crashed is not
 * found any more.
 */
import { bytesToHex } from "@noble/hashes/utils.js";
import { type RandomBytes, systemRandomBytes, systemTimers, type Timers } from "../timers.ts";
import { LeaseBook } from "./lease_book.ts";
import { NameWatch, RecordWatches } from "./name_watch.ts";
import { publishRecord } from "./publication.ts";
import { INSTANCE_BYTES, parseRecord, serviceName, type ServiceRecord } from "./record.ts";
import { DiscoveryError, type RecordStore } from "./record_store.ts";

/** What a service says when it is published. */
export interface Publication {
  /** Name of the service: 1 to 64 characters out of `A-Z a-z 0-9 _ . -`, the first a letter or digit. */
  readonly name: string;
  /** Name of the transport. */
  readonly transport: string;
  /** Id of the codec. */
  readonly codec: string;
  /** Where it listens, 1 to 16 addresses of the transport, in the order to try. */
  readonly addresses: readonly string[];
}

/** A published service; disposing of it withdraws it. */
export interface Registration extends AsyncDisposable {
  /** What others find. */
  readonly record: ServiceRecord;
}

/** How long a service is waited for. */
export interface WaitOptions {
  /** Time after which it is given up, in milliseconds. @default 30000 */
  readonly timeoutMs?: number | undefined;
  /** Gives up when aborted, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Publishes services and finds them. */
export interface Discovery {
  /**
   * Makes a service known until the registration is disposed of or this process dies. Several publishers of one name
   * are kept side by side.
   *
   * @throws {TypeError} if a field is not of its form
   * @throws {DiscoveryError} "store" if it cannot be kept
   */
  publish(publication: Publication): Promise<Registration>;
  /**
   * Finds whoever lives under the name now, newest first; what has crashed is left out, and removed.
   *
   * @throws {TypeError} if it is no name
   * @throws {DiscoveryError} "store" if the place for records cannot be used
   */
  resolve(name: string): Promise<readonly ServiceRecord[]>;
  /**
   * Waits until somebody lives under the name; gives at least one record.
   *
   * @throws {TypeError} if it is no name
   * @throws {DiscoveryError} "timeout", or "store" as `resolve`
   */
  waitFor(name: string, options?: WaitOptions): Promise<readonly ServiceRecord[]>;
  /**
   * Gives what `resolve` gives, at once and again after each change, renewals aside. A slow reader misses what lies
   * between, never the newest. Ends when the signal is aborted or the loop is left.
   *
   * @throws {TypeError} if it is no name
   * @throws {DiscoveryError} "store" as `resolve`, from the iteration
   */
  watch(
    name: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): AsyncIterableIterator<readonly ServiceRecord[]>;
}

/** What a discovery may be told. */
export interface DiscoveryOptions {
  /** How long a record holds without being renewed, milliseconds; renewed at half of it. @default 10000 */
  readonly leaseMs?: number | undefined;
  /** The clock of leases and waits. @default systemTimers */
  readonly timers?: Timers | undefined;
  /** The wall clock, milliseconds since 1970. @default Date.now */
  readonly wallMs?: (() => number) | undefined;
  /** Where instance ids come from. @default systemRandomBytes */
  readonly randomBytes?: RandomBytes | undefined;
  /** The publishing process, for people who read the records. @default 0, and now */
  readonly owner?: { readonly pid: number; readonly startTimeMs: number } | undefined;
  /** Told when a renewal failed; it is tried again after half a lease. */
  readonly onProblem?: ((error: unknown) => void) | undefined;
}

const DEFAULT_LEASE_MS = 10_000;
const DEFAULT_WAIT_MS = 30_000;

/** Discovery by the rules of this folder, with the records in a store. */
export function discoveryOver(store: RecordStore, options: DiscoveryOptions = {}): Discovery {
  return new StoreDiscovery(store, options);
}

class StoreDiscovery implements Discovery {
  readonly #store: RecordStore;
  readonly #options: DiscoveryOptions;
  readonly #timers: Timers;
  readonly #wallMs: () => number;
  readonly #leaseMs: number;
  readonly #book = new LeaseBook();
  readonly #watches: RecordWatches;

  constructor(store: RecordStore, options: DiscoveryOptions) {
    this.#store = store;
    this.#options = options;
    this.#timers = options.timers ?? systemTimers;
    this.#wallMs = options.wallMs ?? Date.now;
    this.#leaseMs = options.leaseMs ?? DEFAULT_LEASE_MS;
    this.#watches = new RecordWatches({
      store,
      timers: this.#timers,
      // Death by silence is no change in the store, and may be noticed this much later than the lease is over.
      recheckMs: this.#leaseMs / 2,
      resolve: (name) => this.resolve(name),
    });
  }

  async publish(publication: Publication): Promise<Registration> {
    const { owner, randomBytes = systemRandomBytes } = this.#options;
    const record: ServiceRecord = {
      name: serviceName(publication.name),
      instance: bytesToHex(randomBytes(INSTANCE_BYTES)),
      transport: publication.transport,
      codec: publication.codec,
      addresses: [...publication.addresses],
      pid: owner?.pid ?? 0,
      startTimeMs: owner?.startTimeMs ?? Math.round(this.#wallMs()),
    };
    const registration = await publishRecord(record, {
      store: this.#store,
      leaseMs: this.#leaseMs,
      timers: this.#timers,
      wallMs: this.#wallMs,
      onProblem: this.#options.onProblem,
    });
    // Whoever takes over a crashed service's name finds its remains first. A failure here is the next reader's.
    await this.resolve(record.name).catch(() => {});
    return registration;
  }

  async resolve(name: string): Promise<readonly ServiceRecord[]> {
    const stored = await this.#store.list(serviceName(name));
    const now = { wallMs: this.#wallMs(), monotonicMs: this.#timers.monotonicMs() };
    const live: ServiceRecord[] = [];
    for (const { instance, text, owner } of stored) {
      const leased = parseRecord(text);
      // What lies under a key that is not its own, or is no record, is nobody's: neither given nor removed.
      if (leased === null || leased.record.name !== name || leased.record.instance !== instance) continue;
      const standing = this.#book.judge(leased, owner, now);
      if (standing === "live") live.push(leased.record);
      if (standing === "dead") {
        // Removing is tidying: that somebody else did it first, or may not, is no reason to fail.
        await this.#store.remove({ name, instance }).catch(() => {});
      }
    }
    return live.sort(newestFirst);
  }

  async waitFor(name: string, options: WaitOptions = {}): Promise<readonly ServiceRecord[]> {
    const { timeoutMs = DEFAULT_WAIT_MS, signal } = options;
    signal?.throwIfAborted();
    await using watch = this.#open(name);
    const abort = (): void => watch.fail(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const callOff = this.#timers.after(
      timeoutMs,
      () =>
        watch.fail(
          new DiscoveryError(
            "timeout",
            `could not find "${name}": nobody published it within ${timeoutMs} ms`,
          ),
        ),
    );
    try {
      for (;;) {
        const records = await watch.next();
        if (records !== null && records.length > 0) return records;
      }
    } finally {
      callOff();
      signal?.removeEventListener("abort", abort);
    }
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<readonly ServiceRecord[], undefined> {
    const { signal } = options;
    if (signal?.aborted === true) return;
    await using watch = this.#open(name);
    const abort = (): void => watch.end();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      for (;;) {
        const records = await watch.next();
        if (records === null) return;
        yield records;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #open(name: string): NameWatch {
    return this.#watches.open(serviceName(name));
  }
}

function newestFirst(a: ServiceRecord, b: ServiceRecord): number {
  return b.startTimeMs - a.startTimeMs || (a.instance < b.instance ? -1 : 1);
}
