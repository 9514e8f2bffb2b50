/**
 * The commander's door: a Unix socket that only the server's user may connect to.
 *
 *   mkdir <socket_dir>/.commander (0700) -> bind there -> chmod 0204, chown -> rename to <socket_dir>/ruroco.socket
 *
 * Bound in the open it would stand there for a moment with the mode that the umask leaves, and `Deno.umask` needs the
 * permission for everything that is called sys. A closed listener unlinks whatever lies at the path it was bound to:
 * after the rename, nothing does.
 *
 * The socket folder may belong to the server's user (ruroco's may), so he can exchange what lies in it while root works
 * there. Mode and owner are therefore set from inside the private folder, which only root can change, by a relative
 * name: `chown` by the full path could be led to any file of the machine.
 */
import { Failure } from "../../system/failure.ts";
import { folderOf, nameOf } from "../../system/path.ts";
import { askShell } from "./shell.ts";

const BIND_FOLDER_MODE = 0o700;

// `$1` folder, `$2` its owner, `$3` name of the socket, `$4` new owner as chown takes it, or empty. Prints what went wrong.
// 0204 is ruroco's: the owner (the server's user) may write, which is what connect(2) asks for; reading means nothing.
const HAND_OVER = `
cd -P -- "$1" || { echo folder; exit; }
[ "$(stat -c '%u %a' .)" = "$2 700" ] && [ -S "./$3" ] || { echo folder; exit; }
chmod 0204 "./$3" || { echo mode; exit; }
[ -z "$4" ] || chown -h "$4" "./$3" || { echo owner; exit; }
`;

export interface SocketPlace {
  readonly bindPath: string;
  readonly socketPath: string;
  readonly socketUid: number | null;
  readonly socketGid: number | null;
  readonly ownUid: number;
}

/** A listening socket. The caller holds the lock of the socket folder for as long as it lives. */
export class CommanderSocket {
  readonly listener: Deno.Listener<Deno.UnixConn>;
  readonly #place: SocketPlace;
  readonly #identity: string;
  #published = false;
  #closed = false;

  private constructor(listener: Deno.Listener<Deno.UnixConn>, place: SocketPlace, identity: string) {
    this.listener = listener;
    this.#place = place;
    this.#identity = identity;
  }

  /**
   * Binds the socket where nobody else can reach it.
   *
   * @throws {Failure} naming the path
   */
  static async bind(place: SocketPlace): Promise<CommanderSocket> {
    const { bindPath } = place;
    let listener: Deno.Listener<Deno.UnixConn> | undefined;
    try {
      await preparePrivateFolder(folderOf(bindPath), place.ownUid);
      await removeIfThere(bindPath);
      listener = Deno.listen({ transport: "unix", path: bindPath }) as Deno.Listener<Deno.UnixConn>;
      await handOver(place);
      return new CommanderSocket(listener, place, identityOf(await Deno.lstat(bindPath)));
    } catch (error) {
      listener?.close();
      if (error instanceof Failure) throw error;
      throw new Failure(`could not make the socket ${bindPath}`, { cause: error });
    }
  }

  /**
   * Opens the door: moves the socket to where the server looks for it, over the stale one of a killed commander.
   *
   * @throws {Failure} naming the path, also when something else than a socket lies there
   */
  async publish(): Promise<void> {
    const { bindPath, socketPath } = this.#place;
    const found = await lstatIfThere(socketPath);
    if (found !== null && found.isSocket !== true) {
      throw new Failure(
        `could not make the socket ${socketPath}: found something else there, accepted is a socket`,
      );
    }
    try {
      await Deno.rename(bindPath, socketPath);
    } catch (error) {
      throw new Failure(`could not make the socket ${socketPath}`, { cause: error });
    }
    this.#published = true;
  }

  /** Stops listening and removes the socket file if it is still ours. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.listener.close();
    if (!this.#published) return;
    const found = await lstatIfThere(this.#place.socketPath);
    if (found !== null && identityOf(found) === this.#identity) await removeIfThere(this.#place.socketPath);
  }
}

async function preparePrivateFolder(path: string, self: number): Promise<void> {
  try {
    await Deno.mkdir(path, { mode: BIND_FOLDER_MODE });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
  const info = await Deno.lstat(path);
  if (!info.isDirectory || info.uid !== self || ((info.mode ?? 0) & 0o777) !== BIND_FOLDER_MODE) {
    throw new Failure(
      `could not use ${path}: found ${describe(info)}, accepted is a folder of uid ${self} with mode 0700`,
      { hint: `after a look at who made it: rm -r ${path}` },
    );
  }
}

function describe(info: Deno.FileInfo): string {
  if (info.isSymlink) return "a symlink";
  const mode = ((info.mode ?? 0) & 0o777).toString(8).padStart(4, "0");
  return info.isDirectory ? `a folder of uid ${info.uid} with mode ${mode}` : "a file";
}

/**
 * Gives the bound socket its mode and its owner.
 *
 * @throws {Failure} when its folder is not the private one any more, or the owner cannot be set
 */
export async function handOver(place: SocketPlace): Promise<void> {
  const { bindPath, socketUid, socketGid, ownUid } = place;
  const folder = folderOf(bindPath);
  // No colon without a group: `uid:` would mean the login group of that user.
  const owner = `${socketUid ?? ""}${socketGid === null ? "" : `:${socketGid}`}`;
  const wrong = await askShell(HAND_OVER, folder, String(ownUid), nameOf(bindPath), owner);
  if (wrong === "owner") {
    throw new Failure(`could not give the socket ${bindPath} to ${owner}`, {
      hint: 'run the commander as root, or set socket_user and socket_group to "" in config.toml',
    });
  }
  if (wrong !== "") {
    throw new Failure(`could not make the socket ${bindPath}: its ${wrong} is not as it was made`);
  }
}

function identityOf(info: Deno.FileInfo): string {
  return `${info.dev} ${info.ino}`;
}

async function lstatIfThere(path: string): Promise<Deno.FileInfo | null> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
