/** The hash by which a receiver knows that a whole file is the one that was sent. */

/** Length of the hash of a chunk and of a file. */
export const HASH_BYTES = 32;
const SIZE_BYTES = 8;

/**
 * Hash of a file: SHA-256 over its size (u64, big-endian) and the SHA-256 of each of its chunks, in order. So it costs
 * nothing of the file to be read again, neither side's, whatever was sent before.
 *
 * @param chunkHashes 32 bytes for each chunk, one after the other; empty for an empty file
 * @returns 32 bytes
 */
export async function fileHash(
  sizeBytes: number,
  chunkHashes: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const hashed = new Uint8Array(SIZE_BYTES + chunkHashes.length);
  new DataView(hashed.buffer).setBigUint64(0, BigInt(sizeBytes));
  hashed.set(chunkHashes, SIZE_BYTES);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", hashed));
}
