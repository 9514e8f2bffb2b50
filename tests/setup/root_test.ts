/** `client setup --root` as a process of its own, with exactly the permissions of the table, on a small tree. */
import assert from "node:assert/strict";
import { setupPermissions } from "../../src/setup/setup_permissions.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";
import { succeeds, unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { pause } from "../e2e/until.ts";
import { type Output, outputOf } from "./container.ts";
import { fileTree } from "./file_tree.ts";

const MAIN = new URL("../../main.ts", import.meta.url).pathname;
const KILLS = 8;

async function rootObstacle(): Promise<string | null> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) return "needs root on Linux";
  for (const program of ["systemd-sysusers", "systemctl", "userdel"]) {
    if (!(await succeeds("sh", ["-c", 'command -v "$1"', "sh", program]))) return `needs ${program}`;
  }
  return null;
}

class Tree implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly root: string;

  private constructor(folder: TempFolder) {
    this.folder = folder;
    this.root = `${folder.path}/root`;
  }

  /** A tree with accounts, and executables to install that are scripts. */
  static async make(): Promise<Tree> {
    const tree = new Tree(await TempFolder.make("setup-root"));
    await Deno.mkdir(`${tree.root}/etc`, { recursive: true });
    // The folder of the list itself is the one thing that is made before it can be listed.
    await Deno.mkdir(`${tree.root}/var/lib`, { recursive: true });
    await Deno.mkdir(`${tree.folder.path}/dist`);
    for (const role of ["client", "server", "commander", "setup"]) {
      await Deno.writeTextFile(`${tree.folder.path}/dist/postern-${role}`, `#!/bin/sh\n# ${role}\n`, {
        mode: 0o755,
      });
    }
    for (
      const [name, text, mode] of [
        ["passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644],
        ["group", "root:x:0:\n", 0o644],
        ["shadow", "root:*:19000:0:99999:7:::\n", 0o640],
        ["gshadow", "root:*::\n", 0o640],
        ["login.defs", "SYS_UID_MIN 100\nSYS_UID_MAX 999\nUSERGROUPS_ENAB yes\n", 0o644],
      ] as const
    ) await Deno.writeTextFile(`${tree.root}/etc/${name}`, text, { mode });
    return tree;
  }

  words(dryRun: boolean, options: readonly string[]): string[] {
    const flags = permissionFlags(permissionSet(setupPermissions({ dryRun, root: this.root })));
    return [
      ...[Deno.execPath(), "run", "--no-prompt", ...flags, MAIN, "client", "setup", "--root", this.root],
      ...options,
    ];
  }

  setup(...options: string[]): Promise<Output> {
    const from = options.includes("--uninstall")
      ? []
      : ["--ips", "9.9.9.9", "--from", `${this.folder.path}/dist`];
    return outputOf(this.words(options.includes("--dry-run"), [...from, ...options]));
  }

  /** Starts a setup and kills it after a while; whether it was still at work then. */
  async killedSetup(afterMs: number): Promise<boolean> {
    const [program = "", ...args] = this.words(false, [
      "--ips",
      "9.9.9.9",
      "--from",
      `${this.folder.path}/dist`,
    ]);
    const child = new Deno.Command(program, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
    await pause(afterMs);
    try {
      child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    return (await child.status).signal === "SIGKILL";
  }

  files(): Promise<string[]> {
    return fileTree(this.root);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}

const obstacle = await rootObstacle();

Deno.test({
  ...unless(
    obstacle,
    "client setup --root works twice with exactly its permissions, and uninstalled leaves the tree as before",
  ),
  timeout: 120_000,
  async fn(): Promise<void> {
    await using tree = await Tree.make();
    const before = await tree.files();
    const dry = await tree.setup("--dry-run");
    assert.equal(dry.code, 0, dry.stderr);
    assert.match(dry.stdout, /nothing was changed/);
    assert.deepEqual(await tree.files(), before);

    const first = await tree.setup();
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /nothing is started and no knock is proven below/);
    const made = await tree.files();
    assert(made.some((line) => line.startsWith("usr/local/share/man/man1/postern.1 f 644 0:0")));
    assert(made.some((line) => line.startsWith("usr/local/share/zsh/site-functions/_postern f 644")));
    assert(
      made.some((line) =>
        line.startsWith("etc/systemd/system/multi-user.target.wants/postern-server.service l")
      ),
    );
    assert(made.every((line) => !/\.tmp /.test(line)));

    const second = await tree.setup();
    assert.equal(second.code, 0, second.stderr);
    assert.match(second.stdout, /^nothing to do: everything is there$/m);
    assert.deepEqual(await tree.files(), made);

    const purged = await tree.setup("--uninstall", "--purge");
    assert.equal(purged.code, 0, purged.stderr);
    assert.deepEqual(await tree.files(), before);
  },
});

Deno.test({
  ...unless(
    obstacle,
    "client setup --root killed at any moment is completed by the next, or removed by --uninstall",
  ),
  timeout: 240_000,
  async fn(): Promise<void> {
    await using whole = await Tree.make();
    const startedMs = performance.now();
    assert.equal((await whole.setup()).code, 0);
    const takesMs = performance.now() - startedMs;
    const paths = (lines: readonly string[]): string[] => lines.map((line) => line.split(" ")[0] ?? "");
    const expected = paths(await whole.files());
    let killed = 0;
    for (let i = 1; i <= KILLS; i++) {
      await using tree = await Tree.make();
      const before = await tree.files();
      if (await tree.killedSetup(takesMs * i / KILLS)) killed++;
      if (i % 2 === 0) {
        const { code, stderr } = await tree.setup();
        assert.equal(code, 0, stderr);
        assert.deepEqual(paths(await tree.files()), expected);
      }
      const { code, stderr } = await tree.setup("--uninstall", "--purge");
      assert.equal(code, 0, stderr);
      assert.deepEqual(await tree.files(), before);
    }
    // On whatever machine, the first of these moments lie within the run.
    assert(killed > 0);
  },
});
