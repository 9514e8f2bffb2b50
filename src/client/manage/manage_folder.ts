/**
 * What an administrator's machine keeps of one management server, in one folder (0700, files 0600):
 *
 *   identity.key   the seed of the Ed25519 key, 43 characters of base64url; made before the first join
 *   server.json    who the server is, where it is, which CA is believed; written when the server has answered the join
 *   known_hosts    the key that each host had when it was met first, known_hosts.ts
 *   head           the newest signed head of the server's audit, audit_heads.ts
 *   lock           held while one of the two above is rewritten: many commands may run at once
 *
 * Reading is done at once, without a turn of the event loop: the files are small, and every command waits for them.
 */
import { type FileLayerSync, writeFileDurablySync } from "../../system/durable_file.ts";
import { describeError, Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { joinPath } from "../../system/path.ts";
import { formatPublicKey, parsePublicKey } from "../../protocol/manage/signing_key.ts";
import { isName } from "../../protocol/manage/names.ts";
import { CONFIG_FOLDER_VARIABLES, namedConfigFolder } from "../knock/config_folder.ts";

/** The server that was joined. */
export interface ServerRecord {
  /** By which name the server knows this administrator. */
  readonly name: string;
  /** `host:port`, 1 or more, tried side by side. */
  readonly addresses: readonly string[];
  /** PEM, 1 or 2. */
  readonly caCertificates: readonly string[];
  /** Of the certificates; a higher one is newer. */
  readonly generation: number;
  /** 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
}

const FOLDER_NAME = "manage";
const PRIVATE_FOLDER_MODE = 0o700;
const OTHERS_WRITE_BITS = 0o022;
const LOCK_WAIT_MS = 5_000;
/** No file in the folder is longer, but one with thousands of hosts. */
const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_ADDRESSES = 255;
const MAX_PINS = 2;
const RECORD_VERSION = 1;

/** Where everything lies. */
export class ManageFolder {
  /** The folder, as it was named. */
  readonly path: string;
  /** Its files. */
  readonly identityPath: string;
  readonly serverPath: string;
  readonly knownHostsPath: string;
  readonly headPath: string;
  readonly #lockPath: string;
  /** Ends when nobody of this process holds the lock: it is one of the whole process otherwise, and would be asked for by polling. */
  #holders: Promise<unknown> = Promise.resolve();

  /** Of this path; nothing is looked at yet. */
  constructor(path: string) {
    this.path = path;
    this.identityPath = joinPath(path, "identity.key");
    this.serverPath = joinPath(path, "server.json");
    this.knownHostsPath = joinPath(path, "known_hosts");
    this.headPath = joinPath(path, "head");
    this.#lockPath = joinPath(path, "lock");
  }

  /**
   * Makes the folder where it is missing.
   *
   * @throws {Failure} if it cannot be made
   */
  make(): void {
    try {
      Deno.mkdirSync(this.path, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    } catch (cause) {
      throw new Failure(`could not make the folder ${this.path}`, { cause });
    }
  }

  /**
   * Does something while no other command does the like.
   *
   * @throws {Failure} if the lock cannot be had within five seconds; whatever `act` throws
   */
  async locked<T>(act: () => T | Promise<T>): Promise<T> {
    const turn = this.#holders.then(async () => {
      using _lock = await acquireLock(this.#lockPath, {
        timeoutMs: LOCK_WAIT_MS,
        hint: "another postern command is stuck; end it, then run this one again",
      });
      return await act();
    });
    this.#holders = turn.catch(() => {});
    return await turn;
  }

  /**
   * The server that was joined.
   *
   * @throws {Failure} if none was, its file is not what `keepServer` writes, or others may write in the folder
   */
  server(): ServerRecord {
    const record = this.serverIfJoined();
    if (record !== null) return record;
    throw new Failure(`no management server is known: ${this.serverPath} does not exist`, {
      hint: "postern client join TOKEN registers with a server; its operator makes the token by " +
        "postern server manage invite admin NAME",
    });
  }

  /**
   * The same, or null.
   *
   * @throws {Failure} if its file is not what `keepServer` writes, or others may write in the folder
   */
  serverIfJoined(): ServerRecord | null {
    const text = readText(this.serverPath);
    if (text === null) return null;
    requireUnshared(this.path);
    return parseRecord(text, this.serverPath);
  }

  /**
   * Stores the server durably.
   *
   * @throws {Failure} if that fails
   */
  keepServer(record: ServerRecord): void {
    const { name, addresses, caCertificates, generation, serverKey } = record;
    const text = JSON.stringify(
      {
        version: RECORD_VERSION,
        name,
        addresses,
        server_key: formatPublicKey(serverKey),
        generation,
        ca_certificates: caCertificates,
      },
      null,
      2,
    );
    writeText(this.serverPath, `${text}\n`);
  }
}

