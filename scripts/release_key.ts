/** The publisher's key pair: Ed25519, private as PKCS#8, public as 32 bytes, both in base64. */
import { PRIVATE_MODE, writeFileDurably } from "../src/system/durable_file.ts";
import { Failure } from "../src/system/failure.ts";
import { signedBytes } from "../src/setup/update/release_signature.ts";

const PUBLIC_MODE = 0o644;
const OTHERS_BITS = 0o077;

/** Makes a pair in two new files, `path` and `path`.pub; gives the public key in base64. */
export async function makeReleaseKey(path: string): Promise<string> {
  for (const each of [path, `${path}.pub`]) {
    if (await Deno.lstat(each).then(() => true, () => false)) {
      throw new Failure(`could not write ${each}: it exists, and a key that is overwritten is lost`);
    }
  }
  const pair = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
  if (!("publicKey" in pair)) throw new TypeError("Ed25519 keys come in pairs");
  const publicText = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)).toBase64();
  const privateText = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)).toBase64();
  await writeFileDurably(path, lineOf(privateText), { mode: PRIVATE_MODE });
  await writeFileDurably(`${path}.pub`, lineOf(publicText), { mode: PUBLIC_MODE });
  return publicText;
}

/**
 * Reads the private key.
 *
 * @throws {Failure} if others may read the file, or it is no such key; what is in it is never shown
 */
export async function readReleaseKey(path: string): Promise<CryptoKey> {
  let text: string;
  try {
    const { mode } = await Deno.stat(path);
    if (mode !== null && (mode & OTHERS_BITS) !== 0) {
      throw new Failure(`could not use ${path}: others may read it, accepted is mode 0600`, {
        hint: `chmod 600 ${path}; if somebody has read it, make a new key`,
      });
    }
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(`could not read ${path}`, { cause: error });
  }
  try {
    return await crypto.subtle.importKey("pkcs8", Uint8Array.fromBase64(text.trim()), "Ed25519", false, [
      "sign",
    ]);
  } catch {
    // The cause might quote the content.
    throw new Failure(`could not use ${path}: accepted is a private key as --new-key makes it`);
  }
}

/** The content of `manifest.json.sig`. */
export async function signManifest(manifest: Uint8Array, key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  return lineOf(new Uint8Array(await crypto.subtle.sign("Ed25519", key, signedBytes(manifest))).toBase64());
}

function lineOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\n`);
}
