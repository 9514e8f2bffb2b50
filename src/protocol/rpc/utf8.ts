/**
 * Text to and from UTF-8. The runtime's own encoder and decoder cost a fixed 100 to 250 ns a call; bodies are often
 * shorter than that is worth.
 */

/** Below this a loop over the characters is quicker, as far as they are ASCII. */
const SHORT_WRITE_UNITS = 56;
const SHORT_READ_BYTES = 80;
const ASCII_LIMIT = 0x80;

const encoder = new TextEncoder();
/** A byte order mark is a character like any other: one spelling for each text. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Writes a text as UTF-8. A lone surrogate becomes U+FFFD.
 *
 * @param bytes has room for three bytes per code unit from `at` on
 * @returns how many bytes were written
 */
export function writeText(text: string, bytes: Uint8Array<ArrayBuffer>, at: number): number {
  const units = text.length;
  if (units < SHORT_WRITE_UNITS) {
    let i = 0;
    for (; i < units; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= ASCII_LIMIT) break;
      bytes[at + i] = unit;
    }
    if (i === units) return units;
  }
  return encoder.encodeInto(text, bytes.subarray(at)).written;
}

/**
 * Reads UTF-8.
 *
 * @throws {TypeError} if it is not well-formed
 */
export function readText(bytes: Uint8Array): string {
  if (bytes.length < SHORT_READ_BYTES) {
    const text = shortAscii(bytes);
    if (text !== null) return text;
  }
  return decoder.decode(bytes);
}

function shortAscii(bytes: Uint8Array): string | null {
  for (let i = 0; i < bytes.length; i++) {
    if ((bytes[i] ?? 0) >= ASCII_LIMIT) return null;
  }
  // `apply` takes any list of numbers; its type says arrays only.
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}