/**
 * The text of a small file; null if there is none.
 *
 * @throws {Failure} if it cannot be read, or is far too long
 */
export function readText(path: string): string | null {
  try {
    const bytes = Deno.readFileSync(path);
    if (bytes.length > MAX_FILE_BYTES) throw new Error(`found ${bytes.length} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw new Failure(`could not read ${path}`, { cause });
  }
}

/**
 * Writes a file durably, 0600.
 *
 * @throws {Failure} if that fails
 */
export function writeText(path: string, text: string, files?: FileLayerSync): void {
  writeFileDurablySync(path, new TextEncoder().encode(text), files === undefined ? {} : { files });
}

/** Whoever may write in the folder decides which server and which hosts are believed, whatever the modes of its files. */
function requireUnshared(path: string): void {
  if (Deno.build.os === "windows") return;
  const mode = Deno.statSync(path).mode ?? 0;
  if ((mode & OTHERS_WRITE_BITS) === 0) return;
  throw new Failure(
    `cannot use ${path}: found mode ${
      (mode & 0o7777).toString(8)
    }, which lets others write there, accepted is 700`,
    { hint: `chmod 700 ${path}; if somebody may have written there, join again in another folder by --dir` },
  );
}

function parseRecord(text: string, path: string): ServerRecord {
  try {
    const { version, name, addresses, server_key, generation, ca_certificates } = objectOf(JSON.parse(text));
    if (version !== RECORD_VERSION) throw new TypeError(`its version is not ${RECORD_VERSION}`);
    if (typeof name !== "string" || !isName(name)) throw new TypeError("its name is none");
    if (typeof server_key !== "string") throw new TypeError("its server_key is none");
    if (!Number.isSafeInteger(generation)) throw new TypeError("its generation is no whole number");
    return {
      name,
      addresses: textsOf(addresses, "addresses", MAX_ADDRESSES),
      serverKey: parsePublicKey(server_key),
      generation: Number(generation),
      caCertificates: textsOf(ca_certificates, "ca_certificates", MAX_PINS),
    };
  } catch (error) {
    // Nothing of the file is repeated: a parser's words may hold parts of it.
    const found = error instanceof TypeError ? describeError(error) : "it is no JSON";
    throw new Failure(`cannot use ${path}: ${found}, accepted is what postern client join writes`, {
      hint: "move the file away and run postern client join TOKEN again",
    });
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new TypeError("it holds no object");
  return value as Record<string, unknown>;
}

function textsOf(value: unknown, name: string, max: number): string[] {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= max;
  if (!isList || !value.every((each) => typeof each === "string")) {
    throw new TypeError(`its ${name} are no list of 1 to ${max} texts`);
  }
  return value;
}

/**
 * The folder that the command line names, else the one in the config folder.
 *
 * @param dir what `--dir` says
 * @throws {Failure} if none is named and the environment names none either, or may not be read
 */
export function manageFolder(dir: string | undefined): ManageFolder {
  const path = namedManageFolder(dir)?.path;
  if (path !== undefined) return new ManageFolder(path);
  throw new Failure("no folder is known for what belongs to a management server", {
    hint: `name one by --dir, or set one of the variables ${CONFIG_FOLDER_VARIABLES.join(", ")} ` +
      `and let the program read it (--allow-env=${CONFIG_FOLDER_VARIABLES.join(",")})`,
  });
}

/** Its path and what decides it: an option or a variable; null if nothing does that may be read. */
export function namedManageFolder(
  dir: string | undefined,
): { readonly path: string; readonly variable: string | null } | null {
  if (dir !== undefined) return { path: dir, variable: null };
  const config = namedConfigFolder();
  return config === null ? null : { path: joinPath(config.path, FOLDER_NAME), variable: config.variable };
}
