/** Makes keys. */
import { formatKey, formatKeyId, generateKey } from "../../protocol/knock/key.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import { isKeyText } from "./key_source.ts";

/** A new key as text (56 characters) and its id as 16 hex digits. */
export interface GeneratedKey {
  readonly keyText: string;
  readonly keyId: string;
}

/** Makes a new random key. */
export function makeKey(): GeneratedKey {
  const key = generateKey();
  return { keyText: formatKey(key), keyId: formatKeyId(key.id) };
}

/**
 * Writes a key to a new file that only its owner can read.
 *
 * @throws {UsageFailure} if the name is a key itself, which would be shown in every listing of its folder
 * @throws {Failure} naming the file if it exists already (O_EXCL: a symlink somebody planted counts as existing) or
 * cannot be written; a file that could not be written whole is removed
 */
export async function writeKeyFile(path: string, keyText: string): Promise<void> {
  if (isKeyText(path)) {
    throw new UsageFailure("cannot use option --key-file: found a key, accepted: the name of a new file", {
      hint: "that looks like a key itself: postern client gen --key-file user.key",
    });
  }
  if (!hasPermission({ name: "write", path })) {
    throw new Failure(`cannot write key file ${path}: no permission to write it`, {
      hint: `add --allow-write=${path} to deno run`,
    });
  }
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw new Failure(`cannot write key file ${path}: it exists, accepted: a file that does not`, {
        hint: "a key that is overwritten is lost: name another file, or move the old one away",
      });
    }
    throw new Failure(`cannot write key file ${path}`, { cause: error });
  }
  try {
    const bytes = new TextEncoder().encode(keyText);
    for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
    await file.sync();
  } catch (error) {
    await Deno.remove(path).catch(() => {});
    throw new Failure(`cannot write key file ${path}`, { cause: error });
  } finally {
    file.close();
  }
}
