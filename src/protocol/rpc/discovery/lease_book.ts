/**
 * Who of the recorded is alive. Decided by what this observer saw pass on its own monotonic clock; the wall clocks of
 * both sides only help to trust a record at first sight, and never keep a dead one or remove a living one:
 *
 *   seen first --- store says the owner lives -------------------------> live
 *       |      --- store says it has gone -----------------------------> dead, removed
 *       |      --- renewed within one lease, by both wall clocks ------> live
 *       +----- --- older than that, or from the future ---------------> doubtful: not given, not removed
 *   then:  renewed --------------------------------------------------> live
 *          not renewed for a lease (monotonic) while it was watched -> dead; removed unless the store says it lives
 *
 * A clock set back makes records come from the future: without the middle state they would be believed for as long as
 * the clock was set back, or, the other way round, every living service would be swept away at once.
 */
import type { LeasedRecord } from "./record.ts";
import type { StoredRecord } from "./record_store.ts";

/** What is held of a record. */
export type Standing = "live" | "doubtful" | "dead";

/** Most instances that are remembered; beyond it the ones seen longest ago are forgotten and begin anew. */
const MAX_SIGHTINGS = 4096;

interface Sighting {
  readonly beat: number;
  /** When this beat was seen first, on our monotonic clock. */
  readonly sinceMs: number;
  /** Whether this beat came while the record was being looked at: somebody renews it. */
  readonly wasRenewed: boolean;
  /** When it was looked at last. */
  lookedMs: number;
}

/** One observer's memory of the records it has seen. */
export class LeaseBook {
  readonly #sightings = new Map<string, Sighting>();

  /** Judges one record as it stands in the store now. */
  judge(
    leased: LeasedRecord,
    owner: StoredRecord["owner"],
    now: { readonly wallMs: number; readonly monotonicMs: number },
  ): Standing {
    if (owner === "gone") return "dead";
    const { leaseMs, renewedAtMs } = leased;
    const sighting = this.#see(leased, now.monotonicMs);
    if (now.monotonicMs - sighting.sinceMs > leaseMs) return "dead";
    if (owner === "alive" || sighting.wasRenewed) return "live";
    const ageMs = now.wallMs - renewedAtMs;
    return ageMs >= 0 && ageMs <= leaseMs ? "live" : "doubtful";
  }

  /** How many instances are remembered. */
  get size(): number {
    return this.#sightings.size;
  }

  #see({ record: { instance }, beat, leaseMs }: LeasedRecord, monotonicMs: number): Sighting {
    const before = this.#sightings.get(instance);
    // After a longer pause another beat only says that it was renewed at some time in the pause.
    const isWatched = before !== undefined && monotonicMs - before.lookedMs <= leaseMs;
    if (before?.beat === beat) {
      before.lookedMs = monotonicMs;
      return before;
    }
    const sighting = { beat, sinceMs: monotonicMs, wasRenewed: isWatched, lookedMs: monotonicMs };
    this.#sightings.delete(instance); // to the end of the order of insertion
    this.#sightings.set(instance, sighting);
    if (this.#sightings.size > MAX_SIGHTINGS) {
      const [oldest] = this.#sightings.keys();
      if (oldest !== undefined) this.#sightings.delete(oldest);
    }
    return sighting;
  }
}
