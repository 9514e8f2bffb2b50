/** `postern client update` as a program of its own, under exactly the permissions that the table gives it. */
import assert from "node:assert/strict";
import { updatePermissions } from "../../../src/setup/update/update_permissions.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";
import { repositoryFolder } from "../../../scripts/lab.ts";
import { CopyForEverybody } from "../../everybody.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(args: readonly string[]): Promise<Output> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: repositoryFolder,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** Keys and a release made by the script, and an installation below a root, without anything of the test lab. */
async function prepare(dir: string): Promise<void> {
  const target = Deno.build.target;
  await Deno.mkdir(`${dir}/dist`);
  await Deno.mkdir(`${dir}/root/usr/local/bin`, { recursive: true });
  for (const role of ["client", "setup"]) {
    await Deno.writeTextFile(`${dir}/dist/postern-${role}-${target}`, `new ${role}`);
    await Deno.writeTextFile(`${dir}/root/usr/local/bin/postern-${role}`, `old ${role}`);
  }
  await Deno.writeTextFile(`${dir}/dist/SHA256SUMS`, "no executable");
  const release = ["run", "-A", "scripts/release.ts"];
  const made = await run([...release, "--new-key", `${dir}/release.key`]);
  assert.equal(made.code, 0, made.stderr);
  const secret = (await Deno.readTextFile(`${dir}/release.key`)).trim();
  assert.ok(!made.stdout.includes(secret));
  const again = await run([...release, "--new-key", `${dir}/release.key`]);
  assert.deepEqual([again.code, /it exists/.test(again.stderr)], [1, true]);
  const options = ["--key", `${dir}/release.key`, "--dist", `${dir}/dist`, "--out", `${dir}/out`];
  const released = await run([...release, ...options, "--version", "9.0.0"]);
  assert.equal(released.code, 0, released.stderr);
  assert.match(released.stdout, /9\.0\.0 is signed for 90 days; .*latest leads to 9\.0\.0/);
}

Deno.test({
  name: "client update runs with exactly its permissions, and tells in JSON what it did",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("update-command");
    const dir = folder.path;
    await prepare(dir);
    const from = `file://${dir}/out`;
    const keyPath = `${dir}/release.key.pub`;
    const words = ["client", "update", "--from", from, "--key", keyPath, "--root", `${dir}/root`, "--json"];
    function flags(dryRun: boolean): string[] {
      return permissionFlags(
        permissionSet(updatePermissions({ from, keyPath, root: `${dir}/root`, dryRun })),
      );
    }

    const dry = await run(["run", "--no-prompt", ...flags(true), "main.ts", ...words, "--dry-run"]);
    assert.equal(dry.code, 0, dry.stderr);
    assert.equal(JSON.parse(dry.stdout).dry_run, true);
    assert.equal(await Deno.readTextFile(`${dir}/root/usr/local/bin/postern-client`), "old client");

    const { code, stdout, stderr } = await run(["run", "--no-prompt", ...flags(false), "main.ts", ...words]);
    assert.equal(code, 0, stderr);
    const report = JSON.parse(stdout);
    assert.equal(stdout.indexOf("\n"), stdout.length - 1);
    assert.deepEqual(
      report.replaced.map((
        each: Record<string, unknown>,
      ) => [each["role"], each["old_version"], each["size_bytes"]]),
      [["client", null, 10], ["setup", null, 9]],
    );
    assert.deepEqual(Object.keys(report), [
      "version",
      "from",
      "dry_run",
      "replaced",
      "unchanged",
      "restarted",
      "proven_before_swap",
      "proven_after_swap",
      "taken_back",
      "not_done",
    ]);
    assert.equal(await Deno.readTextFile(`${dir}/root/usr/local/bin/postern-client`), "new client");

    const same = await run(["run", "--no-prompt", ...flags(false), "main.ts", ...words.slice(0, -1)]);
    assert.equal(same.code, 0, same.stderr);
    assert.match(same.stdout, /^9\.0\.0 is installed already: client, setup$/m);
  },
});

