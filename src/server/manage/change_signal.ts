/** Says that something has changed, to all who wait for it. */
export class ChangeSignal {
  #version = 0;
  #next = Promise.withResolvers<void>();

  /** Counts the changes. */
  get version(): number {
    return this.#version;
  }

  /** Something has changed. */
  changed(): void {
    this.#version++;
    const { resolve } = this.#next;
    this.#next = Promise.withResolvers<void>();
    resolve();
  }

  /** Waits until there is another version than this one; rejects with the signal's reason. */
  async after(version: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (version !== this.#version) return;
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([this.#next.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}
