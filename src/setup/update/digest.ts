/** SHA-256 of what is too large to hold in memory. */

export interface Digest {
  update(chunk: Uint8Array): void;
  /** Lower-case hex; once. */
  finish(): string;
}

/** WebCrypto cannot hash piece by piece, and in JavaScript it takes seconds for the files of a release. */
export async function startSha256(): Promise<Digest> {
  const { createHash } = await import("node:crypto");
  const hash = createHash("sha256");
  return { update: (chunk) => void hash.update(chunk), finish: () => hash.digest("hex") };
}

const READ_BYTES = 1024 * 1024;

/** SHA-256 of a file in hex, and its size. */
export async function hashFile(path: string): Promise<{ sha256: string; sizeBytes: number }> {
  const digest = await startSha256();
  using file = await Deno.open(path, { read: true });
  const buffer = new Uint8Array(READ_BYTES);
  let sizeBytes = 0;
  for (let count = await file.read(buffer); count !== null; count = await file.read(buffer)) {
    digest.update(buffer.subarray(0, count));
    sizeBytes += count;
  }
  return { sha256: digest.finish(), sizeBytes };
}
