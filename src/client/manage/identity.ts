/** The administrator's own key: an Ed25519 seed in a file of its own, made once and never sent anywhere. */
import { SEED_BYTES, SigningKey } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes } from "../../protocol/rpc/timers.ts";
import { Failure } from "../../system/failure.ts";
import { type ManageFolder, readText, writeText } from "./manage_folder.ts";

const OTHERS_BITS = 0o077;
/** 43 characters. */
const SEED_TEXT = { alphabet: "base64url", omitPadding: true } as const;

/**
 * The key in the folder.
 *
 * @throws {Failure} if there is none, others may read it, or the file holds something else
 */
export async function readIdentity(folder: ManageFolder): Promise<SigningKey> {
  const key = await identityIfAny(folder);
  if (key !== null) return key;
  throw new Failure(`no key of yours is known: ${folder.identityPath} does not exist`, {
    hint: "postern client join TOKEN makes one and registers it",
  });
}

/**
 * The key in the folder, or a new one that is durable when this resolves: whoever is shown a key must find the same one
 * again after a power cut.
 *
 * @throws {Failure} as `readIdentity`, or if it cannot be written
 */
export async function readOrMakeIdentity(folder: ManageFolder, random: RandomBytes): Promise<SigningKey> {
  return await folder.locked(async () => {
    const kept = await identityIfAny(folder);
    if (kept !== null) return kept;
    const key = await SigningKey.generate(random);
    writeText(folder.identityPath, `${key.seed.toBase64(SEED_TEXT)}\n`);
    return key;
  });
}

async function identityIfAny({ identityPath: path }: ManageFolder): Promise<SigningKey | null> {
  const text = readText(path);
  if (text === null) return null;
  requirePrivate(path);
  const seed = seedOf(text.trimEnd());
  if (seed !== null) return await SigningKey.fromSeed(seed);
  // Without what was found: it may be most of a key.
  throw new Failure(`cannot use ${path}: it holds no key, accepted are 43 characters of base64url`, {
    hint: "restore the file from a backup, or join again in another folder by --dir",
  });
}

function seedOf(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    const seed = Uint8Array.fromBase64(text, SEED_TEXT);
    return seed.length === SEED_BYTES ? seed : null;
  } catch {
    return null;
  }
}

function requirePrivate(path: string): void {
  if (Deno.build.os === "windows") return;
  const mode = Deno.statSync(path).mode ?? 0;
  if ((mode & OTHERS_BITS) === 0) return;
  throw new Failure(
    `cannot use the key ${path}: found mode ${
      (mode & 0o777).toString(8)
    }, which lets others read it, accepted is 600`,
    {
      hint:
        `chmod 600 ${path}; if somebody may have read it, ask the operator of the server to invite you anew`,
    },
  );
}
