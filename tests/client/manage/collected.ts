/** Bytes that a program printed, for tests. */
export class Collected {
  readonly #parts: Uint8Array[] = [];
  /** How many there are. */
  bytes = 0;

  /** To be given where something wants to print. */
  readonly take = (bytes: Uint8Array): void => {
    this.#parts.push(bytes.slice());
    this.bytes += bytes.length;
  };

  /** All of it as text. */
  get text(): string {
    return new TextDecoder().decode(this.all);
  }

  /** All of it. */
  get all(): Uint8Array {
    const all = new Uint8Array(this.bytes);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}
