/** Debian with a running systemd, in a container of its own: for what only a real system can show. Needs root. */
import assert from "node:assert/strict";
import { succeeds } from "../e2e/machine.ts";
import { until } from "../e2e/until.ts";

const BOOT_TIMEOUT_MS = 60_000;
/** For one program in a container: longer than any that ends at all. */
const RUN_TIMEOUT_SECONDS = 150;
const ASK_TIMEOUT_SECONDS = 10;
const KEPT_LOG_CHARS = 2000;
const RELEASE = "bookworm";
const PACKAGES = "systemd,systemd-sysv,dbus";
/** Names a folder with such a system, or one that is not there yet and keeps it for the next run. */
const CACHE_VARIABLE = "POSTERN_TEST_DEBIAN";
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Why no such container runs here, or null. */
export async function containerObstacle(): Promise<string | null> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "needs root on Linux";
  for (
    const [program, ...args] of [
      ["systemd-nspawn", "--version"],
      ["debootstrap", "--version"],
      ["nsenter", "--version"],
      ["ip", "-V"],
    ] as const
  ) {
    if (!(await succeeds(program, args))) return `needs ${program}`;
  }
  const probes = cgroupRoots().map((folder) => `${folder}/postern-probe-${crypto.randomUUID().slice(0, 8)}`);
  return await succeeds("mkdir", probes) && await succeeds("rmdir", probes)
    ? null
    : "may make no control group here";
}

/** A minimal Debian below `folder`, made by debootstrap unless there is a copy at hand. */
export async function makeDebian(folder: string): Promise<void> {
  const cache = Deno.env.get(CACHE_VARIABLE);
  if (cache !== undefined && await succeeds("test", ["-e", `${cache}/usr/lib/systemd/systemd`])) {
    return await done("cp", ["-a", cache, folder]);
  }
  const made = cache ?? folder;
  await done("debootstrap", ["--variant=minbase", `--include=${PACKAGES}`, RELEASE, made]);
  if (made !== folder) await done("cp", ["-a", made, folder]);
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Container implements AsyncDisposable {
  readonly root: string;
  /** Process id of its systemd, as the host sees it. */
  readonly leader: number;
  readonly #nspawn: Deno.ChildProcess;
  readonly #cgroups: readonly string[];

  private constructor(root: string, leader: number, nspawn: Deno.ChildProcess, cgroups: readonly string[]) {
    this.root = root;
    this.leader = leader;
    this.#nspawn = nspawn;
    this.#cgroups = cgroups;
  }

  /** Boots the system below `root`, with a network of its own that has loopback alone. */
  static async boot(root: string): Promise<Container> {
    // A control group of its own: with --keep-unit two containers would share one, and each other's units.
    const name = `postern-test-${crypto.randomUUID().slice(0, 8)}`;
    const cgroups = cgroupRoots().map((folder) => `${folder}/${name}`);
    await done("mkdir", cgroups);
    const words = [
      ...["systemd-nspawn", "--register=no", "--keep-unit", "--private-network", "--quiet", "--boot"],
      ...["--machine", `postern-${crypto.randomUUID().slice(0, 8)}`, "--directory", root],
    ];
    const logPath = `${root}.log`;
    const script = 'log=$1; for each in $2; do echo $$ > "$each/cgroup.procs" || exit; done; shift 2; ' +
      'exec "$@" > "$log" 2>&1';
    const nspawn = new Deno.Command("sh", {
      args: ["-c", script, "sh", logPath, cgroups.join(" "), ...words],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    let ended: Deno.CommandStatus | null = null;
    nspawn.status.then((status) => ended = status);
    try {
      return await until("the container has booted", async () => {
        if (ended !== null) throw new Error(`the container ended at its start, with exit code ${ended.code}`);
        // Asked for each time: the first child is a helper that is gone soon.
        const path = `/proc/${nspawn.pid}/task/${nspawn.pid}/children`;
        const leader = Number((await Deno.readTextFile(path).catch(() => "")).trim().split(" ")[0]);
        if (!(leader > 0)) return false;
        const container = new Container(root, leader, nspawn, cgroups);
        const { stdout } = await outputOf(
          withTimeout(ASK_TIMEOUT_SECONDS, [...container.launcher, "systemctl", "is-system-running"]),
        );
        return /running|degraded/.test(stdout) && container;
      }, { timeoutMs: BOOT_TIMEOUT_MS, pollMs: 100 });
    } catch (error) {
      await endContainer(nspawn, cgroups);
      const log = await Deno.readTextFile(logPath).catch(() => "");
      throw new Error(`${error}; it said: ${log.slice(-KEPT_LOG_CHARS)}`, { cause: error });
    }
  }

  /** Words before those of a program that runs inside. */
  get launcher(): string[] {
    const namespaces = ["-m", "-u", "-i", "-n", "-p", "-r", "-w"];
    return ["nsenter", "-t", `${this.leader}`, ...namespaces, "env", "-i", `PATH=${PATH}`];
  }

  /** Words before those of a program of the host that runs in the container's network. */
  get networkLauncher(): string[] {
    return ["nsenter", "-t", `${this.leader}`, "-n"];
  }

  async run(...words: string[]): Promise<Output> {
    return await outputOf(withTimeout(RUN_TIMEOUT_SECONDS, [...this.launcher, ...words]));
  }

  /** Runs a program that must succeed, and gives what it printed. */
  async must(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...words);
    assert.equal(code, 0, `${words.join(" ")}: ${stderr}${stdout}`);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endContainer(this.#nspawn, this.#cgroups);
  }
}

/** A program that hangs, as one does whose container has died, must fail its test and not hold it up. */
function withTimeout(seconds: number, words: readonly string[]): string[] {
  return ["timeout", "--kill-after=5", String(seconds), ...words];
}

/** Kills whatever is in the container's control groups, which ends all of its pid namespace; then they are empty. */
async function endContainer(nspawn: Deno.ChildProcess, cgroups: readonly string[]): Promise<void> {
  await until("its control groups are gone", async () => {
    const { stdout } = await outputOf([
      "find",
      ...cgroups,
      "-name",
      "cgroup.procs",
      "-exec",
      "cat",
      "{}",
      "+",
    ]);
    const pids = stdout.split("\n").filter((pid) => Number(pid) > 0);
    if (pids.length > 0) await succeeds("kill", ["-KILL", ...pids]);
    await succeeds("find", [...cgroups, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
    return !cgroups.some(isFolder);
  });
  await nspawn.status;
}

/** The hierarchies that systemd lives in: the unified one, or both of a machine that has the old ones as well. */
function cgroupRoots(): string[] {
  const both = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"].filter(isFolder);
  return both.length > 0 ? both : ["/sys/fs/cgroup"];
}

function isFolder(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

export async function outputOf(words: readonly string[]): Promise<Output> {
  const [program = "", ...args] = words;
  const { code, stdout, stderr } = await new Deno.Command(program, { args, stdin: "null" }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function done(program: string, args: readonly string[]): Promise<void> {
  const { code, stdout, stderr } = await outputOf([program, ...args]);
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${stderr || stdout.slice(-1000)}`);
}
