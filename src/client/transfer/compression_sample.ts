/** Whether a chunk looks like one that would become smaller. */

/** So many pieces of a chunk are looked at, spread over it: one part of a file can be of another kind than the next. */
const PIECES = 16;
const PIECE_BYTES = 512;
const BYTE_VALUES = 256;
/** Entropy below that of random bytes that promises something: Huffman's code alone would save 1.5 %. */
const MARGIN_BITS = 0.12;

/**
 * Whether the bytes of a sample of the chunk are spread as if by chance. What is the same only as a whole, such as a
 * picture that comes twice, is not seen; the same within 512 KiB is rare in what looks random otherwise.
 *
 * @param chunk at least 512 bytes, below which anything looks random
 */
export function looksRandom(chunk: Uint8Array): boolean {
  const counts = new Uint32Array(BYTE_VALUES);
  const sampled = countBytes(chunk, counts);
  return bitsPerByte(counts, sampled) > randomBitsPerByte(sampled) - MARGIN_BITS;
}

/** @returns how many bytes were counted */
function countBytes(chunk: Uint8Array, counts: Uint32Array): number {
  const step = Math.max(PIECE_BYTES, Math.floor(chunk.length / PIECES));
  let sampled = 0;
  for (let start = 0; start < chunk.length; start += step) {
    const end = Math.min(start + PIECE_BYTES, chunk.length);
    for (let at = start; at < end; at++) {
      const value = chunk[at] ?? 0;
      counts[value] = (counts[value] ?? 0) + 1;
    }
    sampled += end - start;
  }
  return sampled;
}

/** Shannon's entropy of what was counted. */
function bitsPerByte(counts: Uint32Array, sampled: number): number {
  let sum = 0;
  for (const count of counts) {
    if (count > 0) sum += count * Math.log2(count);
  }
  return Math.log2(sampled) - sum / sampled;
}

/** What that many random bytes have as a rule: less than 8, the fewer they are (Miller and Madow, 1955). */
function randomBitsPerByte(sampled: number): number {
  return 8 - (BYTE_VALUES - 1) / (2 * sampled * Math.LN2);
}
