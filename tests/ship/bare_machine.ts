/**
 * A machine with nothing on it but what every Debian has, in a folder and a network namespace of its own: the
 * executables of Postern alone, without Deno and npm. Needs root.
 */
import assert from "node:assert/strict";
import { LoggedProcess } from "../../scripts/process.ts";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { namespaceObstacle, succeeds } from "../e2e/machine.ts";
import { Host } from "../e2e/namespaces.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { start, type Started } from "./started.ts";

/** What an executable may use, all of it in packages that Debian marks as essential; cat and chown are the commander's too. */
const TOOLS = [
  ...["/bin/sh", "/usr/bin/stat", "/usr/bin/id", "/usr/bin/sha256sum", "/usr/bin/tail", "/usr/bin/head"],
  ...[
    "/bin/gzip",
    "/bin/tar",
    "/bin/mktemp",
    "/bin/mv",
    "/bin/rm",
    "/bin/mkdir",
    "/bin/chmod",
    "/usr/bin/find",
  ],
  ...["/usr/bin/flock", "/bin/cat", "/bin/chown"],
];
const DEVICES = [["null", 3], ["zero", 5], ["urandom", 9]] as const;
const PORT = 34_020;
const START_TIMEOUT_MS = 30_000;

interface As {
  /** Whose process it is; root's without. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Why no such machine can be made here, or null. */
export async function bareMachineObstacle(): Promise<string | null> {
  const obstacle = await namespaceObstacle();
  if (obstacle !== null) return obstacle;
  await using folder = await TempFolder.make("probe");
  const null_ = `${folder.path}/null`;
  return await succeeds("mknod", [null_, "c", "1", "3"]) && await succeeds("sh", ["-c", ': >"$0"', null_])
    ? null
    : "may not make devices here";
}

export class BareMachine implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #host: Host;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: TempFolder, host: Host, stack: AsyncDisposableStack) {
    this.#folder = folder;
    this.#host = host;
    this.#stack = stack;
  }

  /** @param executables are put into /usr/local/bin, each under its name up to the target's */
  static async make(executables: readonly string[]): Promise<BareMachine> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await TempFolder.make("machine"));
    const root = folder.path;
    await Deno.chmod(root, 0o755);
    for (const path of ["dev", "etc", "run", "tmp", "var/cache", "var/lib", "usr/local/bin"]) {
      await Deno.mkdir(`${root}/${path}`, { recursive: true, mode: 0o755 });
    }
    await Deno.chmod(`${root}/tmp`, 0o1777);
    for (const [name, minor] of DEVICES) {
      assert(await succeeds("mknod", ["-m", "0666", `${root}/dev/${name}`, "c", "1", `${minor}`]));
    }
    for (const path of await withLibraries([...TOOLS, Deno.execPath()])) {
      if (path === Deno.execPath()) continue;
      await Deno.mkdir(`${root}${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true, mode: 0o755 });
      await Deno.copyFile(path, root + path);
    }
    for (const path of executables) {
      const role = /\/(postern-[a-z]+)-[^/]*$/.exec(path)?.[1];
      await Deno.copyFile(path, `${root}/usr/local/bin/${role}`);
      await Deno.chmod(`${root}/usr/local/bin/${role}`, 0o755);
    }
    const host = stack.use(await Host.make("bare"));
    return new BareMachine(folder, host, stack.move());
  }

  /** A path on the machine, as it is called here. */
  outside(path: string): string {
    return this.#folder.path + path;
  }

  #launcher({ uid = 0, env = {} }: As): string[] {
    const variables = Object.entries({ PATH: "/usr/local/bin:/usr/bin:/bin", ...env });
    return [
      ...this.#host.launcher,
      ...["env", "-i", ...variables.map(([name, value]) => `${name}=${value}`)],
      ...["/usr/sbin/chroot", `--userspec=${uid}:${uid}`, "--groups=", this.#folder.path],
    ];
  }

  /** Runs an executable of Postern to its end. */
  run(name: string, words: readonly string[], as: As = {}): Promise<Started> {
    return start(`/usr/local/bin/${name}`, words, { launcher: this.#launcher(as) });
  }

  /** Server and commander as an installation has them; the machine ends them if nobody else does. */
  async startServices(
    { uid, unpack }: { uid: number; unpack: boolean },
  ): Promise<{ commander: LoggedProcess; server: LoggedProcess }> {
    await this.#install(uid);
    for (const name of unpack ? ["postern-server", "postern-commander"] : []) {
      assert.equal((await this.run(name, ["--unpack"])).code, 0);
    }
    const commander = await this.#service("postern-commander", {}, "commander ready");
    const server = await this.#service("postern-server", { uid }, "server ready");
    return { commander, server };
  }

  async #install(uid: number): Promise<void> {
    const write = (path: string, text: string, mode: number): Promise<void> =>
      Deno.writeTextFile(this.outside(path), text, { mode });
    await write("/etc/passwd", `root:x:0:0::/:/bin/sh\npostern:x:${uid}:${uid}::/:/bin/false\n`, 0o644);
    await write("/etc/group", `root:x:0:\npostern:x:${uid}:\n`, 0o644);
    await Deno.mkdir(this.outside("/etc/postern"), { mode: 0o755 });
    await write(
      "/etc/postern/config.toml",
      `address = "[::]:${PORT}"
ips = ["127.0.0.1"]
blocklist_dir = "/var/lib/postern"
socket_dir = "/run/postern"
commander_state_dir = "/var/lib/postern-commander"
status_file = "/var/lib/postern/status.json"
allow_non_routable_ips = true
socket_user = "postern"
socket_group = "postern"
`,
      0o644,
    );
    await write(
      "/etc/postern/commands.toml",
      "[commands]\ndefault = 'echo \"$RUROCO_IP\" >>/knocked'\n",
      0o600,
    );
    const key = formatKey(generateKey());
    await write("/etc/postern/user.key", key, 0o640);
    await Deno.chown(this.outside("/etc/postern/user.key"), 0, uid);
    for (
      const [path, owner, mode] of [
        ["/var/lib/postern", uid, 0o700],
        ["/var/lib/postern-commander", 0, 0o700],
        ["/run/postern", 0, 0o755],
      ] as const
    ) {
      await Deno.mkdir(this.outside(path), { mode });
      await Deno.chown(this.outside(path), owner, owner);
    }
  }

  async #service(name: string, as: As, ready: string): Promise<LoggedProcess> {
    // LoggedProcess starts the runtime of these tests; here it must not even be there.
    const withoutRuntime = ["/bin/sh", "-c", 'shift; exec "$@"', "sh"];
    const words = [`/usr/local/bin/${name}`, "--config", "/etc/postern/config.toml", "--log", "json"];
    const process = this.#stack.use(
      new LoggedProcess([...words, "--strict-permissions"], {
        launcher: [...this.#launcher(as), ...withoutRuntime],
      }),
    );
    await process.line((line) => line.fields["message"] === ready, { timeoutMs: START_TIMEOUT_MS });
    return process;
  }

  /** Knocks for the command "default" with the installed key, as somebody with a home of his own. */
  async knock({ uid }: { uid: number }): Promise<void> {
    await Deno.mkdir(this.outside("/home"), { mode: 0o755 });
    const home = "/home/user";
    await Deno.mkdir(this.outside(home), { mode: 0o700 });
    await Deno.copyFile(this.outside("/etc/postern/user.key"), this.outside(`${home}/user.key`));
    for (const path of [home, `${home}/user.key`]) await Deno.chown(this.outside(path), uid, uid);
    const words = ["send", "-a", `127.0.0.1:${PORT}`, "--key-file", `${home}/user.key`, "-c", "default"];
    const { code, stderr } = await this.run("postern-client", words, { uid, env: { HOME: home } });
    assert.equal(code, 0, stderr);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

/** The files and every shared library that they are linked with. */
async function withLibraries(paths: readonly string[]): Promise<Set<string>> {
  const { stdout } = await new Deno.Command("ldd", { args: [...paths] }).output();
  const libraries = [...new TextDecoder().decode(stdout).matchAll(/(?:=>\s*|^\s+)(\/\S+) \(0x/gm)];
  return new Set([...paths, ...libraries.flatMap(([, path]) => path ?? [])]);
}
