/**
 * Output of many hosts on one stream: whole lines, each behind the name of its host. On a terminal the name must stay
 * what it is: no host may go back over it, or over the lines of another one, by what it prints.
 */
import { GrowingBytes } from "./growing_bytes.ts";

/** A longer line is cut into several. */
const MAX_LINE_BYTES = 64 * 1024;
const LINE_FEED = 0x0a, TAB = 0x09, CARRIAGE_RETURN = 0x0d, SPACE = 0x20, DELETE = 0x7f;
/** First byte in UTF-8 of U+0080 to U+009F, by which some terminals are driven too; and their second bytes. */
const C1_LEAD = 0xc2, C1_FIRST = 0x80, C1_LAST = 0x9f;
const QUESTION_MARK = 0x3f;

/** Lines of one stream of one host. */
export class LineOutput {
  readonly #prefix: Uint8Array;
  readonly #write: (bytes: Uint8Array) => Promise<void>;
  readonly #isTerminal: boolean;
  /** The line that has no end yet. */
  #rest = new GrowingBytes();

  /**
   * @param write takes whole lines; called one at a time
   * @param isTerminal what could drive one becomes "?"
   */
  constructor(host: string, write: (bytes: Uint8Array) => Promise<void>, isTerminal: boolean) {
    this.#prefix = new TextEncoder().encode(`${host}: `);
    this.#write = write;
    this.#isTerminal = isTerminal;
  }

  /** Writes the lines that are whole with these bytes. */
  async take(bytes: Uint8Array): Promise<void> {
    const lines: Uint8Array[] = [];
    for (let start = 0; start < bytes.length;) {
      const feed = bytes.indexOf(LINE_FEED, start);
      const end = feed === -1 ? bytes.length : feed + 1;
      const part = bytes.subarray(start, Math.min(end, start + MAX_LINE_BYTES - this.#rest.length));
      // Copied: what is kept must not be a view on memory that the next item may have.
      this.#rest.add(part);
      start += part.length;
      if (part.at(-1) === LINE_FEED) lines.push(...this.#line());
      else if (this.#rest.length >= MAX_LINE_BYTES) lines.push(...this.#line(), Uint8Array.of(LINE_FEED));
    }
    if (lines.length > 0) await this.#write(this.#shown(lines));
  }

  /** The last line had no end. */
  async end(): Promise<void> {
    if (this.#rest.length > 0) await this.#write(this.#shown([...this.#line(), Uint8Array.of(LINE_FEED)]));
  }

  #shown(parts: readonly Uint8Array[]): Uint8Array {
    const bytes = joined(parts);
    return this.#isTerminal ? undriving(bytes) : bytes;
  }

  #line(): Uint8Array[] {
    const { bytes } = this.#rest;
    this.#rest = new GrowingBytes();
    return [this.#prefix, bytes];
  }
}

/** With "?" for each control character but a tab and the end of a line, in place. */
function undriving(bytes: Uint8Array): Uint8Array {
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0, next = bytes[at + 1] ?? 0;
    if (byte === C1_LEAD && next >= C1_FIRST && next <= C1_LAST) bytes.fill(QUESTION_MARK, at, at + 2);
    if (byte >= SPACE && byte !== DELETE) continue;
    const isEnd = byte === LINE_FEED || (byte === CARRIAGE_RETURN && next === LINE_FEED);
    if (byte !== TAB && !isEnd) bytes[at] = QUESTION_MARK;
  }
  return bytes;
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
