/**
 * The self-extracting executables as they are built, updated by themselves: in a root folder of its own that has the
 * machine's programs and libraries, but no Deno, no npm and no systemd.
 */
import assert from "node:assert/strict";
import { makeRelease } from "../../../scripts/release_folder.ts";
import { makeReleaseKey, readReleaseKey } from "../../../scripts/release_key.ts";
import { repositoryFolder } from "../../../scripts/lab.ts";
import { makeKey } from "../../../src/client/knock/gen.ts";
import { hashFile } from "../../../src/setup/update/digest.ts";
import { mountObstacle, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import config from "../../../deno.json" with { type: "json" };

const ROLES = ["server", "commander", "setup"];
/** In the cache, of an executable that is gone. */
const UNUSED_ENTRY = "d".repeat(64);
const MS_PER_DAY = 24 * 60 * 60 * 1000;

/** Enters the root folder `$1` in a mount namespace of its own, and runs the words after it there. */
const ENTER = `
set -e
root=$1; shift
mount --rbind /usr "$root/usr"
mount -t tmpfs none "$root/usr/local"
mkdir "$root/usr/local/bin"
mount --rbind "$root/bin-of-the-test" "$root/usr/local/bin"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
exec chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root "$@"
`;

/** Folders and files of an installation by hand. */
async function makeRoot(root: string): Promise<void> {
  const dirs = [
    "usr",
    "dev",
    "proc",
    "tmp",
    "root",
    "run/postern",
    "etc/postern",
    "var/lib/postern",
    "var/cache",
  ];
  for (const dir of [...dirs, "var/lib/postern-commander", "bin-of-the-test", "releases"]) {
    await Deno.mkdir(`${root}/${dir}`, { recursive: true, mode: 0o755 });
  }
  await Deno.chmod(root, 0o755);
  for (const name of ["bin", "sbin", "lib", "lib64"]) await Deno.symlink(`usr/${name}`, `${root}/${name}`);
  for (const name of ["passwd", "group", "ld.so.cache"]) {
    await Deno.copyFile(`/etc/${name}`, `${root}/etc/${name}`);
  }
  const lines = [
    'ips = ["192.0.2.1"]',
    'blocklist_dir = "/var/lib/postern"',
    'socket_dir = "/run/postern"',
    'commander_state_dir = "/var/lib/postern-commander"',
    'status_file = "/var/lib/postern/status.json"',
    'socket_user = ""',
    'socket_group = ""',
    "",
  ];
  await Deno.writeTextFile(`${root}/etc/postern/config.toml`, lines.join("\n"));
  await Deno.writeTextFile(`${root}/etc/postern/commands.toml`, '[commands]\npostern_check = "true"\n', {
    mode: 0o600,
  });
  await Deno.writeTextFile(`${root}/etc/postern/postern-check.key`, makeKey().keyText, { mode: 0o600 });
}

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function output(program: string, args: readonly string[]): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args: [...args], cwd: repositoryFolder })
    .output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function release(dir: string, version: string, keyPath: string): Promise<void> {
  await makeRelease({
    distDir: `${dir}/dist`,
    outDir: `${dir}/root/releases`,
    version,
    createdMs: Date.now(),
    expiresMs: Date.now() + MS_PER_DAY,
    key: await readReleaseKey(keyPath),
  });
}

Deno.test({
  ...unless(
    await mountObstacle(),
    "self-extracting executables update themselves after a knock on the new ones",
  ),
  timeout: 300_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("real-update");
    const dir = folder.path;
    const root = `${dir}/root`;
    const keyPath = `${dir}/release.key`;
    await makeReleaseKey(keyPath);
    await makeRoot(root);
    const built = await output(Deno.execPath(), [
      ...[
        "run",
        "-A",
        "scripts/compile.ts",
        "--format",
        "self-extracting",
        "--quick",
        "--out",
        `${dir}/dist`,
      ],
      ...["--release-key", `${keyPath}.pub`],
    ]);
    assert.equal(built.code, 0, built.stderr);
    // The same version with one byte more stands for an executable that was damaged.
    for (const role of ROLES) {
      const path = `${root}/bin-of-the-test/postern-${role}`;
      await Deno.copyFile(`${dir}/dist/postern-${role}-${Deno.build.target}`, path);
      await Deno.writeTextFile(path, "\n", { append: true });
    }
    const cacheDir = `${root}/var/cache/postern`;
    await Deno.mkdir(`${cacheDir}/${UNUSED_ENTRY}`, { recursive: true, mode: 0o755 });
    await release(dir, config.version, keyPath);
    function update(...words: readonly string[]): Promise<Output> {
      const enter = ["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", root];
      const line = [
        "/usr/local/bin/postern-setup",
        "client",
        "update",
        "--from",
        "file:///releases",
        "--json",
      ];
      return output("unshare", [...enter, ...line, ...words]);
    }

    const { code, stdout, stderr } = await update();
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout);
    assert.deepEqual(report.replaced.map((each: Record<string, unknown>) => each["role"]), ROLES);
    assert.deepEqual(report.replaced.map((each: Record<string, unknown>) => each["old_version"]), [
      config.version,
      config.version,
      config.version,
    ]);
    assert.equal(report.proven_before_swap, true, stdout);
    assert.deepEqual(report.not_done, ["prove a knock on the services: they are not running"]);
    for (const { role, sha256 } of report.replaced) {
      assert.equal((await hashFile(`${root}/bin-of-the-test/postern-${role}`)).sha256, sha256);
    }
    const names = [...Deno.readDirSync(`${root}/bin-of-the-test`)].map(({ name }) => name).sort();
    assert.deepEqual(names, ROLES.map((role) => `postern-${role}`).sort());
    const cached = [...Deno.readDirSync(cacheDir)].map(({ name }) => name).filter((name) =>
      name.length === 64
    );
    // The runtime and the bundle of each role, without what nobody uses any more.
    assert.equal(cached.length, 1 + ROLES.length, cached.join(", "));
    assert.ok(!cached.includes(UNUSED_ENTRY));

    const again = await update();
    assert.equal(again.code, 0, again.stderr);
    assert.deepEqual(JSON.parse(again.stdout).replaced, []);

    // A new server that does not work is found out beside the old one, which stays.
    await Deno.writeTextFile(
      `${dir}/dist/postern-server-${Deno.build.target}`,
      "#!/bin/sh\necho no such library >&2; exit 3\n",
    );
    await release(dir, "99.0.0", keyPath);
    const broken = await update();
    assert.equal(broken.code, 1);
    const { error } = JSON.parse(broken.stdout);
    assert.match(error, /the new server does not take .*config\.toml: no such library; nothing was changed$/);
    for (const { role, sha256 } of report.replaced) {
      assert.equal((await hashFile(`${root}/bin-of-the-test/postern-${role}`)).sha256, sha256);
    }
  },
});
