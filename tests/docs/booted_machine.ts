/**
 * A whole machine with systemd, thrown away afterwards: systemd-nspawn boots a copy-on-write view of this one, with a
 * network of its own that leads nowhere. Needs root.
 */
import assert from "node:assert/strict";
import { type Ended, runProgram } from "../deploy/programs.ts";
import { succeeds } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";

const BOOT_TIMEOUT_MS = 60_000;
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// `$1` is a folder of the host, `$2` a control group of its own, without which two machines with --keep-unit would share
// one, and each other's units; the rest are words for systemd-nspawn. The changes lie in memory, since an overlay may not
// write into what it shows. Nothing of the host's own services is started.
const BOOT = `
set -e
echo $$ > "$2/cgroup.procs"
mount -t tmpfs none "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" overlay "$1/root"
root=$1/root
shift 2
rm -rf "$root"/etc/systemd/system/*.wants/* "$root"/etc/postern "$root"/etc/ruroco
exec systemd-nspawn --quiet --machine="postern-docs-$$" --directory="$root" \\
  --private-network --register=no --keep-unit "$@" --boot
`;

/** Why no machine can be booted here, or null. */
export async function bootObstacle(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "not Linux";
  if (Deno.uid() !== 0) return "needs root";
  for (const program of ["systemd-nspawn", "nsenter", "unshare"]) {
    if (!(await succeeds(program, ["--version"]))) return `needs ${program}`;
  }
  await using folder = await TempFolder.make("probe");
  const overlay =
    'mount -t tmpfs none "$0" && mkdir "$0/a" "$0/b" "$0/c" && mount -t overlay -o "lowerdir=/,upperdir=$0/a,workdir=$0/b" overlay "$0/c"';
  if (!(await succeeds("unshare", ["--mount", "sh", "-c", overlay, folder.path]))) {
    return "may not mount an overlay here";
  }
  const probe = controlGroup();
  return await succeeds("mkdir", [probe]) && await succeeds("rmdir", [probe])
    ? null
    : "may make no control group here";
}

/** Path of a new control group in the hierarchy that systemd lives in. */
function controlGroup(): string {
  const root = "/sys/fs/cgroup";
  let hierarchy = root;
  try {
    if (Deno.statSync(`${root}/systemd`).isDirectory) hierarchy = `${root}/systemd`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return `${hierarchy}/postern-docs-${crypto.randomUUID().slice(0, 8)}`;
}

/** One booted machine. */
export class BootedMachine implements AsyncDisposable {
  readonly #folder: TempFolder;
  readonly #controlGroup: string;
  readonly #nspawn: Deno.ChildProcess;
  #leader = "";

  private constructor(folder: TempFolder, controlGroup: string, nspawn: Deno.ChildProcess) {
    this.#folder = folder;
    this.#controlGroup = controlGroup;
    this.#nspawn = nspawn;
  }

  /** @param shown folders and files of the host by the path at which the machine sees them, read-only */
  static async boot(shown: Readonly<Record<string, string>>): Promise<BootedMachine> {
    const folder = await TempFolder.make("machine");
    const group = controlGroup();
    assert(await succeeds("mkdir", [group]), `could not make ${group}`);
    const binds = Object.entries(shown).map(([inside, outside]) => `--bind-ro=${outside}:${inside}`);
    const nspawn = new Deno.Command("unshare", {
      args: ["--mount", "sh", "-c", BOOT, "sh", folder.path, group, ...binds],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const machine = new BootedMachine(folder, group, nspawn);
    try {
      await machine.#waitUntilBooted();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #waitUntilBooted(): Promise<void> {
    const children = `/proc/${this.#nspawn.pid}/task/${this.#nspawn.pid}/children`;
    await until("systemd has booted", async () => {
      this.#leader = (await Deno.readTextFile(children)).trim().split(" ")[0] ?? "";
      if (this.#leader === "") return false;
      const { stdout } = await this.attempt("systemctl is-system-running");
      return /^(?:running|degraded)$/m.test(stdout);
    }, { timeoutMs: BOOT_TIMEOUT_MS, pollMs: 100 });
  }

  /** Runs a shell script as root, stopping at the first command that fails. */
  async attempt(script: string, options: { cwd?: string; input?: string } = {}): Promise<Ended> {
    const { cwd = "/", input } = options;
    const inside = ["env", "-i", `PATH=${PATH}`, "HOME=/root", "LANG=C.UTF-8", "SYSTEMD_COLORS=0"];
    const words = [
      "--target",
      this.#leader,
      "--all",
      ...inside,
      "sh",
      "-c",
      'cd "$0" && exec sh -eu -c "$1"',
    ];
    return await runProgram("nsenter", [...words, cwd, script], input);
  }

  /** The same for a script that must succeed; gives what it printed on standard output. */
  async run(script: string, options: { cwd?: string; input?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await this.attempt(script, options);
    assert.equal(code, 0, `${script}\n--- printed:\n${stdout}\n--- and on standard error:\n${stderr}`);
    return stdout;
  }

  /** Writes a file whose folder is there. */
  async write(path: string, text: string, mode = "0644"): Promise<void> {
    await this.run(`cat > '${path}' && chmod ${mode} '${path}'`, { input: text });
  }

  /** Switches the machine off and forgets everything it changed. */
  async [Symbol.asyncDispose](): Promise<void> {
    // The first process of a PID namespace takes all others with it.
    if (this.#leader !== "") await succeeds("kill", ["-KILL", this.#leader]);
    else this.#nspawn.kill("SIGKILL");
    await this.#nspawn.status;
    await until("its control groups are gone", async () => {
      await succeeds("find", [this.#controlGroup, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]);
      return !(await succeeds("test", ["-e", this.#controlGroup]));
    });
    await this.#folder[Symbol.asyncDispose]();
  }
}
