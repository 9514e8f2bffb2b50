/**
 * The signature of a release: Ed25519 (RFC 8032) over a prefix and the exact bytes of the manifest. The prefix keeps
 * a signature made under the same key for anything else from being one of a release, and the reverse.
 */
import { Failure } from "../../system/failure.ts";

export const RELEASE_KEY_BYTES = 32;
export const RELEASE_SIGNATURE_BYTES = 64;
/** A signature file holds base64 and a line end; more is never read. */
export const MAX_SIGNATURE_FILE_BYTES = 256;

const PREFIX = new TextEncoder().encode("postern release manifest v1\0");
const KEY_TEXT = /^[A-Za-z0-9+/]{43}=$/;
const SIGNATURE_TEXT = /^[A-Za-z0-9+/]{86}==$/;

/** What is signed: prefix and manifest. */
export function signedBytes(manifest: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PREFIX.length + manifest.length);
  bytes.set(PREFIX);
  bytes.set(manifest, PREFIX.length);
  return bytes;
}

/**
 * Reads the public key of releases: 32 bytes in base64, white space around it.
 *
 * @param where names the text in a refusal; the text itself might be a secret given by mistake
 * @throws {Failure}
 */
export function parseReleaseKey(text: string, where: string): Uint8Array<ArrayBuffer> {
  const bytes = decodeExactly(text.trim(), KEY_TEXT);
  if (bytes !== null) return bytes;
  throw new Failure(
    `could not use ${where}: found something else, accepted is the public key of a publisher, ` +
      `${RELEASE_KEY_BYTES} bytes in base64`,
  );
}

/**
 * Verifies a signature over the manifest as it came, before a byte of it is parsed.
 *
 * @throws {Failure} if the signature file is malformed or the signature is not the key's
 */
export async function verifyRelease(
  manifest: Uint8Array,
  signatureFile: Uint8Array,
  publicKey: Uint8Array<ArrayBuffer>,
): Promise<void> {
  const signature = decodeExactly(new TextDecoder().decode(signatureFile).trim(), SIGNATURE_TEXT);
  if (signature === null) {
    throw new Failure(
      `manifest.json.sig is no signature: accepted are ${RELEASE_SIGNATURE_BYTES} bytes in base64`,
    );
  }
  const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  if (await crypto.subtle.verify("Ed25519", key, signature, signedBytes(manifest))) return;
  throw new Failure("the signature of the manifest is not that of the publisher's key", {
    hint:
      "whoever serves this is not who made the key you trust, or the key is not theirs; do not install it",
  });
}

/** Base64 with one accepted spelling; null for any other. */
function decodeExactly(text: string, form: RegExp): Uint8Array<ArrayBuffer> | null {
  if (!form.test(text)) return null;
  const bytes = Uint8Array.fromBase64(text);
  return bytes.toBase64() === text ? bytes : null;
}
