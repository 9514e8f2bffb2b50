/** Short texts that were read before, by their bytes: finding one is several times as quick as making it anew. */
import { readText } from "./utf8.ts";

/** A power of two. */
const SLOTS = 256;

/** Remembers a fixed number of texts. Whoever sends ever new ones pushes the old ones out, and loses by it himself. */
export class ShortTexts {
  readonly #slots: string[] = new Array(SLOTS).fill("");

  /**
   * The text of some UTF-8.
   *
   * @throws {TypeError} if it is not well-formed
   */
  text(bytes: Uint8Array, at: number, length: number): string {
    const slot = slotOf(bytes, at, length);
    const known = this.#slots[slot] ?? "";
    if (isAt(known, bytes, at, length)) return known;
    const text = readText(bytes.subarray(at, at + length));
    // Only ASCII can be compared with bytes unit by unit.
    if (text.length === length) this.#slots[slot] = text;
    return text;
  }
}

/** Length and three of the bytes tell most names of one program apart. */
function slotOf(bytes: Uint8Array, at: number, length: number): number {
  const first = bytes[at] ?? 0, middle = bytes[at + (length >> 1)] ?? 0, last = bytes[at + length - 1] ?? 0;
  return (first * 31 + middle * 17 + last * 7 + length) & (SLOTS - 1);
}

function isAt(known: string, bytes: Uint8Array, at: number, length: number): boolean {
  if (known.length !== length) return false;
  for (let i = 0; i < length; i++) {
    if (known.charCodeAt(i) !== bytes[at + i]) return false;
  }
  return true;
}
