/**
 * A knock laboratory: a real server and a real commander on loopback, in a temporary folder, each started
 * with exactly the permission flags that its own configuration calls for. The demo shows it to people, the
 * end-to-end tests drive it.
 */
import { formatKey, generateKey } from "../src/protocol/knock/key.ts";
import type { Key } from "../src/protocol/knock/key.ts";
import { permissionFlags, type PermissionGrant, permissionSet } from "../src/system/permissions.ts";
import { loadServerConfig } from "../src/server/knock/config.ts";
import { serverPermissions } from "../src/server/knock/permissions.ts";
import { loadCommanderConfig } from "../src/commander/knock/config.ts";
import { commanderPermissions } from "../src/commander/knock/permissions.ts";
import { LoggedProcess, type LogLine } from "./process.ts";

export const repositoryFolder = new URL("..", import.meta.url).pathname;
const mainPath = new URL("../main.ts", import.meta.url).pathname;

export interface StartOptions {
  /** Words before `deno`, such as `ip netns exec NAME`. */
  readonly launcher?: readonly string[];
}

/** Starts one of Postern's roles by `deno run` under the given permissions, never prompting. */
export function startRole(
  permissions: readonly PermissionGrant[],
  words: readonly string[],
  options: StartOptions = {},
): LoggedProcess {
  return new LoggedProcess([
    "run",
    "--no-prompt",
    ...permissionFlags(permissionSet(permissions)),
    mainPath,
    ...words,
  ], {
    ...options,
    cwd: repositoryFolder,
  });
}

export interface ClientResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `postern client ...` to its end with the given `--allow-...` flags and an environment of its own. */
export async function runClient(
  words: readonly string[],
  options: StartOptions & { flags?: readonly string[]; env?: Record<string, string> } = {},
): Promise<ClientResult> {
  const denoWords = ["run", ...(options.flags ?? ["--allow-net"]), mainPath, "client", ...words];
  const [program = "", ...args] = [...(options.launcher ?? []), Deno.execPath(), ...denoWords];
  const output = await new Deno.Command(program, {
    args,
    cwd: repositoryFolder,
    env: options.env ?? {},
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { code: output.code, stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
}

export interface LabOptions {
  /** Content of commands.toml, made once the folder is known. */
  commands(folder: string): string;
  /** Lines added to config.toml. */
  config?: string;
  /** Listening address; by default a free port of 127.0.0.1. */
  address?: string;
  ips?: readonly string[];
  key?: Key;
  /** Where the server keeps its replay floors; by default a folder of the lab's own. */
  blocklistDir?: string;
}

export interface LabFiles {
  readonly folder: string;
  readonly configPath: string;
  readonly commandsPath: string;
  readonly statusPath: string;
  readonly keyPath: string;
  readonly key: Key;
}

/** Writes config.toml, commands.toml, user.key and the folders they name below `folder`. */
export async function writeLabFiles(folder: string, options: LabOptions): Promise<LabFiles> {
  const key = options.key ?? generateKey();
  const files: LabFiles = {
    folder,
    configPath: `${folder}/etc/config.toml`,
    commandsPath: `${folder}/etc/commands.toml`,
    statusPath: `${folder}/run/status.json`,
    keyPath: `${folder}/etc/user.key`,
    key,
  };
  for (const name of ["etc", "run", "state", "commander-state"]) {
    await Deno.mkdir(`${folder}/${name}`, { mode: 0o700 });
  }
  const config = `address = "${options.address ?? "127.0.0.1:0"}"
ips = [${(options.ips ?? ["127.0.0.1"]).map((ip) => `"${ip}"`).join(", ")}]
blocklist_dir = "${options.blocklistDir ?? `${folder}/state`}"
socket_dir = "${folder}/run"
commander_state_dir = "${folder}/commander-state"
status_file = "${files.statusPath}"
socket_user = ""
socket_group = ""
allow_non_routable_ips = true
${options.config ?? ""}
`;
  await Deno.writeTextFile(files.configPath, config, { mode: 0o600 });
  await Deno.writeTextFile(files.commandsPath, options.commands(folder), { mode: 0o600 });
  await Deno.writeTextFile(files.keyPath, formatKey(key), { mode: 0o600 });
  return files;
}

const START_TIMEOUT_MS = 20_000;

/** Waits for the line by which a role says that it works; a role that does not say it is ended. */
async function readiness(process: LoggedProcess, message: string): Promise<LogLine> {
  try {
    return await process.line((line) => line.fields["message"] === message, { timeoutMs: START_TIMEOUT_MS });
  } catch (error) {
    await process.stop("SIGKILL");
    throw error;
  }
}

/** Starts the server of these files and waits until it receives. */
export async function startServer(
  files: LabFiles,
  options: StartOptions & { readonly statusPath?: string } = {},
): Promise<{ process: LoggedProcess; port: number }> {
  const { statusPath, ...start } = options;
  const config = await loadServerConfig(files.configPath);
  const permissions = serverPermissions(config, statusPath === undefined ? {} : { statusPath });
  const process = startRole(permissions, [
    "server",
    "--config",
    files.configPath,
    ...(statusPath === undefined ? [] : ["--status", statusPath]),
    "--log",
    "json",
    "--strict-permissions",
  ], start);
  const ready = await readiness(process, "server ready");
  return { process, port: Number(String(ready.fields["address"]).split(":").at(-1)) };
}

/** Starts the commander of these files and waits until it accepts. */
export async function startCommander(files: LabFiles, options: StartOptions = {}): Promise<LoggedProcess> {
  const config = await loadCommanderConfig(files.configPath);
  const process = startRole(commanderPermissions(config), [
    "commander",
    "--config",
    files.configPath,
    "--log",
    "json",
    "--strict-permissions",
  ], options);
  await readiness(process, "commander ready");
  return process;
}

/** Server, commander and their folder; disposing of it ends both and removes everything. */
export class Lab implements AsyncDisposable {
  readonly files: LabFiles;
  server: LoggedProcess;
  commander: LoggedProcess;
  port: number;

  private constructor(files: LabFiles, server: LoggedProcess, port: number, commander: LoggedProcess) {
    this.files = files;
    this.server = server;
    this.port = port;
    this.commander = commander;
  }

  static async start(options: LabOptions): Promise<Lab> {
    const folder = await Deno.makeTempDir({ prefix: "postern-lab-" });
    try {
      const files = await writeLabFiles(folder, options);
      const commander = await startCommander(files);
      try {
        const { process, port } = await startServer(files);
        return new Lab(files, process, port, commander);
      } catch (error) {
        await commander.stop("SIGKILL");
        throw error;
      }
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  async restartServer(): Promise<void> {
    await this.server.stop("SIGKILL");
    const { process, port } = await startServer(this.files);
    this.server = process;
    this.port = port;
  }

  async restartCommander(): Promise<void> {
    await this.commander.stop("SIGKILL");
    this.commander = await startCommander(this.files);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.server.stop(), this.commander.stop()]);
    await Deno.remove(this.files.folder, { recursive: true });
  }
}
