/** Bytes of one output stream that are kept for the log. */
export const CAPTURE_BYTES = 64 * 1024;

/**
 * Reads a child's output to its end and keeps the beginning. What comes after the cap is read too, and thrown away: a
 * full pipe would stop the child, a closed one kill it.
 */
export class Capture {
  /** Resolves at the end of the stream, or once `stop` was called; never rejects. */
  readonly done: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #kept: Uint8Array[] = [];
  readonly #capBytes: number;
  #keptBytes = 0;
  #droppedBytes = 0;

  constructor(stream: ReadableStream<Uint8Array>, capBytes = CAPTURE_BYTES) {
    this.#reader = stream.getReader();
    this.#capBytes = capBytes;
    this.done = this.#readAll();
  }

  /** How many bytes came after the cap. */
  get droppedBytes(): number {
    return this.#droppedBytes;
  }

  /** Stops reading, though somebody may still hold the other end. */
  async stop(): Promise<void> {
    await this.#reader.cancel().catch(() => {});
  }

  /** What was kept, as UTF-8 with U+FFFD for what is none, without line breaks at the end. */
  text(): string {
    const bytes = new Uint8Array(this.#keptBytes);
    let offset = 0;
    for (const chunk of this.#kept) {
      bytes.set(chunk, offset);
      offset += chunk.length;
    }
    return new TextDecoder().decode(bytes).replace(/[\r\n]+$/, "");
  }

  async #readAll(): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) return;
        const room = this.#capBytes - this.#keptBytes;
        // A copy: the chunk may be a small part of a large buffer that would stay in memory with it.
        if (room > 0) this.#kept.push(value.slice(0, room));
        this.#keptBytes += Math.min(room, value.length);
        this.#droppedBytes += Math.max(0, value.length - room);
      }
    } catch {
      // A broken pipe is the end of the output.
    }
  }
}
