import type { Clock } from "../../system/clock.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";
import { type Refusal, REFUSALS } from "./switchboard.ts";

const REFUSAL_LOG = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: REFUSALS.length };
const ERROR_LOG = { perKey: { burst: 5, perMs: 10_000 }, maxKeys: 2 };

/**
 * What a relay says about strangers: that one was turned away, with his address and nothing he said. Of each reason five
 * lines at once and one in ten seconds. Who is stapled with whom is never written down.
 */
export class RefusalLog {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #refusals = new LogThrottle(REFUSAL_LOG);
  readonly #errors = new LogThrottle(ERROR_LOG);

  constructor(log: Log, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** There was no place for a connection. Reason and peer come first, as in the lines of the knock server. */
  refused(reason: Refusal, peer: string): void {
    const { log, suppressed } = this.#refusals.take(reason, this.#clock.monotonicMs());
    if (log) this.#log.warn("connection refused", { reason, peer, suppressed });
  }

  /** A connection could not be accepted. */
  acceptFailed(error: unknown): void {
    this.#failed("accepting failed", error);
  }

  /** Something is wrong with the relay itself. */
  servingFailed(error: unknown): void {
    this.#failed("serving failed", error);
  }

  #failed(message: string, error: unknown): void {
    const { log, suppressed } = this.#errors.take(message, this.#clock.monotonicMs());
    if (log) this.#log.error(message, { error: describeError(error), suppressed });
  }
}
