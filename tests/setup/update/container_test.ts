/** Updates of services that a real systemd runs, by the executables as they are built, on a Debian without Deno. */
import assert from "node:assert/strict";
import { makeRelease } from "../../../scripts/release_folder.ts";
import { makeReleaseKey, readReleaseKey } from "../../../scripts/release_key.ts";
import { hashFile } from "../../../src/setup/update/digest.ts";
import { unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { buildObstacle, compile } from "../../ship/built_files.ts";
import { Container, containerObstacle, makeDebian, type Output } from "../container.ts";
import config from "../../../deno.json" with { type: "json" };

const MS_PER_DAY = 24 * 60 * 60 * 1000;
const UNITS = ["postern-commander.service", "postern-server.service"];
const SERVICE_ROLES = ["server", "commander"] as const;
/** Takes any configuration, and does not serve: what only the restarted services show. */
const BROKEN_SERVER =
  '#!/bin/sh\ncase "$*" in *--check*) exit 0 ;; esac\necho "error: no such library" >&2\nexit 3\n';

async function release(dir: string, root: string, version: string): Promise<void> {
  await makeRelease({
    distDir: `${dir}/dist`,
    outDir: `${root}/srv/releases`,
    version,
    createdMs: Date.now(),
    expiresMs: Date.now() + MS_PER_DAY,
    key: await readReleaseKey(`${dir}/release.key`),
  });
}

Deno.test({
  ...unless(
    buildObstacle() ?? await containerObstacle(),
    "client update restarts real services and proves a knock on them, or gives them the old executables back",
  ),
  timeout: 300_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("update-container");
    const { path: dir } = folder;
    const root = `${dir}/root`;
    await makeReleaseKey(`${dir}/release.key`);
    const [built] = await Promise.all([
      compile([
        "--format",
        "self-extracting",
        "--quick",
        "--out",
        `${dir}/dist`,
        "--release-key",
        `${dir}/release.key.pub`,
      ]),
      makeDebian(root),
    ]);
    assert.equal(built.code, 0, built.stderr);
    const dropped = `${root}/root/postern-setup`;
    await Deno.copyFile(`${dir}/dist/postern-setup-${Deno.build.target}`, dropped);
    await Deno.chmod(dropped, 0o700);
    await using container = await Container.boot(root);
    const setup = await container.run("/root/postern-setup", "setup", "--ips", "198.18.7.1", "--no-qr");
    assert.equal(setup.code, 0, setup.stderr);
    const pids = (): Promise<string> => container.must("systemctl", "show", "--property=MainPID", ...UNITS);
    const update = (...words: string[]): Promise<Output> =>
      container.run(
        "/usr/local/bin/postern-setup",
        "update",
        "--from",
        "file:///srv/releases",
        "--json",
        ...words,
      );
    async function hashes(): Promise<string[]> {
      return await Promise.all(
        SERVICE_ROLES.map(async (role) => (await hashFile(`${root}/usr/local/bin/postern-${role}`)).sha256),
      );
    }

    // The same version with one byte more stands for an executable that was damaged.
    const good = await hashes();
    for (const role of SERVICE_ROLES) {
      await Deno.writeTextFile(`${root}/usr/local/bin/postern-${role}`, "\n", { append: true });
    }
    await release(dir, root, config.version);
    const before = await pids();
    const repaired = await update();
    assert.equal(repaired.code, 0, repaired.stderr);
    const report = JSON.parse(repaired.stdout);
    assert.deepEqual(report.replaced.map((each: Record<string, unknown>) => each["role"]), SERVICE_ROLES);
    assert.deepEqual(report.restarted, UNITS);
    assert.deepEqual([report.proven_before_swap, report.proven_after_swap, report.not_done], [
      true,
      true,
      [],
    ]);
    assert.deepEqual(await hashes(), good);
    const after = await pids();
    assert.notEqual(after, before);

    await Deno.writeTextFile(`${dir}/dist/postern-server-${Deno.build.target}`, BROKEN_SERVER);
    await release(dir, root, "99.0.0");
    const broken = await update();
    assert.equal(broken.code, 1, broken.stdout);
    const { error } = JSON.parse(broken.stdout);
    assert.match(
      error,
      /could not update to 99\.0\.0: .*; the old executables are in place again, and the services run/,
    );
    assert.deepEqual(await hashes(), good);
    assert.notEqual(await pids(), after);
    assert.doesNotMatch(await pids(), /MainPID=0/);

    // Nothing is left of it, and the services are whole: setup's last step is a knock that must run a command.
    assert.equal(
      await container.must("find", "/usr/local/bin", "/var/lib/postern-setup", "-name", ".postern*"),
      "",
    );
    const again = await container.run("/usr/local/bin/postern-setup", "setup");
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /proven/);
  },
});
