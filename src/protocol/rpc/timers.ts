/** Time as the RPC layer sees it; a parameter, so that tests can let it pass. */
export interface Timers {
  /** Milliseconds since some fixed point; never goes back. */
  monotonicMs(): number;
  /**
   * Calls `act` once, not before `delayMs` milliseconds have passed.
   *
   * @returns a function that calls it off, which does nothing afterwards
   */
  after(delayMs: number, act: () => void): () => void;
}

/** Longest delay that a runtime's timer keeps; a longer one would fire at once. */
const MAX_DELAY_MS = 2_147_483_647;

/** The timers of the runtime: Deno, a browser or Node. */
export const systemTimers: Timers = {
  monotonicMs(): number {
    return performance.now();
  },

  after(delayMs: number, act: () => void): () => void {
    const timer = setTimeout(act, Math.min(delayMs, MAX_DELAY_MS));
    return () => clearTimeout(timer);
  },
};

/** Gives that many fresh random bytes; a parameter, so that tests can repeat a dialogue. */
export type RandomBytes = (length: number) => Uint8Array<ArrayBuffer>;

/** Random bytes of the runtime's generator. */
export const systemRandomBytes: RandomBytes = (length): Uint8Array<ArrayBuffer> =>
  crypto.getRandomValues(new Uint8Array(length));
