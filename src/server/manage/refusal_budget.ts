/**
 * How many of an administrator's opens may come to nothing. Each one that a host refuses costs two durable rows: without
 * a bound a program that tries for ever would fill the disk. Opens that succeed cost nothing here.
 */
export class RefusalBudget {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #spent = new Map<string, { count: number; atMs: number }>();

  /** @param options.burst how many at once; one more is good again every `perMs` */
  constructor({ burst, perMs }: { readonly burst: number; readonly perMs: number }) {
    this.#burst = burst;
    this.#perMs = perMs;
  }

  /** Whether somebody has none left. */
  isSpent(who: string, nowMs: number): boolean {
    return this.#countOf(who, nowMs) > this.#burst - 1;
  }

  /** One came to nothing. */
  spend(who: string, nowMs: number): void {
    this.#spent.set(who, { count: this.#countOf(who, nowMs) + 1, atMs: nowMs });
  }

  #countOf(who: string, nowMs: number): number {
    const spent = this.#spent.get(who);
    if (spent === undefined) return 0;
    const left = spent.count - (nowMs - spent.atMs) / this.#perMs;
    if (left > 0) return left;
    this.#spent.delete(who);
    return 0;
  }
}
