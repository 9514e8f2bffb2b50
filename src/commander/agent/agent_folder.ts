/**
 * The agent's folder (0700) and what lies in it (0600), all but agent.toml written by the agent alone:
 *
 *   agent.key            seed of the host's Ed25519 key, 64 hexadecimal digits; written before the token is shown
 *   agent.toml           what may be done here, see agent_config.ts
 *   server.json          name, addresses, believed CA certificates and their generation, the server's key
 *   head                 newest signed head of the server's audit, 104 bytes in hexadecimal
 *   administrators.json  names and keys of administrators that were here
 *   sessions.json        sessions that are open now, so that a start after a kill can report them as ended
 *   ended/               one file for each session that is over and not acknowledged yet, see ended_spool.ts
 *   lock                 held by the agent that runs
 */
import { decodeHead, encodeHead } from "../../protocol/manage/audit_head.ts";
import type { SignedHead } from "../../protocol/manage/control_contract.ts";
import { isName } from "../../protocol/manage/names.ts";
import {
  formatPublicKey,
  parsePublicKey,
  SEED_BYTES,
  SigningKey,
} from "../../protocol/manage/signing_key.ts";
import type { RandomBytes } from "../../protocol/rpc/timers.ts";
import { writeFileDurably } from "../../system/durable_file.ts";
import { Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { joinPath } from "../../system/path.ts";
import type { TrustedAdmin } from "./agent_config.ts";

const FOLDER_MODE = 0o700;
const LOCK_TIMEOUT_MS = 1000;
/** Administrators that are remembered; whoever was not here for the longest time is forgotten first. */
const MAX_ADMINISTRATORS = 256;

/** What the host knows of its server. */
export interface AgentServer {
  /** By which the server knows this host. */
  readonly name: string;
  /** "host:port", at least one. */
  readonly addresses: readonly string[];
  /** PEM, 1 or 2. */
  readonly caCertificates: readonly string[];
  /** Those of before, the one of the join first; see `believedBy`. */
  readonly formerCaCertificates?: readonly string[];
  /** Of the CA certificates: the higher one is newer. */
  readonly generation: number;
  /** Ed25519, 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
}

/** Former certificates that are remembered. */
const MAX_FORMER = 4;

const encoder = new TextEncoder();

/**
 * The certificates to dial with. The former ones stay good: a server may be restored from a backup that is older than
 * its change of the CA, or have been in the hands of somebody who handed out others, and this host must find back to it.
 * It is told by its key, which it proves over whatever certificate it shows, so this lets nobody else in.
 */
export function believedBy({ caCertificates, formerCaCertificates = [] }: AgentServer): readonly string[] {
  return [...new Set([...caCertificates, ...formerCaCertificates])];
}

/** The same server with other certificates. */
export function withPins(
  server: AgentServer,
  { caCertificates, generation }: Pick<AgentServer, "caCertificates" | "generation">,
): AgentServer {
  const { formerCaCertificates = [] } = server;
  const [first, ...later] = new Set([...formerCaCertificates, ...server.caCertificates]);
  const former = first === undefined ? [] : [first, ...later.slice(1 - MAX_FORMER)];
  return { ...server, caCertificates, generation, formerCaCertificates: former };
}

/** The folder. Nothing is read or written before a method says so. */
export class AgentFolder {
  /** Absolute. */
  readonly path: string;
  /** The last change of a file: one at a time. */
  #lastChange: Promise<unknown> = Promise.resolve();

  /** @param path absolute */
  constructor(path: string) {
    this.path = path;
  }

  /** Place of agent.toml. */
  get configPath(): string {
    return joinPath(this.path, "agent.toml");
  }

  /** Place of the rows that wait to be acknowledged. */
  get endedFolder(): string {
    return joinPath(this.path, "ended");
  }

  /** Place of the sessions that are open. */
  get sessionsPath(): string {
    return joinPath(this.path, "sessions.json");
  }

  #at(name: string): string {
    return joinPath(this.path, name);
  }

  /** Makes the folder where it is missing. */
  async create(): Promise<void> {
    for (const path of [this.path, this.endedFolder]) {
      try {
        await Deno.mkdir(path, { mode: FOLDER_MODE });
      } catch (error) {
        if (error instanceof Deno.errors.AlreadyExists) continue;
        throw new Failure(`could not create the folder ${path}`, {
          cause: error,
          hint: "create its parent, run this as root, or name another one with --dir",
        });
      }
    }
  }

  /**
   * Keeps every other agent off this folder until it is disposed of.
   *
   * @throws {Failure} if another one runs
   */
  lock(): Promise<Disposable> {
    return acquireLock(this.#at("lock"), {
      timeoutMs: LOCK_TIMEOUT_MS,
      hint: `another agent uses ${this.path}; stop it first`,
    });
  }

  /** The host's key. @throws {Failure} if there is none yet, or what is there is none */
  async readKey(): Promise<SigningKey> {
    const text = await readText(this.#at("agent.key"), "the host's key", joinHint(this.path));
    const seed = /^[0-9a-f]{64}\n?$/.test(text) ? Uint8Array.fromHex(text.trim()) : null;
    if (seed === null) {
      throw new Failure(
        `could not read the host's key ${this.#at("agent.key")}: accepted are ${
          2 * SEED_BYTES
        } hexadecimal digits`,
      );
    }
    return await SigningKey.fromSeed(seed);
  }

  /** The host's key; a new one, durable when this resolves, where there is none. */
  async readOrMakeKey(random: RandomBytes): Promise<SigningKey> {
    if (await exists(this.#at("agent.key"))) return await this.readKey();
    const key = await SigningKey.generate(random);
    await this.#write("agent.key", `${key.seed.toHex()}\n`);
    return key;
  }

  /**
   * The server.
   *
   * @throws {Failure} if this host has not joined one, or others may write in the folder, or read the key: whoever can
   * change agent.toml decides who is root here
   */
  async readServer(): Promise<AgentServer> {
    const path = this.#at("server.json");
    if (!await exists(path)) throw hasNotJoined(this.path, path);
    for (const each of [this.path, path, this.configPath]) await requireMode(each, OTHERS_WRITE, "go-w");
    await requireMode(this.#at("agent.key"), OTHERS_USE, "600");
    return parseServer(await readText(path, "what is known of the server"), path);
  }

  /** The same; null if this host has not joined one. */
  async readServerIfJoined(): Promise<AgentServer | null> {
    return await exists(this.#at("server.json")) ? await this.readServer() : null;
  }

  /** Durable when it resolves. @throws {Failure} */
  async writeServer(server: AgentServer): Promise<void> {
    const { serverKey, ...rest } = server;
    await this.#write("server.json", json({ ...rest, serverKey: formatPublicKey(serverKey) }));
  }

  /** The newest head; null if none was kept, or what is there is none. */
  async readHead(): Promise<SignedHead | null> {
    try {
      return decodeHead(Uint8Array.fromHex((await Deno.readTextFile(this.#at("head"))).trim()));
    } catch {
      return null;
    }
  }

  /** Durable when it resolves. @throws {Failure} */
  async writeHead(head: SignedHead): Promise<void> {
    await this.#write("head", `${encodeHead(head).toHex()}\n`);
  }

  /** Administrators that were here, who was here last at the end. */
  async readAdministrators(): Promise<TrustedAdmin[]> {
    const path = this.#at("administrators.json");
    if (!await exists(path)) return [];
    const list = parsed(await readText(path, "administrators that were here"), path);
    return Array.isArray(list) ? list.map(administratorOf).filter((each) => each !== null) : [];
  }

  /** Remembers an administrator; gives the key that was known under this name before, if it was another one. */
  noteAdministrator(admin: TrustedAdmin): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.#change(() => this.#noteAdministrator(admin));
  }

  async #noteAdministrator(admin: TrustedAdmin): Promise<Uint8Array<ArrayBuffer> | null> {
    const known = await this.readAdministrators();
    const before = known.find(({ name }) => name === admin.name);
    const text = formatPublicKey(admin.key);
    if (before !== undefined && formatPublicKey(before.key) === text) return null;
    const others = known.filter(({ name }) => name !== admin.name).slice(1 - MAX_ADMINISTRATORS);
    const rows = [...others, admin].map(({ name, key }) => ({ name, key: formatPublicKey(key) }));
    await this.#replace("administrators.json", json(rows));
    return before?.key ?? null;
  }

  /** Writes agent.toml where there is none. */
  async writeConfigIfMissing(text: string): Promise<void> {
    if (!await exists(this.configPath)) await this.#write("agent.toml", text);
  }

  #write(name: string, text: string): Promise<void> {
    return this.#change(() => this.#replace(name, text));
  }

  #replace(name: string, text: string): Promise<void> {
    return writeFileDurably(this.#at(name), encoder.encode(text), { soleWriter: true });
  }

  #change<T>(act: () => Promise<T>): Promise<T> {
    const change = this.#lastChange.then(act);
    this.#lastChange = change.catch(() => {});
    return change;
  }
}

/** Mode bits: write, and anything at all, for group and others. */
const OTHERS_WRITE = 0o022, OTHERS_USE = 0o077;

/** What is not there is missed by whoever needs it; where files have no mode, nothing is known. */
async function requireMode(path: string, forbidden: number, accepted: string): Promise<void> {
  const info = await Deno.stat(path).catch(() => null);
  const mode = info?.mode ?? null;
  if (mode === null || (mode & forbidden) === 0) return;
  throw new Failure(
    `cannot use ${path}: others may ${forbidden === OTHERS_WRITE ? "change" : "read"} it, found mode ${
      (mode & 0o777).toString(8)
    }`,
    { hint: `look who has changed what, then: chmod ${accepted} ${path}` },
  );
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new Failure(`could not look for ${path}`, { cause: error });
  }
}

function hasNotJoined(folder: string, path: string): Failure {
  return new Failure(`this host has not joined a management server: ${path} does not exist`, {
    hint: joinHint(folder),
  });
}

function joinHint(folder: string): string {
  return `postern commander agent --dir ${folder} --join TOKEN, with a token from ` +
    "postern server manage invite host NAME";
}

async function readText(path: string, what: string, hint?: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new Failure(`could not read ${what}: there is no ${path}`, { cause: error, hint });
    }
    throw new Failure(`could not read ${what}: ${path}`, { cause: error });
  }
}

function parsed(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Failure(`could not read ${path}: found no JSON`);
  }
}

function parseServer(text: string, path: string): AgentServer {
  const { name, addresses, caCertificates, formerCaCertificates = [], generation, serverKey } = Object(
    parsed(text, path),
  );
  const isWhole = typeof name === "string" && isName(name) && isTexts(addresses) && isTexts(caCertificates) &&
    (isTexts(formerCaCertificates) || formerCaCertificates.length === 0) &&
    Number.isSafeInteger(generation) && typeof serverKey === "string";
  if (!isWhole) throw notWhole(path);
  try {
    const key = parsePublicKey(serverKey);
    return { name, addresses, caCertificates, formerCaCertificates, generation, serverKey: key };
  } catch {
    throw notWhole(path);
  }
}

function notWhole(path: string): Failure {
  return new Failure(
    `could not read ${path}: accepted is an object with name, addresses, caCertificates, generation and serverKey`,
    { hint: "restore it, or remove it and join again with a new token" },
  );
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === "string");
}

function administratorOf(value: unknown): TrustedAdmin | null {
  const { name, key } = Object(value);
  if (typeof name !== "string" || !isName(name) || typeof key !== "string") return null;
  try {
    return { name, key: parsePublicKey(key) };
  } catch {
    return null;
  }
}
