/** The key folder: each regular file `<stem>.key` of `config_dir` holds one key. */
import { KEY_TEXT_CHARS, KeyError, parseKey } from "../../protocol/knock/key.ts";
import type { Key } from "../../protocol/knock/key.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { SERVER_USER } from "./config.ts";

export interface KeyFile {
  /** File name without `.key`: the name of its `[keys.<stem>]` table, of log fields and status labels. */
  readonly stem: string;
  readonly path: string;
  readonly key: Key;
}

/** What a look into the folder found. With any problem the server refuses to start, or to reload. */
export interface KeyFolder {
  readonly keys: readonly KeyFile[];
  /** One for each file that cannot be used, and one if there is none at all; they never hold file content. */
  readonly problems: readonly Failure[];
  /** Files that are there but could not be read: whether they still hold their key is unknown. */
  readonly unreadableStems: ReadonlySet<string>;
  /** Keys that more people can read than should. */
  readonly warnings: readonly string[];
}

const SUFFIX = ".key";
/** Room for white space around the key's text; a larger file is something else. */
const MAX_KEY_FILE_BYTES = KEY_TEXT_CHARS + 1024;
const READABLE_BY_ALL = 0o004;
const PERMISSION_BITS = 0o777;
const GEN_HINT = "make one with: postern client gen --key-file FILE";

/**
 * Reads every key of the folder. A symbolic link to a regular file counts as one; folders, sockets and the
 * like do not.
 *
 * @throws {Failure} if the folder itself cannot be read
 */
export async function readKeyFolder(folder: string): Promise<KeyFolder> {
  const keys: KeyFile[] = [];
  const problems: Failure[] = [];
  const unreadableStems = new Set<string>();
  const warnings: string[] = [];
  for (const stem of await listStems(folder)) {
    const path = joinPath(folder, stem + SUFFIX);
    try {
      const info = await Deno.stat(path);
      if (!info.isFile) continue;
      keys.push({ stem, path, key: parseKey(await readKeyText(path, info.size)) });
      warnings.push(...openToAllWarning(path, info.mode));
    } catch (error) {
      problems.push(
        new Failure(`cannot use key file ${path}: ${describeError(error)}`, {
          hint: hintFor(path, error),
          cause: error,
        }),
      );
      // A dangling link or another text is a key that is gone; any other failure leaves open what the file holds.
      const gone = error instanceof KeyError || error instanceof Deno.errors.NotFound;
      if (!gone) unreadableStems.add(stem);
    }
  }
  problems.push(...duplicateProblems(keys));
  if (keys.length === 0 && problems.length === 0) {
    problems.push(
      new Failure(
        `cannot serve without a key: found no file *${SUFFIX} in ${folder}, accepted is at least one`,
        {
          hint: GEN_HINT,
        },
      ),
    );
  }
  return { keys, problems, unreadableStems, warnings };
}

function hintFor(path: string, error: unknown): string {
  if (!(error instanceof Deno.errors.PermissionDenied)) return GEN_HINT;
  return `let the server's user read it: chown root:${SERVER_USER} ${path} && chmod 640 ${path}`;
}

async function listStems(folder: string): Promise<string[]> {
  const stems: string[] = [];
  try {
    for await (const entry of Deno.readDir(folder)) {
      // A file called just ".key" has no stem, hence no name to speak of it by; ruroco skips it too.
      if (entry.name.endsWith(SUFFIX) && entry.name !== SUFFIX) {
        stems.push(entry.name.slice(0, -SUFFIX.length));
      }
    }
  } catch (error) {
    throw new Failure(`cannot read the key folder ${folder}: ${describeError(error)}`, { cause: error });
  }
  return stems.sort();
}

async function readKeyText(path: string, sizeBytes: number): Promise<string> {
  if (sizeBytes > MAX_KEY_FILE_BYTES) {
    throw new KeyError(
      `cannot read key: found ${sizeBytes} bytes, accepted are ${KEY_TEXT_CHARS} characters`,
    );
  }
  return await Deno.readTextFile(path);
}

function openToAllWarning(path: string, mode: number | null): string[] {
  if (mode === null || (mode & READABLE_BY_ALL) === 0) return [];
  const shown = (mode & PERMISSION_BITS).toString(8).padStart(4, "0");
  return [`key file ${path} can be read by every user of this machine (mode ${shown}): chmod o-r ${path}`];
}

function duplicateProblems(keys: readonly KeyFile[]): Failure[] {
  const first = new Map<bigint, KeyFile>();
  const problems: Failure[] = [];
  for (const file of keys) {
    const other = first.get(file.key.id);
    if (other === undefined) first.set(file.key.id, file);
    else {
      problems.push(
        new Failure(
          `cannot use key file ${file.path}: found the same key id as in ${other.path}, accepted is one file a key`,
        ),
      );
    }
  }
  return problems;
}
