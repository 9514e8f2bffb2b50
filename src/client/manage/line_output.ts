/** Output of many hosts on one stream: whole lines, each behind the name of its host. */

/** A longer line is cut into several. */
const MAX_LINE_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

/** Lines of one stream of one host. */
export class LineOutput {
  readonly #prefix: Uint8Array;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  /** The line that has no end yet. */
  #rest: Uint8Array[] = [];
  #restBytes = 0;

  /** @param write takes whole lines; called one at a time */
  constructor(host: string, write: (bytes: Uint8Array) => Promise<void>) {
    this.#prefix = new TextEncoder().encode(`${host}: `);
    this.#write = write;
  }

  /** Writes the lines that are whole with these bytes. */
  async take(bytes: Uint8Array): Promise<void> {
    const lines: Uint8Array[] = [];
    let start = 0;
    while (start < bytes.length) {
      const feed = bytes.indexOf(LINE_FEED, start);
      const end = feed === -1 ? bytes.length : feed + 1;
      const part = bytes.subarray(start, Math.min(end, start + MAX_LINE_BYTES - this.#restBytes));
      this.#rest.push(part);
      this.#restBytes += part.length;
      start += part.length;
      if (part.at(-1) === LINE_FEED) lines.push(...this.#line());
      else if (this.#restBytes >= MAX_LINE_BYTES) lines.push(...this.#line(), Uint8Array.of(LINE_FEED));
    }
    // What is kept must not be a view on memory that the next item may have.
    this.#rest = this.#rest.map((part) => part.slice());
    if (lines.length > 0) await this.#write(joined(lines));
  }

  /** The last line had no end. */
  async end(): Promise<void> {
    if (this.#restBytes > 0) await this.#write(joined([...this.#line(), Uint8Array.of(LINE_FEED)]));
  }

  #line(): Uint8Array[] {
    const line = [this.#prefix, ...this.#rest];
    this.#rest = [];
    this.#restBytes = 0;
    return line;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