Deno.test({
  name: "client update without any one of its permissions says which is missing, and changes nothing",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("update-command");
    const dir = folder.path;
    await prepare(dir);
    const from = `file://${dir}/out`;
    const keyPath = `${dir}/release.key.pub`;
    const root = `${dir}/root`;
    const grants = updatePermissions({ from, keyPath, root, dryRun: false });
    assert.ok(grants.length >= 6);
    for (const grant of grants) {
      const flags = permissionFlags(permissionSet(grants.filter((each) => each !== grant)));
      const words = ["client", "update", "--from", from, "--key", keyPath, "--root", root];
      const { code, stderr } = await run(["run", "--no-prompt", ...flags, "main.ts", ...words]);
      assert.equal(code, 1, `without ${grant.kind} ${grant.scope}`);
      assert.ok(stderr.includes(`--allow-${grant.kind}=${grant.scope}`), stderr);
      assert.equal(await Deno.readTextFile(`${root}/usr/local/bin/postern-client`), "old client");
    }
  },
});

Deno.test({
  name: "client update refuses wrong usage and a missing key before it looks at anything",
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("update-command");
    const { path: dir } = folder;
    await Deno.writeTextFile(`${dir}/not-a-key`, "hunter2");
    const update = ["run", "--no-prompt", "-A", "main.ts", "client", "update", "--root", dir];
    for (
      const [words, exitCode, pattern] of [
        [["--from", "http://releases.example"], 2, /cannot use option --from/],
        [["--from", "file:///x", "--version", "../1"], 2, /cannot use option --version/],
        [["--from", "file:///x", "--role", "relay"], 2, /--role/],
        [["--from", "file:///x"], 1, /no key of releases built in, and --key was not given/],
        [
          ["--from", "file:///x", "--key", `${dir}/not-a-key`],
          1,
          /could not use key file .*32 bytes in base64/,
        ],
        [["--from", "file:///x", "--key", `${dir}/no-such-file`], 1, /could not read key file/],
      ] as const
    ) {
      const { code, stderr } = await run([...update, ...words]);
      assert.equal(code, exitCode, stderr);
      assert.match(stderr, pattern);
      assert.doesNotMatch(stderr, /hunter2/);
    }
    assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name), ["not-a-key"]);
  },
});

Deno.test({
  name: "client update by somebody who may not write is refused before anything is fetched",
  timeout: 60_000,
  async fn(): Promise<void> {
    using copy = CopyForEverybody.make();
    await using folder = await TempFolder.make("update-command");
    const { path: dir } = folder;
    await Deno.mkdir(`${dir}/usr/local/bin`, { recursive: true, mode: 0o755 });
    await Deno.mkdir(`${dir}/var/lib`, { recursive: true, mode: 0o755 });
    await Deno.writeTextFile(`${dir}/usr/local/bin/postern-client`, "old", { mode: 0o755 });
    await Deno.writeTextFile(`${dir}/release.key.pub`, new Uint8Array(32).toBase64());
    await Deno.chmod(dir, 0o755);
    // Root may write everywhere, so it runs as somebody else; anybody else is refused where nobody may write.
    const isRoot = Deno.uid() === 0;
    for (const path of ["var/lib", "usr/local/bin"]) await Deno.chmod(`${dir}/${path}`, 0o555);
    const update = ["main.ts", "client", "update", "--from", "https://127.0.0.1:1", "--root", dir];
    const { code, stderr } = await new Deno.Command(copy.denoPath, {
      args: ["run", "-A", ...update, "--key", `${dir}/release.key.pub`],
      cwd: copy.repositoryFolder,
      clearEnv: true,
      env: { NO_COLOR: "1", PATH: "/usr/bin:/bin", DENO_DIR: copy.cacheFolder },
      ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}),
    }).output();
    for (const path of ["var/lib", "usr/local/bin"]) await Deno.chmod(`${dir}/${path}`, 0o755);
    const text = new TextDecoder().decode(stderr);
    assert.equal(code, 1, text);
    assert.match(text, /^error: could not write in .*postern-setup: /m);
    assert.match(text, /^hint: run it as root: sudo postern-setup update$/m);
  },
});
