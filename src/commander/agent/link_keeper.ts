/**
 * Keeps one link to the server, for ever: whatever happens, there is a next attempt.
 *
 *   attempt -> link -> serve until it is lost -> attempt at once -> attempt after a random pause -> ...
 *
 * The pauses are those of reconnect.ts, up to 10 s during the first ten minutes of an outage, later up to 60 s. A server
 * that refuses us is asked more slowly, but it is asked: a revocation may be taken back, and a registry restored.
 * Only the monotonic clock is looked at. After a sleep its timers fire late and the first attempt may be over before
 * it began; the next one is a few seconds later.
 */
import { EARLY_OUTAGE_MS, nextAttemptDelayMs } from "../../protocol/manage/reconnect.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import { type Log, LogThrottle } from "../../system/log.ts";

/** A lost link is dialled at once again, but not twice within this time: a server that hangs up must not be rung like a bell. */
export const AT_ONCE_PAUSE_MS = 10_000;
/** After so long an outage every third attempt has more time: the way may have become that slow, or its names. */
const PATIENT_AFTER_MS = 2 * 60_000;
const PATIENT_MS = 20_000;
/** The same trouble is logged once in this time. */
const REPEATED_LOG_MS = 10 * 60_000;
const MAX_REPORTED = 16;

/** What the server refuses with for a reason that does not go away by itself. */
const REFUSALS: ReadonlySet<ResetCode> = new Set([
  "authentication",
  "revoked",
  "in_use",
  "version",
  "replaced",
]);

/** What keeping a link takes. */
export interface KeeperOptions<Link> {
  /** One attempt on all addresses, in the time that is given or, if it is undefined, the usual one; see server_dial.ts. */
  readonly dial: (signal: AbortSignal, timeMs: number | undefined) => Promise<Link>;
  /** Serves the link until it is gone, and says why it went; never rejects. */
  readonly serve: (link: Link) => Promise<ResetError>;
  readonly timers: Timers;
  /** A number from 0 to less than 1. */
  readonly random: () => number;
  readonly log: Log;
}

/** The keeper. */
export class LinkKeeper<Link> {
  readonly #options: KeeperOptions<Link>;
  #throttle = newThrottle();
  #attempt = 0;
  #lostAtMs: number;
  /** When a link was last dialled at once again. */
  #atOnceMs = -Infinity;
  #isRefused = false;

  constructor(options: KeeperOptions<Link>) {
    this.#options = options;
    this.#lostAtMs = options.timers.monotonicMs();
  }

  /** Keeps the link until the signal is aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#pause(this.#nextDelayMs(), signal);
      if (signal.aborted) return;
      this.#attempt++;
      let link: Link;
      try {
        link = await this.#options.dial(signal, this.#timeMs());
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        continue;
      }
      await this.#serve(link, signal);
    }
  }

  async #serve(link: Link, signal: AbortSignal): Promise<void> {
    const { timers, serve, log } = this.#options;
    const ending = await serve(link);
    // Ended here, and said so elsewhere.
    if (signal.aborted) return;
    const nowMs = this.#lostAtMs = timers.monotonicMs();
    if (nowMs - this.#atOnceMs < AT_ONCE_PAUSE_MS) {
      this.#attempt = 1;
      return this.#failed(ending);
    }
    this.#attempt = 0;
    this.#atOnceMs = nowMs;
    this.#isRefused = isRefusal(ending);
    this.#throttle = newThrottle();
    log.warn("link lost", { reason: ending.code, error: describeError(ending) });
  }

  #failed(error: unknown): void {
    this.#isRefused = isRefusal(error);
    const { log, timers } = this.#options;
    const reason = error instanceof ResetError ? error.code : "unreachable";
    const verdict = this.#throttle.take(reason, timers.monotonicMs());
    if (verdict.log) {
      log.warn("no link to the server", { reason, error: describeError(error) });
    }
  }

  #timeMs(): number | undefined {
    const outageMs = this.#options.timers.monotonicMs() - this.#lostAtMs;
    return outageMs >= PATIENT_AFTER_MS && this.#attempt % 3 === 0 ? PATIENT_MS : undefined;
  }

  #nextDelayMs(): number {
    const { timers, random } = this.#options;
    const outageMs = timers.monotonicMs() - this.#lostAtMs;
    return nextAttemptDelayMs({
      // Who was refused is never again at once.
      attempt: this.#isRefused ? Math.max(1, this.#attempt) : this.#attempt,
      outageMs: this.#isRefused ? Math.max(outageMs, EARLY_OUTAGE_MS) : outageMs,
      random,
    });
  }

  #pause(delayMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = (): void => {
        callOff();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const callOff = this.#options.timers.after(delayMs, done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

function isRefusal(error: unknown): boolean {
  return error instanceof ResetError && REFUSALS.has(error.code);
}

function newThrottle(): LogThrottle {
  return new LogThrottle({ perKey: { burst: 1, perMs: REPEATED_LOG_MS }, maxKeys: MAX_REPORTED });
}
