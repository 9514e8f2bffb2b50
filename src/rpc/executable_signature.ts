/**
 * The signature of an executable: Ed25519 (RFC 8032) over the bytes of the file, nothing before or behind them, in a
 * file beside it with `.sig` added to its name: 64 raw bytes, or their base64. Made by, for example,
 *
 *   openssl pkeyutl -sign -rawin -inkey key.pem -in program -out program.sig
 */

/** Length of a public key. */
export const SIGNING_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** What is added to the path of an executable. */
export const SIGNATURE_SUFFIX = ".sig";
/** Base64 and a line end; more is never read. */
export const MAX_SIGNATURE_FILE_BYTES = 256;

/** In the last byte of a key: the sign of x. The rest is y. */
const SIGN_BIT = 0x80;
/**
 * y of the points of small order, in every spelling. With such a key, and a key of zeros is one, a signature that
 * needs no secret passes for every eighth file at least, and the runtime does not refuse it.
 */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
]);

const KEY_TEXT = /^[A-Za-z0-9+/]{43}=$/;
const SIGNATURE_TEXT = /^[A-Za-z0-9+/]{86}==$/;

/**
 * The public key that executables are signed for.
 *
 * @param key 32 bytes, or their base64 with white space around it
 * @throws {TypeError} if it is something else; the message does not repeat it
 */
export function parseSigningKey(key: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = typeof key === "string" ? decodeExactly(key.trim(), KEY_TEXT) : new Uint8Array(key);
  if (bytes?.length !== SIGNING_KEY_BYTES) {
    throw new TypeError(
      `cannot use that public key: accepted are the ${SIGNING_KEY_BYTES} bytes of an Ed25519 key, raw or in base64`,
    );
  }
  if (hasSmallOrder(bytes)) {
    throw new TypeError("cannot use that public key: found one for which anybody can sign");
  }
  return bytes;
}

function hasSmallOrder(key: Uint8Array): boolean {
  const y = key.with(SIGNING_KEY_BYTES - 1, (key[SIGNING_KEY_BYTES - 1] ?? 0) & ~SIGN_BIT);
  return SMALL_ORDER.has(y.toHex());
}

/** The signature in a file; null if there is none. */
export function parseSignatureFile(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> | null {
  if (file.length === SIGNATURE_BYTES) return file;
  return decodeExactly(new TextDecoder().decode(file).trim(), SIGNATURE_TEXT);
}

/** Whether a signature is the key's over an image. */
export async function isSigned(
  image: Uint8Array<ArrayBuffer>,
  signature: Uint8Array<ArrayBuffer>,
  key: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const imported = await crypto.subtle.importKey("raw", key, "Ed25519", false, ["verify"]);
  return await crypto.subtle.verify("Ed25519", imported, signature, image);
}

/** Base64 with one accepted spelling; null for any other. */
function decodeExactly(text: string, form: RegExp): Uint8Array<ArrayBuffer> | null {
  if (!form.test(text)) return null;
  const bytes = Uint8Array.fromBase64(text);
  return bytes.toBase64() === text ? bytes : null;
}
