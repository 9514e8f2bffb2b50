/** How many things each network has. Remembers nobody who has none. */
export class NetworkShares {
  readonly #counts = new Map<string, number>();

  /** How many this network has. */
  of(network: string): number {
    return this.#counts.get(network) ?? 0;
  }

  /** One more. */
  take(network: string): void {
    this.#counts.set(network, this.of(network) + 1);
  }

  /** One less. */
  giveBack(network: string): void {
    const left = this.of(network) - 1;
    if (left > 0) this.#counts.set(network, left);
    else this.#counts.delete(network);
  }
}
