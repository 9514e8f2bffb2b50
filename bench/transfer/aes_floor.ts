/** What the machine itself can encrypt: no transfer that encrypts once can be faster than this. */

const RECORD_BYTES = 2 ** 20;
const BYTES_PER_MB = 1e6;
const NONCE_BYTES = 12;
const WARM_UP = 8;

/** WebCrypto's AES-256-GCM on records of 1 MiB, one at a time, in MB/s. */
export async function aesFloor(records: number): Promise<number> {
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt"]);
  const record = new Uint8Array(RECORD_BYTES);
  const iv = new Uint8Array(NONCE_BYTES);
  const counter = new DataView(iv.buffer);
  let start = 0;
  for (let at = -WARM_UP; at < records; at++) {
    if (at === 0) start = performance.now();
    // No nonce twice, as with real records.
    counter.setUint32(0, at + WARM_UP);
    await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, record);
  }
  return records * RECORD_BYTES / BYTES_PER_MB / ((performance.now() - start) / 1000);
}
