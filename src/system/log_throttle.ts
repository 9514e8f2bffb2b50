export interface LogThrottleOptions {
  /** Each key may log `burst` lines at once and one more every `perMs`. */
  perKey: { burst: number; perMs: number };
  /** Keys remembered at once; all keys beyond share one allowance. */
  maxKeys: number;
}

interface Allowance {
  tokens: number;
  updatedMs: number;
  suppressed: number;
}

/**
 * Decides which of many similar events may write a log line, so that a stranger cannot fill the disk. Time is passed
 * in; memory is bounded by `maxKeys`.
 */
export class LogThrottle {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #maxKeys: number;
  readonly #allowances = new Map<string, Allowance>();
  #overflow: Allowance;

  constructor(options: LogThrottleOptions) {
    this.#burst = options.perKey.burst;
    this.#perMs = options.perKey.perMs;
    this.#maxKeys = options.maxKeys;
    this.#overflow = { tokens: this.#burst, updatedMs: -Infinity, suppressed: 0 };
  }

  /** @returns whether to log, and if so how many events of this key were suppressed since the last line */
  take(key: string, nowMs: number): { log: boolean; suppressed: number } {
    const allowance = this.#find(key, nowMs);
    this.#refill(allowance, nowMs);
    if (allowance.tokens < 1) {
      allowance.suppressed++;
      return { log: false, suppressed: allowance.suppressed };
    }
    allowance.tokens--;
    const suppressed = allowance.suppressed;
    allowance.suppressed = 0;
    return { log: true, suppressed };
  }

  #find(key: string, nowMs: number): Allowance {
    let allowance = this.#allowances.get(key);
    if (allowance !== undefined) {
      // Back to the end: the map stays sorted by last use.
      this.#allowances.delete(key);
      this.#allowances.set(key, allowance);
      return allowance;
    }
    if (this.#allowances.size >= this.#maxKeys && !this.#forgetOldest(nowMs)) return this.#overflow;
    allowance = { tokens: this.#burst, updatedMs: nowMs, suppressed: 0 };
    this.#allowances.set(key, allowance);
    return allowance;
  }

  /** Only a key whose allowance is full again may be forgotten: else new keys would come with new bursts. */
  #forgetOldest(nowMs: number): boolean {
    for (const [key, allowance] of this.#allowances) {
      this.#refill(allowance, nowMs);
      if (allowance.tokens < this.#burst) return false;
      this.#allowances.delete(key);
      return true;
    }
    return false;
  }

  #refill(allowance: Allowance, nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - allowance.updatedMs);
    allowance.tokens = Math.min(this.#burst, allowance.tokens + elapsedMs / this.#perMs);
    allowance.updatedMs = Math.max(allowance.updatedMs, nowMs);
  }
}
