/** Where the key of a knock comes from: the command line, standard input, or a file. Exactly one of them. */
import { type Key, KeyError, parseKey } from "../../protocol/knock/key.ts";
import { Failure, UsageFailure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";

/** What the command line says about the key. */
export interface KeyArguments {
  /** The key itself, or `-` for standard input. */
  readonly key: string | undefined;
  readonly keyFile: string | undefined;
}

/** Something bytes can be read from, such as `Deno.stdin`. */
export interface ByteSource {
  /** Reads into `buffer`; null at the end. */
  read(buffer: Uint8Array): Promise<number | null>;
}

/** What `readKey` needs besides its arguments. */
export interface KeyReading {
  readonly stdin: ByteSource;
  /** Asks for the key on the terminal that standard input is, without showing it; null if it is no terminal. */
  readonly askOnTerminal: () => Promise<string> | null;
  /** Says something the user should know; one line. */
  readonly notice: (text: string) => void;
}

/** A key has 56 characters. More than this is another file by mistake and need not be read to its end. */
const MAX_KEY_INPUT_BYTES = 4096;
const OTHERS_BITS = 0o077;

/**
 * Reads the key.
 *
 * @throws {UsageFailure} unless exactly one source is named, or if the key on the command line is none
 * @throws {Failure} naming the file or standard input if it cannot be read or holds no key; never its content
 */
export async function readKey(source: KeyArguments, reading: KeyReading): Promise<Key> {
  const { key, keyFile } = source;
  if ((key === undefined) === (keyFile === undefined)) {
    const found = key === undefined ? "none" : "both --key and --key-file";
    throw new UsageFailure(`cannot choose a key: found ${found}, accepted: one of -k KEY, -k - and -K FILE`, {
      hint: "postern client gen --key-file user.key makes a new key",
    });
  }
  if (keyFile !== undefined && isKeyText(keyFile)) {
    throw new UsageFailure(
      "cannot use option --key-file (-K): found a key, accepted: the name of a file that holds one",
      { hint: "that looks like a key itself: use -k - or put it in a file" },
    );
  }
  if (keyFile !== undefined) return keyFromText(await readKeyFile(keyFile, reading), `key file ${keyFile}`);
  if (key === "-") return keyFromText(await readStdin(reading), "the key on standard input");

  // The warning comes first: a key that turns out malformed was shown in the process list all the same.
  reading.notice("hint: -k KEY shows the key to everyone who can list processes; -k - or -K FILE do not");
  try {
    return parseKey(key ?? "");
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new UsageFailure(`cannot use option --key (-k): ${error.message}`);
  }
}

/** Whether a text is a key, found where something else belongs. */
export function isKeyText(text: string): boolean {
  try {
    parseKey(text);
    return true;
  } catch (error) {
    if (error instanceof KeyError) return false;
    throw error;
  }
}

function keyFromText(text: string, name: string): Key {
  try {
    return parseKey(text);
  } catch (error) {
    if (!(error instanceof KeyError)) throw error;
    throw new Failure(`cannot use ${name}: ${error.message}`);
  }
}

/** Root's, and shown to one group: a server's copy, which the server's user could not read any more after a chmod 600. */
function isServersFile(mode: number, uid: number | null): boolean {
  return uid === 0 && (mode & 0o777) === 0o640;
}

async function readKeyFile(path: string, reading: KeyReading): Promise<string> {
  if (!hasPermission({ name: "read", path })) {
    throw new Failure(`cannot read key file ${path}: no permission to read it`, {
      hint: `add --allow-read=${path} to deno run`,
    });
  }
  try {
    using file = await Deno.open(path, { read: true });
    const { mode, uid } = await file.stat();
    if (mode !== null && (mode & OTHERS_BITS) !== 0 && !isServersFile(mode, uid)) {
      reading.notice(`warning: key file ${path} is open to other users, chmod 600 ${path} closes it`);
    }
    return await readText(file);
  } catch (error) {
    throw new Failure(`cannot read key file ${path}`, { cause: error });
  }
}

async function readStdin(reading: KeyReading): Promise<string> {
  try {
    return await (reading.askOnTerminal() ?? readText(reading.stdin));
  } catch (error) {
    throw new Failure("cannot read the key from standard input", { cause: error });
  }
}

/** Reads to the end; a byte above the limit makes the text too long to be a key. */
async function readText(source: ByteSource): Promise<string> {
  const bytes = new Uint8Array(MAX_KEY_INPUT_BYTES + 1);
  let length = 0;
  while (length < bytes.length) {
    const count = await source.read(bytes.subarray(length));
    if (count === null || count === 0) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}
