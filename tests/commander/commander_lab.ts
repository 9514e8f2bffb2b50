/** A real commander process in a folder of its own, with exactly the permissions its configuration calls for. */
import { LoggedProcess, type LogLine } from "../../scripts/process.ts";
import { loadCommanderConfig } from "../../src/commander/knock/config.ts";
import { commanderPermissions } from "../../src/commander/knock/permissions.ts";
import { parseIp } from "../../src/protocol/knock/address.ts";
import { commandHash } from "../../src/protocol/knock/command_hash.ts";
import { encodeForwardMessage } from "../../src/protocol/knock/forward_message.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";

export const IP = "198.41.0.4";
const entryPath = new URL("./commander_process.ts", import.meta.url).pathname;

export class CommanderLab implements AsyncDisposable {
  readonly folder: string;
  readonly #processes: LoggedProcess[] = [];

  constructor(folder: string) {
    this.folder = folder;
  }

  get configPath(): string {
    return `${this.folder}/config.toml`;
  }

  get commandsPath(): string {
    return `${this.folder}/commands.toml`;
  }

  get socketPath(): string {
    return `${this.folder}/run/ruroco.socket`;
  }

  get leasesPath(): string {
    return `${this.folder}/state/leases.json`;
  }

  /** Makes the files; `commands` gets the folder, to write into it. */
  static async create(commands: (folder: string) => string, config = ""): Promise<CommanderLab> {
    const lab = new CommanderLab(await Deno.makeTempDir({ prefix: "postern-commander-" }));
    await Deno.mkdir(`${lab.folder}/run`);
    await Deno.writeTextFile(
      lab.configPath,
      `socket_dir = "${lab.folder}/run"
commander_state_dir = "${lab.folder}/state"
socket_user = ""
socket_group = ""
${config}
`,
    );
    await lab.writeCommands(commands(lab.folder));
    return lab;
  }

  async writeCommands(text: string): Promise<void> {
    await Deno.writeTextFile(this.commandsPath, text, { mode: 0o600 });
  }

  /** Words of `deno` that run this commander with exactly what it needs, or with `flags`. */
  async words(flags?: readonly string[]): Promise<string[]> {
    const needed = flags ??
      permissionFlags(permissionSet(commanderPermissions(await loadCommanderConfig(this.configPath))));
    return ["run", "--no-prompt", ...needed, entryPath, this.configPath];
  }

  /** Starts a commander without waiting for it. */
  async spawn(flags?: readonly string[]): Promise<LoggedProcess> {
    const process = new LoggedProcess(await this.words(flags));
    this.#processes.push(process);
    return process;
  }

  /** Starts a commander and waits until it accepts. */
  async start(flags?: readonly string[]): Promise<LoggedProcess> {
    const process = await this.spawn(flags);
    await process.line(says("commander ready"));
    return process;
  }

  /** Sends what the server would send for a knock. */
  async knock(command: string, ip = IP): Promise<void> {
    await this.send(message(command, ip));
  }

  /** Sends any bytes and closes. */
  async send(bytes: Uint8Array): Promise<void> {
    using conn = await Deno.connect({ transport: "unix", path: this.socketPath });
    for (let offset = 0; offset < bytes.length;) offset += await conn.write(bytes.subarray(offset));
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.folder}/${name}`);
  }

  exists(name: string): boolean {
    try {
      Deno.lstatSync(`${this.folder}/${name}`);
      return true;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop("SIGKILL")));
    await Deno.remove(this.folder, { recursive: true });
  }
}

/** The 24 bytes for a command name and an address. */
export function message(command: string, ip = IP): Uint8Array {
  return encodeForwardMessage({ commandHash: commandHash(command), ip: parseIp(ip) });
}

/** Matches log lines by message and, where given, by fields. */
export function says(message: string, fields: Record<string, unknown> = {}): (line: LogLine) => boolean {
  return (line) =>
    line.fields["message"] === message &&
    Object.entries(fields).every(([name, value]) => line.fields[name] === value);
}

/** Polls until `condition` holds: for what no log line tells, such as another process being gone. */
export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadlineMs) throw new Error(`waited 10 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** True while a process of this pid lives; a zombie does not. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
    return !/\) [ZX] /.test(stat);
  } catch {
    return false;
  }
}
