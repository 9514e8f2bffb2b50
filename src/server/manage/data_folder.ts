/**
 * The folder of a management server: who has its keys can stand in for it, so nobody but its user may look inside.
 *
 *   registry.db   hosts, administrators, invitations, sessions, audit; its presence says that the folder is whole
 *   ca.key ca.pem, tls.key tls.pem   the authority, and the certificate that it issued; `.next` while it is changed
 *   server.key    seed of the Ed25519 key by which the server proves itself and signs heads of the audit
 *   policy.toml   who may do what
 *   server.json   addresses that tokens carry
 *   change.lock   held while keys and certificates are made or changed
 */
import { Failure } from "../../system/failure.ts";
import { absolutePath, joinPath } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";

/** Where everything lies; all absolute. */
export interface DataFolder {
  readonly path: string;
  readonly registry: string;
  /** A registry that `init` has not finished. */
  readonly newRegistry: string;
  readonly caCertificate: string;
  readonly caKey: string;
  readonly tlsCertificate: string;
  readonly tlsKey: string;
  /** The new authority and its certificate while a change of authority runs. */
  readonly nextCaCertificate: string;
  readonly nextCaKey: string;
  readonly nextTlsCertificate: string;
  readonly nextTlsKey: string;
  readonly serverKey: string;
  readonly policy: string;
  readonly settings: string;
  readonly lock: string;
}

/** Mode of the folder. */
export const FOLDER_MODE = 0o700;

const OTHERS_BITS = 0o077;
const MODE_BITS = 0o7777;
const PROBE_RANDOM_BYTES = 8;

/** The places in a folder; nothing is looked at. */
export function dataFolder(folder: string): DataFolder {
  const path = absolutePath(folder);
  const place = (name: string): string => joinPath(path, name);
  return {
    path,
    registry: place("registry.db"),
    newRegistry: place("registry.new.db"),
    caCertificate: place("ca.pem"),
    caKey: place("ca.key"),
    tlsCertificate: place("tls.pem"),
    tlsKey: place("tls.key"),
    nextCaCertificate: place("ca.next.pem"),
    nextCaKey: place("ca.next.key"),
    nextTlsCertificate: place("tls.next.pem"),
    nextTlsKey: place("tls.next.key"),
    serverKey: place("server.key"),
    policy: place("policy.toml"),
    settings: place("server.json"),
    lock: place("change.lock"),
  };
}

/**
 * The folder of a server that was made by `init`, and is private.
 *
 * @throws {Failure} if it is missing, not whole, open to others, or belongs to somebody else
 */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const folder = dataFolder(path);
  await requirePrivate(folder);
  if (await isThere(folder.registry)) return folder;
  const isBegun = await isThere(folder.caKey) || await isThere(folder.settings);
  throw new Failure(
    isBegun
      ? `cannot use ${folder.path}: found a folder that was not finished by init, or lost its registry.db`
      : `cannot use ${folder.path}: found no registry.db, accepted is the folder of a management server`,
    { hint: initLine(folder) },
  );
}

/**
 * Refuses a folder, or a file in it, that is not this user's alone. What is found is not mended: whoever could write
 * there may have written, and whoever could read has the keys.
 *
 * @throws {Failure} naming the path and the command that helps
 */
export async function requirePrivate(folder: DataFolder): Promise<void> {
  const found = await look(folder.path);
  if (found === null) {
    throw new Failure(`cannot use ${folder.path}: there is no such folder`, { hint: initLine(folder) });
  }
  if (!found.isDirectory) {
    throw new Failure(`cannot use ${folder.path}: found ${kindOf(found)}, accepted is a folder`);
  }
  if (Deno.build.os === "windows") return; // has no modes; a profile is private by its access list
  requirePrivateEntry(folder.path, found, found.uid, "700");
  await requireOurs(folder, found.uid);
  for (const path of privateFiles(folder)) {
    const file = await look(path);
    if (file === null) continue;
    if (!file.isFile) throw new Failure(`cannot use ${path}: found ${kindOf(file)}, accepted is a file`);
    requirePrivateEntry(path, file, found.uid, "600");
  }
}

/** Whether something lies there. */
export async function isThere(path: string): Promise<boolean> {
  return await look(path) !== null;
}

/**
 * All that is in a folder of ours, with what SQLite puts beside the registry; but for the policy, which is no secret and
 * may well be root's, and which nobody can reach in such a folder.
 */
function privateFiles({ path: _path, policy: _policy, ...files }: DataFolder): string[] {
  return [...Object.values(files), `${files.registry}-wal`, `${files.registry}-shm`];
}

function requirePrivateEntry(path: string, info: Deno.FileInfo, owner: number | null, mode: string): void {
  const bits = (info.mode ?? MODE_BITS) & MODE_BITS;
  if ((bits & OTHERS_BITS) !== 0) {
    throw new Failure(
      `cannot use ${path}: found mode ${
        bits.toString(8).padStart(4, "0")
      }, which lets others in, accepted is 0${mode}`,
      { hint: `if nobody else has been there: chmod ${mode} ${path}` },
    );
  }
  if (info.uid !== owner) {
    throw new Failure(
      `cannot use ${path}: it belongs to user id ${info.uid}, the folder around it to ${owner}`,
      { hint: `chown ${owner} ${path}` },
    );
  }
}

/**
 * Root can use everybody's folder, but what it writes there is root's, and the server could not read it afterwards.
 */
async function requireOurs(folder: DataFolder, owner: number | null): Promise<void> {
  const self = await ownUid(folder);
  if (self === null || self === owner) return;
  throw new Failure(
    `cannot use ${folder.path}: it belongs to user id ${owner}, and this program runs as user id ${self}`,
    { hint: `run it as the server's user: sudo -u "#${owner}" ...` },
  );
}

/**
 * Who this program is, by the owner of a file that it makes and removes: asking the system would take a permission that
 * a server needs for nothing else. Null where it cannot be told, as on a full disk, where nothing will be written either.
 */
async function ownUid(folder: DataFolder): Promise<number | null> {
  if (hasPermission({ name: "sys", kind: "uid" })) return Deno.uid();
  const random = crypto.getRandomValues(new Uint8Array(PROBE_RANDOM_BYTES)).toHex();
  const path = joinPath(folder.path, `.owner.${random}`);
  try {
    using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
    await Deno.remove(path);
    return (await file.stat()).uid;
  } catch (error) {
    if (error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable) {
      throw new Failure(`cannot use ${folder.path}`, { cause: error, hint: "run it as the server's user" });
    }
    return null;
  }
}

async function look(path: string): Promise<Deno.FileInfo | null> {
  try {
    // Not followed: a link could be turned to another place after it was looked at.
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new Failure(`cannot look at ${path}`, {
      cause: error,
      hint: error instanceof Deno.errors.PermissionDenied ? "run it as the server's user" : undefined,
    });
  }
}

function kindOf(info: Deno.FileInfo): string {
  if (info.isSymlink) return "a symbolic link";
  return info.isDirectory ? "a folder" : info.isFile ? "a file" : "neither file nor folder";
}

function initLine(folder: DataFolder): string {
  return `postern server manage init --address HOST:PORT --dir ${folder.path}`;
}
