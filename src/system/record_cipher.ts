/**
 * AES-256-GCM on this thread, for short records: WebCrypto hands each one to another thread and back, which costs more
 * than the encryption of some kilobytes, and on a busy machine many times as much. For long ones it is slower than
 * WebCrypto and holds up everything else meanwhile.
 */

const ALGORITHM = "aes-256-gcm";
const TAG_BYTES = 16;

/** Seals and opens at once; see `ShortRecordCipher` of the protocol's records. */
export interface RecordCipher {
  seal(key: Uint8Array, nonce: Uint8Array, head: Uint8Array, plaintext: Uint8Array): Uint8Array<ArrayBuffer>;
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    head: Uint8Array,
    body: Uint8Array,
  ): Uint8Array<ArrayBuffer> | null;
}

/** Loads it: 20 ms for a program that has loaded nothing of node, nothing for one that has loaded `node:tls`. */
export async function loadRecordCipher(): Promise<RecordCipher> {
  const { createCipheriv, createDecipheriv } = await import("node:crypto");
  return {
    seal(key, nonce, head, plaintext): Uint8Array<ArrayBuffer> {
      const cipher = createCipheriv(ALGORITHM, key, nonce);
      cipher.setAAD(head);
      const body = new Uint8Array(plaintext.length + TAG_BYTES);
      body.set(cipher.update(plaintext));
      cipher.final();
      body.set(cipher.getAuthTag(), plaintext.length);
      return body;
    },
    open(key, nonce, head, body): Uint8Array<ArrayBuffer> | null {
      const end = body.length - TAG_BYTES;
      const decipher = createDecipheriv(ALGORITHM, key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(head);
      decipher.setAuthTag(body.subarray(end));
      const plaintext = new Uint8Array(decipher.update(body.subarray(0, end)));
      try {
        // What it gave before this is nobody's until the tag was found to be right.
        decipher.final();
        return plaintext;
      } catch {
        return null;
      }
    },
  };
}
