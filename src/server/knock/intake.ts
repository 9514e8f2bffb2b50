/**
 * What follows from a verdict: counts, log lines, and for a spent packet the way to the commander.
 *
 * ```
 *   refused ------------------------------------------------> count, log
 *   spent --> commit the floor --+-- failed ----------------> floor_not_durable
 *                                +-- not allowed, rate -----> count, log
 *                                +-- queue full ------------> queue_full
 *                                +--> forwarder, count, log
 * ```
 *
 * Nothing a stranger sends is logged but his address; of what is authentic, also who and by which values. Of each reason
 * five lines at once and one in ten seconds. Reason and peer come first in a line, before anything that somebody chose:
 * fail2ban reads them there.
 */
import { tryParseIp } from "../../protocol/knock/address.ts";
import { formatCommandHash } from "../../protocol/knock/command_hash.ts";
import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { LogThrottle } from "../../system/log.ts";
import type { Log, LogFields } from "../../system/log.ts";
import type { ForwardMessage } from "../../protocol/knock/forward_message.ts";
import type { Spent, Verdict } from "./judge.ts";
import { noRefusals, REFUSAL_REASONS } from "./refusal.ts";
import type { RefusalCounts, RefusalReason } from "./refusal.ts";

export interface IntakeOptions {
  /** Resolves when all floors raised so far are durable. */
  readonly commit: () => Promise<void>;
  /** false: the queue is full. */
  readonly forward: (message: ForwardMessage) => boolean;
  readonly log: Log;
  readonly clock: Clock;
}

const REFUSAL_LOG = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: REFUSAL_REASONS.length };
/**
 * Spent packets of one key that may wait for the disk. With a disk that hangs, memory must not grow with the knocks.
 * One limit for all keys together would be the tempting place: the holder of one key, however little that may do,
 * would fill it and have the knocks of all others refused, and spent.
 */
const MAX_UNCOMMITTED_PER_KEY = 64;

export class Intake {
  readonly refused: RefusalCounts = noRefusals();
  readonly #options: IntakeOptions;
  readonly #throttle = new LogThrottle(REFUSAL_LOG);
  readonly #settling = new Set<Promise<void>>();
  /** How many of these each key has, by file stem. */
  readonly #settlingOf = new Map<string, number>();
  #accepted = 0;
  #held = 0;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Knocks handed to the forwarder. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Packets that had to wait for a draw. */
  get held(): number {
    return this.#held;
  }

  /** Spent packets that wait for the disk. */
  get uncommitted(): number {
    return this.#settling.size;
  }

  take(verdict: Verdict): void {
    if (verdict.kind === "refused") this.#refuse(verdict.reason, verdict.peer, verdict.facts);
    else if (verdict.kind === "held") this.#held++;
    else this.#takeSpent(verdict);
  }

  #takeSpent(spent: Spent): void {
    const ofKey = this.#settlingOf.get(spent.key) ?? 0;
    if (ofKey >= MAX_UNCOMMITTED_PER_KEY) return this.#refuseSpent("floor_not_durable", spent);
    this.#settlingOf.set(spent.key, ofKey + 1);
    const settling = this.#settle(spent);
    this.#settling.add(settling);
    void settling.then(() => {
      this.#settling.delete(settling);
      this.#release(spent.key);
    });
  }

  #release(key: string): void {
    const left = (this.#settlingOf.get(key) ?? 0) - 1;
    if (left > 0) this.#settlingOf.set(key, left);
    else this.#settlingOf.delete(key);
  }

  /** Resolves when no spent packet waits for the disk. */
  async settled(): Promise<void> {
    while (this.#settling.size > 0) await Promise.all(this.#settling);
  }

  /**
   * Also a packet that is refused waits for its floor: it counts as refused for ever, and that is true only once
   * its floor survives a crash.
   */
  async #settle(spent: Spent): Promise<void> {
    try {
      await this.#options.commit();
    } catch (error) {
      this.#refuseSpent("floor_not_durable", spent, { error: describeError(error) });
      return;
    }
    if (spent.refusal !== null) {
      this.#refuseSpent(spent.refusal, spent);
    } else if (!this.#options.forward(spent.message)) {
      this.#refuseSpent("queue_full", spent);
    } else {
      this.#accepted++;
      this.#options.log.info("knock accepted", describeSpent(spent));
    }
  }

  #refuseSpent(reason: RefusalReason, spent: Spent, more: LogFields = {}): void {
    // Facts are of the judge's refusal, which a failure after it may have taken the place of.
    const facts = reason === spent.refusal ? spent.facts : {};
    this.#refuse(reason, spent.peer, { ...describeSpent(spent), ...facts, ...more });
  }

  #refuse(reason: RefusalReason, peer: string, more?: LogFields): void {
    this.refused[reason]++;
    const { log, suppressed } = this.#throttle.take(reason, this.#options.clock.monotonicMs());
    if (!log) return;
    // The canonical text, so that an IPv4 peer of a [::] socket looks to fail2ban as it does everywhere else.
    this.#options.log.warn("packet refused", { reason, peer: tryParseIp(peer) ?? peer, ...more, suppressed });
  }
}

/** Authentic, so safe to name: these fields come from a holder of the key. */
function describeSpent(spent: Spent): LogFields {
  return {
    key: spent.key,
    command: `#${formatCommandHash(spent.message.commandHash)}`,
    ip: spent.message.ip,
    peer: spent.peer,
    counter: spent.counter,
  };
}
