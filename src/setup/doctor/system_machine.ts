/** The running machine. */
import { type IpAddress, tryParseIp } from "../../protocol/knock/address.ts";
import { Failure } from "../../system/failure.ts";
import { hasPermission } from "../../system/permissions.ts";
import type {
  FileFacts,
  FileKind,
  InterfaceAddress,
  Machine,
  ProgramOutput,
  Reach,
  TimeReading,
} from "./machine.ts";
import type { Program } from "./programs.ts";
import { parseTimeSource, readTime } from "./time_source.ts";

const PERMISSION_BITS = 0o7777;
const PROGRAM_TIMEOUT_MS = 10_000;
const PROGRAM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";

const decoder = new TextDecoder();

export const systemMachine: Machine = {
  wallMs: () => Date.now(),
  uid: () => Deno.uid(),
  variable: (name) => Deno.env.get(name) || undefined,
  interfaces(): InterfaceAddress[] {
    return Deno.networkInterfaces().flatMap(({ name, address }) => {
      const ip = tryParseIp(address);
      return ip === null ? [] : [{ device: name, ip }];
    });
  },
  async stat(path): Promise<FileFacts | null> {
    const info = await unlessMissing(Deno.stat(path));
    if (info === null) return null;
    return {
      kind: kindOf(info),
      uid: info.uid ?? 0,
      gid: info.gid ?? 0,
      mode: (info.mode ?? 0) & PERMISSION_BITS,
      sizeBytes: info.size,
      modifiedMs: info.mtime?.getTime() ?? 0,
    };
  },
  async list(path): Promise<readonly string[] | null> {
    return await unlessMissing(
      Array.fromAsync(Deno.readDir(path), ({ name }) => name).then((names) => names.sort()),
    );
  },
  async read(path, maxBytes): Promise<Uint8Array<ArrayBuffer> | null> {
    return await unlessMissing(readAtMost(path, maxBytes));
  },
  async isLocked(path): Promise<boolean | null> {
    const file = await unlessMissing(openRegular(path));
    if (file === null) return null;
    try {
      // Shared, and given back at once: two doctors do not take each other for a server.
      return !await file.tryLock(false);
    } finally {
      file.close();
    }
  },
  async lookup(host): Promise<readonly IpAddress[]> {
    // The resolver of node: says EPERM where the runtime refuses, which looks like an answer of the name server.
    if (!hasPermission({ name: "net", host })) {
      throw new Deno.errors.NotCapable(`no permission to resolve ${host}`);
    }
    const { promises } = await import("node:dns");
    const answers = await promises.lookup(host, { all: true, order: "verbatim" });
    return answers.map(({ address }) => tryParseIp(address)).filter((ip) => ip !== null);
  },
  async connectUnix(path): Promise<Reach> {
    try {
      (await Deno.connect({ transport: "unix", path })).close();
      return "connected";
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "missing";
      if (error instanceof Deno.errors.ConnectionRefused) return "refused";
      // The kernel's queue of connections that nobody accepts is full.
      if (error instanceof Deno.errors.WouldBlock) return "busy";
      throw error;
    }
  },
  async run(program, args): Promise<ProgramOutput | null> {
    const path = await firstThatIsThere(program);
    if (path === null) return null;
    const { code, stdout, stderr } = await new Deno.Command(path, {
      args: [...args],
      clearEnv: true,
      env: { LC_ALL: "C", PATH: PROGRAM_PATH },
      stdin: "null",
      signal: AbortSignal.timeout(PROGRAM_TIMEOUT_MS),
    }).output();
    return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  },
  async askTime(source): Promise<TimeReading> {
    return await readTime(parseTimeSource(source));
  },
};

function kindOf(info: Deno.FileInfo): FileKind {
  if (info.isFile) return "file";
  if (info.isDirectory) return "folder";
  return info.isSocket === true ? "socket" : "other";
}

async function readAtMost(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  using file = await openRegular(path);
  const bytes = new Uint8Array(maxBytes);
  let length = 0;
  while (length < maxBytes) {
    const count = await file.read(bytes.subarray(length));
    if (count === null || count === 0) break;
    length += count;
  }
  return bytes.slice(0, length);
}

/** Some of these files lie in folders of the server's user: a pipe that he put there would hold root up for ever. */
async function openRegular(path: string): Promise<Deno.FsFile> {
  if (!(await Deno.stat(path)).isFile) throw new Failure(`${path} is no regular file`);
  return await Deno.open(path, { read: true });
}

async function firstThatIsThere(program: Program): Promise<string | null> {
  let found: string | null = null;
  for (const path of program) {
    if ((await unlessMissing(Deno.stat(path)))?.isFile !== true) continue;
    if (hasPermission({ name: "run", command: path })) return path;
    found = path;
  }
  if (found === null) return null;
  throw new Failure(`no permission to run ${found}: add --allow-run=${found} to deno run`);
}

async function unlessMissing<T>(promise: Promise<T>): Promise<T | null> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
    throw error;
  }
}
