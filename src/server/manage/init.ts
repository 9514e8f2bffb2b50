/**
 * `server manage init`: makes the folder of a new server. The registry comes last, whole, by a rename: a folder with a
 * registry is complete, one without was cut short, and init goes on there with the keys that it finds.
 */
import { formatPublicKey, SigningKey } from "../../protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../protocol/rpc/timers.ts";
import { type Clock, systemClock } from "../../system/clock.ts";
import { systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { Failure } from "../../system/failure.ts";
import { acquireLock } from "../../system/lock.ts";
import { certifyAgain, fits, type Issued, issueServerCertificate, makeAuthority } from "./certificates.ts";
import { type DataFolder, dataFolder, FOLDER_MODE, isThere, requirePrivate } from "./data_folder.ts";
import { Database } from "./database.ts";
import { FIRST_POLICY } from "./first_policy.ts";
import { Registry } from "./registry.ts";
import {
  certificateHash,
  checkAddresses,
  readIfThere,
  readServerKey,
  writeAddresses,
  writeServerKey,
} from "./server_identity.ts";

/** What init was asked for. */
export interface InitOptions {
  readonly folder: string;
  /** Where others reach the server, "host:port". */
  readonly addresses: readonly string[];
  /** @default systemClock */
  readonly clock?: Clock;
}

/** What init has made. */
export interface InitDone {
  readonly folder: DataFolder;
  /** 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Keys were there already, of an init that was cut short or of a server whose registry is lost, and are used. */
  readonly keptKeys: boolean;
}

/** How long another init, or a change of authority, is waited for. */
export const LOCK_TIMEOUT_MS = 5000;

const FIRST_GENERATION = 1;

/**
 * Makes everything, or what is missing of it.
 *
 * @throws {Failure} if there is a server in the folder, something else, or somebody else may look into it
 */
export async function initServer(options: InitOptions): Promise<InitDone> {
  const folder = dataFolder(options.folder);
  const addresses = checkAddresses(options.addresses);
  await makeFolder(folder);
  await requirePrivate(folder);
  if (!await isThere(folder.registry)) await requireNothingElse(folder);
  using _lock = await acquireLock(folder.lock, { timeoutMs: LOCK_TIMEOUT_MS });
  if (await isThere(folder.registry)) {
    throw new Failure(`cannot make a server in ${folder.path}: there is one already`, {
      hint: `postern server manage list --dir ${folder.path} shows it`,
    });
  }
  const keptKeys = await isThere(folder.caKey) || await isThere(folder.serverKey);
  const authority = await makeOrTakeAuthority(folder);
  await writeIssued(folder, "tls", await issueFor(folder, authority));
  const serverKey = await makeOrTakeServerKey(folder);
  await writeIfMissing(folder.policy, FIRST_POLICY);
  await writeAddresses(folder, addresses);
  await makeRegistry(folder, authority.certificate, serverKey, options.clock ?? systemClock);
  return { folder, serverKey: serverKey.publicKey, keptKeys };
}

/** Writes a certificate and its key; the key first, so that none is ever there whose key is lost. */
export async function writeIssued(
  folder: DataFolder,
  which: "ca" | "tls" | "nextCa" | "nextTls",
  issued: Issued,
): Promise<void> {
  const encoder = new TextEncoder();
  await writeFileDurably(folder[`${which}Key`], encoder.encode(issued.key));
  await writeFileDurably(folder[`${which}Certificate`], encoder.encode(issued.certificate));
}

async function makeFolder(folder: DataFolder): Promise<void> {
  try {
    await Deno.mkdir(folder.path, { mode: FOLDER_MODE });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return;
    throw new Failure(`could not make the folder ${folder.path}`, { cause: error, hint: folderHint(error) });
  }
}

function folderHint(error: unknown): string | undefined {
  if (error instanceof Deno.errors.NotFound) return "make the folder above it first";
  return error instanceof Deno.errors.PermissionDenied
    ? "run it as a user who may, or name another folder by --dir DIR"
    : undefined;
}

/** A folder with something else in it is somebody's home or the like, given by mistake. */
async function requireNothingElse(folder: DataFolder): Promise<void> {
  const ours = Object.values(folder).map((path) => path.slice(folder.path.length + 1));
  for await (const { name } of Deno.readDir(folder.path)) {
    const isLeftover = name.startsWith(".") && name.endsWith(".tmp") || name.startsWith("registry.new.db-") ||
      name.startsWith(".owner.");
    if (ours.includes(name) || isLeftover) continue;
    throw new Failure(
      `cannot make a server in ${folder.path}: found ${
        JSON.stringify(name)
      } there, accepted is an empty folder`,
    );
  }
}

async function makeOrTakeAuthority(folder: DataFolder): Promise<Issued> {
  const [key, certificate] = [await readIfThere(folder.caKey), await readIfThere(folder.caCertificate)];
  if (key !== null && certificate !== null) return { key, certificate };
  if (key === null && certificate !== null) {
    throw new Failure(`cannot go on in ${folder.path}: found ca.pem without its ca.key`, {
      hint: "put ca.key back from the backup; or, if no host has ever joined, remove ca.pem",
    });
  }
  const authority = key === null ? await makeAuthority() : await certifyAgain(key);
  await writeIssued(folder, "ca", authority);
  return authority;
}

async function issueFor(folder: DataFolder, authority: Issued): Promise<Issued> {
  const issued = await issueServerCertificate(authority);
  if (await fits(issued, authority.certificate)) return issued;
  throw new Failure(`cannot use ${folder.caCertificate}: it does not fit ${folder.caKey}`, {
    hint: "take both files of one backup",
  });
}

async function makeOrTakeServerKey(folder: DataFolder): Promise<SigningKey> {
  if (await isThere(folder.serverKey)) return await readServerKey(folder);
  const key = await SigningKey.generate(systemRandomBytes);
  await writeServerKey(folder, key);
  return key;
}

async function writeIfMissing(path: string, text: string): Promise<void> {
  if (!await isThere(path)) await writeFileDurably(path, new TextEncoder().encode(text));
}

async function makeRegistry(
  folder: DataFolder,
  caCertificate: string,
  serverKey: SigningKey,
  clock: Clock,
): Promise<void> {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) {
    await removeLeftover(`${folder.newRegistry}${suffix}`);
  }
  const ca = await certificateHash(caCertificate, folder.caCertificate);
  const registry = new Registry(await Database.create(folder.newRegistry), clock);
  try {
    const key = formatPublicKey(serverKey.publicKey);
    registry.batch(() => {
      registry.meta.set("pins_generation", FIRST_GENERATION);
      registry.meta.set("ca", ca);
      registry.meta.set("next_ca", "");
      registry.meta.set("server_key", key);
      registry.audit.append("init", { server_key: key, ca });
    });
  } finally {
    registry.close(); // the last connection takes what lies beside the file into it
  }
  await Deno.rename(folder.newRegistry, folder.registry);
  await systemFiles.syncFolder(folder.path);
}

async function removeLeftover(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new Failure(`could not remove ${path}`, { cause: error });
    }
  }
}
