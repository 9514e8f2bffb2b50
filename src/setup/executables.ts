/** Where the executables to install come from. */
import { Failure } from "../system/failure.ts";
import { absolutePath, folderOf } from "../system/path.ts";
import type { Machine } from "./machine.ts";
import { INSTALLED_ROLES, type Role } from "./role.ts";

/** One executable for each role. */
export interface ExecutableSource {
  /** For what is printed. */
  readonly from: string;
  /** Of each executable, at most. */
  readonly maxBytes: number;
  /** What the operator should know of them. */
  readonly notes: readonly string[];
  /** Whether they unpack into the cache folder, which only root can fill for the services. */
  readonly unpack: boolean;
  /** Hex SHA-256 of the file that a role's executable is made from. */
  sha256(role: Role): Promise<string>;
  make(role: Role, to: string): Promise<void>;
}

/** How this program runs. */
export interface RunningProgram {
  /** The self-extracting executable it was started by; null: another form. */
  readonly selfExtractingPath: string | null;
  /** Whether the runtime and this program are one file. */
  readonly isCompiled: boolean;
  readonly execPath: string;
}

const EXECUTABLE_MODE = 0o755;
const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;
const COMPILE_HINT =
  "make them first: deno task compile --format self-extracting --role setup; then add: --from dist";

/**
 * Finds executables for all roles.
 *
 * @param from the folder of `--from`; undefined: this program itself, or the folder it lies in
 * @throws {Failure} naming what is missing
 */
export async function findExecutables(
  machine: Machine,
  program: RunningProgram,
  from: string | undefined,
): Promise<ExecutableSource> {
  if (from !== undefined) return await inFolder(machine, absolutePath(from));
  if (program.selfExtractingPath !== null) return await derived(machine, program.selfExtractingPath);
  if (program.isCompiled) return await inFolder(machine, folderOf(program.execPath));
  throw new Failure(
    "cannot install executables: found a checkout, which has none; accepted is a folder of them",
    {
      hint: COMPILE_HINT,
    },
  );
}

async function inFolder(machine: Machine, folder: string): Promise<ExecutableSource> {
  const names = await machine.list(folder);
  const paths = new Map<Role, string>();
  for (const role of INSTALLED_ROLES) {
    const name = [`postern-${role}-${Deno.build.target}`, `postern-${role}`].find((each) =>
      names.includes(each)
    );
    if (name !== undefined) paths.set(role, `${folder}/${name}`);
  }
  // One self-extracting executable holds all roles; copies of one that was updated later would not fit the others.
  const any = paths.get("setup") ?? [...paths.values()][0];
  if (any !== undefined && await machine.isSelfExtracting(any)) return await derived(machine, any);
  const missing = INSTALLED_ROLES.filter((role) => !paths.has(role)).map((role) => `postern-${role}`);
  if (missing.length > 0) {
    throw new Failure(
      `cannot install executables: found no ${missing.join(", ")} in ${folder}, ` +
        `accepted are all of them, named with or without -${Deno.build.target}, or one that is self-extracting`,
      { hint: COMPILE_HINT },
    );
  }
  function pathOf(role: Role): string {
    return paths.get(role) ?? "";
  }
  return {
    from: folder,
    notes: await requireSource(machine, [...paths.values()]),
    maxBytes: Math.max(...await Promise.all([...paths.values()].map((path) => sizeOf(machine, path)))),
    unpack: false,
    sha256: (role) => machine.sha256(pathOf(role)),
    make: (role, to) => machine.copy(pathOf(role), to, EXECUTABLE_MODE),
  };
}

async function derived(machine: Machine, path: string): Promise<ExecutableSource> {
  let hash: Promise<string> | null = null;
  return {
    from: path,
    notes: await requireSource(machine, [path]),
    maxBytes: await sizeOf(machine, path),
    unpack: true,
    // The same file whichever role's it is: an installed postern-server may be what postern-client is made from.
    sha256: () => hash ??= machine.sha256(path),
    make: (role, to) => machine.deriveRole(path, role, to, EXECUTABLE_MODE),
  };
}

/**
 * What root will run must not be for anybody to write. Another owner is told of: the operator may well be that one.
 *
 * @throws {Failure} if everybody may
 */
async function requireSource(machine: Machine, paths: readonly string[]): Promise<string[]> {
  const notes: string[] = [];
  for (const path of paths) {
    const [file, folder] = await Promise.all([machine.follow(path), machine.follow(folderOf(path))]);
    if (file !== null && !file.isFile) {
      throw new Failure(`cannot install ${path}: it is no file`);
    }
    const isSticky = ((folder?.mode ?? 0) & STICKY) !== 0;
    for (
      const [each, mode] of [[path, file?.mode ?? 0], [
        folderOf(path),
        isSticky ? 0 : folder?.mode ?? 0,
      ]] as const
    ) {
      if ((mode & WRITABLE_BY_ALL) === 0) continue;
      throw new Failure(
        `cannot install ${path}: everybody may write ${each}, accepted is what nobody else may`,
        {
          hint: "put the files into a folder of your own, and compare them with SHA256SUMS",
        },
      );
    }
    if (file !== null && file.uid !== 0) {
      notes.push(`${path} belongs to uid ${file.uid}, and is what root runs from now on`);
    }
  }
  return notes;
}

async function sizeOf(machine: Machine, path: string): Promise<number> {
  return (await machine.stat(path))?.size ?? 0;
}
