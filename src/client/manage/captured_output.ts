/** Output of a program, kept up to a limit. */
import { GrowingBytes } from "./growing_bytes.ts";

/** Of each stream of each host. */
export const MAX_CAPTURED_BYTES = 1024 * 1024;

/** How captured output stands in JSON: as text, or in base64 where it is no UTF-8. */
export type CapturedText =
  & ({ readonly text: string } | { readonly base64: string })
  /** How many bytes behind it were thrown away. */
  & { readonly cutBytes: number };

/** One stream. */
export class CapturedOutput {
  readonly #maxBytes: number;
  readonly #kept = new GrowingBytes();
  #cutBytes = 0;

  /** Empty. */
  constructor(maxBytes: number = MAX_CAPTURED_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Keeps what there is room for. */
  take(bytes: Uint8Array): void {
    const kept = bytes.subarray(0, this.#maxBytes - this.#kept.length);
    this.#kept.add(kept);
    this.#cutBytes += bytes.length - kept.length;
  }

  /** What was kept. */
  shown(): CapturedText {
    const { bytes } = this.#kept;
    const text = this.#textOf(bytes);
    return text === null
      ? { base64: bytes.toBase64(), cutBytes: this.#cutBytes }
      : { text, cutBytes: this.#cutBytes };
  }

  /** Null of what is no UTF-8; a character that was cut in two at the limit is left away. */
  #textOf(bytes: Uint8Array): string | null {
    try {
      // ignoreBOM keeps one: the bytes shall be the same.
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return decoder.decode(bytes, { stream: this.#cutBytes > 0 });
    } catch {
      return null;
    }
  }
}
