/** The machine as setup acts on it: a thin seam, through which tests make each single act fail. */
import { writeFileDurably } from "../system/durable_file.ts";
import { type OpenFile, systemFiles } from "../system/file_layer.ts";
import { Failure } from "../system/failure.ts";
import { acquireLock } from "../system/lock.ts";
import { folderOf } from "../system/path.ts";
import { type ProofOptions, proveKnock } from "./proof.ts";
import type { Role } from "./role.ts";
import { deriveRole, isCompiled, isSelfExtracting } from "./self_extracting.ts";
import { readStatusCounts, type StatusCounts } from "./status_counts.ts";
import { recoverUnderLock, type Recovery } from "./update/recover.ts";
import { unlessBusy } from "./update/child_program.ts";
import { noServices, systemServices } from "./update/services.ts";
import { systemDisk } from "./update/swap_disk.ts";
import { tryBeside } from "./update/trial.ts";
import { updateLayout } from "./update/update_layout.ts";

/** Numeric owner of a file. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What changes something. */
export interface MachineActs {
  makeFolder(path: string, mode: number, owner: Owner): Promise<void>;
  /** Atomically and durably; replaces what is there. */
  writeFile(path: string, bytes: Uint8Array, mode: number, owner: Owner): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** A second name for a file. */
  link(from: string, to: string): Promise<void>;
  copy(from: string, to: string, mode: number): Promise<void>;
  /** Takes back an update that was broken off and removes what it left; for the holder of the lock. */
  settleUpdate(root: string): Promise<Recovery | null>;
  /** See `self_extracting.ts`. */
  deriveRole(from: string, role: Role, to: string, mode: number): Promise<void>;
  /** See `update/trial.ts`: a knock on a server and a commander beside the running ones. */
  tryBeside(trial: Trial): Promise<void>;
  /** See `proof.ts`. */
  prove(options: ProofOptions): Promise<void>;
  /** @throws {Failure} if somebody else holds it */
  lock(path: string): Promise<Disposable>;
  /** A file or an empty folder; what is not there is fine. */
  remove(path: string): Promise<void>;
  /** A folder with all that is in it; what is not there is fine. */
  removeTree(path: string): Promise<void>;
  /** Runs a program to its end, whatever its exit code. */
  run(
    program: string,
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<ProgramResult>;
}

/** What only looks. */
export interface MachineLooks {
  /** null: not there. Links are not followed. */
  stat(path: string): Promise<Deno.FileInfo | null>;
  /** As `stat`, of what a link leads to. */
  follow(path: string): Promise<Deno.FileInfo | null>;
  /** With every link on the way resolved; null: not there. */
  realPath(path: string): Promise<string | null>;
  /**
   * null: not there.
   *
   * @throws {Failure} if it is no regular file: a pipe would be waited for, for ever
   */
  read(path: string): Promise<Uint8Array<ArrayBuffer> | null>;
  /** Hex SHA-256 of a file's content; throws as `read`, and if there is none. */
  sha256(path: string): Promise<string>;
  /** Names in a folder, sorted; none if it is not there. */
  list(path: string): Promise<string[]>;
  /** As `run`, for a program that changes nothing. */
  ask(program: string, args: readonly string[]): Promise<ProgramResult>;
  /** Of a server; null: none that can be read. */
  statusCounts(path: string): Promise<StatusCounts | null>;
  /** See `self_extracting.ts`. */
  isSelfExtracting(path: string): Promise<boolean>;
  isCompiled(path: string): Promise<boolean>;
  uid(): number | null;
  /** Milliseconds since 1970 by the wall clock. */
  nowMs(): number;
  networkInterfaces(): Deno.NetworkInterfaceInfo[];
  /** Whether a UDP port could be bound on every address. */
  isPortFree(port: number): boolean;
}

/** Executables to be tried, and a folder to do it in. */
export interface Trial {
  readonly serverPath: string;
  readonly commanderPath: string;
  readonly dir: string;
}

export type Machine = MachineActs & MachineLooks;

const ENVIRONMENT = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" };
const TRIAL_TIMEOUT_MS = 30_000;
const decoder = new TextDecoder();

export const systemMachine: Machine = {
  async makeFolder(path, mode, { uid, gid }): Promise<void> {
    await Deno.mkdir(path, { mode });
    try {
      await Deno.chown(path, uid, gid);
      // The umask may have taken bits away.
      await Deno.chmod(path, mode);
    } catch (error) {
      await Deno.remove(path);
      throw error;
    }
    await systemFiles.syncFolder(folderOf(path));
  },
  async writeFile(path, bytes, mode, { uid, gid }): Promise<void> {
    await writeFileDurably(path, bytes, {
      mode,
      files: {
        ...systemFiles,
        // Owner and mode are right before the file has its name.
        async createNew(temporary, ownMode): Promise<OpenFile> {
          const file = await systemFiles.createNew(temporary, ownMode);
          try {
            await Deno.chown(temporary, uid, gid);
          } catch (error) {
            file.close();
            await Deno.remove(temporary);
            throw error;
          }
          return file;
        },
      },
    });
  },
  async rename(from, to): Promise<void> {
    await Deno.rename(from, to);
    await systemFiles.syncFolder(folderOf(to));
  },
  link: (from, to) => Deno.link(from, to),
  async copy(from, to, mode): Promise<void> {
    await writeFileDurably(to, await Deno.readFile(from), { mode });
  },
  settleUpdate: async (root) =>
    await recoverUnderLock(
      updateLayout(root),
      systemDisk,
      root === "/" ? await systemServices() : noServices,
    ),
  deriveRole,
  isSelfExtracting,
  isCompiled,
  tryBeside: (trial) => tryBeside({ ...trial, prove: proveKnock, timeoutMs: TRIAL_TIMEOUT_MS }),
  prove: proveKnock,
  statusCounts: readStatusCounts,
  lock: (path) =>
    acquireLock(path, { timeoutMs: 0, hint: "another postern-setup is at work: wait until it has ended" }),
  async remove(path): Promise<void> {
    await ignoreMissing(Deno.remove(path));
  },
  async removeTree(path): Promise<void> {
    await ignoreMissing(Deno.remove(path, { recursive: true }));
  },
  run: (program, args, env) => unlessBusy(() => runProgram(program, args, env)),
  async stat(path): Promise<Deno.FileInfo | null> {
    return await ignoreMissing(Deno.lstat(path));
  },
  follow: (path) => ignoreMissing(Deno.stat(path)),
  realPath: (path) => ignoreMissing(Deno.realPath(path)),
  async read(path): Promise<Uint8Array<ArrayBuffer> | null> {
    const info = await ignoreMissing(Deno.stat(path));
    if (info === null) return null;
    requireRegular(path, info);
    return await ignoreMissing(Deno.readFile(path));
  },
  async sha256(path): Promise<string> {
    requireRegular(path, await Deno.stat(path));
    return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
  },
  async list(path): Promise<string[]> {
    const names: string[] = [];
    try {
      for await (const { name } of Deno.readDir(path)) names.push(name);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return names.sort();
  },
  ask: (program, args) => runProgram(program, args),
  uid: () => Deno.uid(),
  nowMs: Date.now,
  networkInterfaces: () => Deno.networkInterfaces(),
  isPortFree(port): boolean {
    try {
      Deno.listenDatagram({ transport: "udp", hostname: "::", port }).close();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AddrInUse) return false;
      throw error;
    }
  },
};

async function runProgram(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ProgramResult> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(program, {
      args: [...args],
      // Nothing of the caller's environment: what is done must not depend on who does it.
      clearEnv: true,
      env: { ...ENVIRONMENT, ...env },
      stdin: "null",
    }).output();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  } catch (error) {
    throw new Failure(`could not run ${program}`, { cause: error });
  }
}

function requireRegular(path: string, info: Deno.FileInfo): void {
  if (!info.isFile) throw new Failure(`could not read ${path}: it is no regular file`);
}

async function ignoreMissing<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    throw error;
  }
}
