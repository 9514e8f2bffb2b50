/** sysusers.d, tmpfiles.d and sysctl.d, read by the real programs into a root folder of their own. */
import assert from "node:assert/strict";
import sysctl from "../../deploy/sysctl.d/60-postern.conf" with { type: "text" };
import sysusers from "../../deploy/sysusers.d/postern.conf" with { type: "text" };
import manageSysusers from "../../deploy/sysusers.d/postern-manage.conf" with { type: "text" };
import tmpfiles from "../../deploy/tmpfiles.d/postern.conf" with { type: "text" };
import manageTmpfiles from "../../deploy/tmpfiles.d/postern-manage.conf" with { type: "text" };
import { type Ended, missing, missingForRoot, runProgram, scratchFolder } from "./programs.ts";

const SILENCE: Ended = { code: 0, stdout: "", stderr: "" };
/** Path, mode, and whose: setup, doctor and units rely on the same. */
const FOLDERS: readonly [string, number, "root" | "postern"][] = [
  ["/etc/postern", 0o755, "root"],
  ["/run/postern", 0o755, "root"],
  ["/var/lib/postern", 0o700, "postern"],
  ["/var/lib/postern-commander", 0o700, "root"],
  ["/var/cache/postern", 0o755, "root"],
];

/** A root folder with our two files in it. */
async function newRoot(root: string): Promise<void> {
  await Deno.mkdir(`${root}/etc/sysusers.d`, { recursive: true });
  await Deno.mkdir(`${root}/etc/tmpfiles.d`, { recursive: true });
  await Deno.writeTextFile(`${root}/etc/sysusers.d/postern.conf`, sysusers);
  await Deno.writeTextFile(`${root}/etc/tmpfiles.d/postern.conf`, tmpfiles);
}

function makeUser(root: string): Promise<Ended> {
  return runProgram("systemd-sysusers", [`--root=${root}`, "postern.conf"]);
}

function makeFolders(root: string): Promise<Ended> {
  return runProgram("systemd-tmpfiles", [`--root=${root}`, "--create", "postern.conf"]);
}

/** The line of an account file, in its fields. */
async function account(path: string): Promise<string[]> {
  const line = (await Deno.readTextFile(path)).split("\n").find((each) => each.startsWith("postern:"));
  assert(line !== undefined, `no postern in ${path}`);
  return line.split(":");
}

const noSysusers = missingForRoot("systemd-sysusers");
const noTmpfiles = missingForRoot("systemd-sysusers", "systemd-tmpfiles");
const noSysctl = missing("sysctl");

Deno.test({
  name: `systemd-sysusers makes a user that cannot log in, with a group of its own, and once${noSysusers}`,
  ignore: noSysusers !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    await newRoot(folder.path);
    const made = await makeUser(folder.path);
    assert.equal(made.code, 0, made.stderr);
    const [, , uid, gid, , home, shell] = await account(`${folder.path}/etc/passwd`);
    assert(Number(uid) > 0 && Number(uid) < 1000, String(uid));
    assert.equal(home, "/nonexistent");
    assert.equal(shell, "/usr/sbin/nologin");
    assert.equal((await account(`${folder.path}/etc/group`))[2], gid);
    assert.deepEqual(await makeUser(folder.path), SILENCE);
  },
});

Deno.test({
  name: `systemd-tmpfiles makes every folder of the layout, and mends it${noTmpfiles}`,
  ignore: noTmpfiles !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const root = folder.path;
    await newRoot(root);
    await makeUser(root);
    const uid = Number((await account(`${root}/etc/passwd`))[2]);
    assert.deepEqual(await makeFolders(root), SILENCE);
    await assertFolders(root, uid);
    for (const [path] of FOLDERS) {
      await Deno.chmod(root + path, 0o777);
      await Deno.chown(root + path, 12345, 12345);
    }
    assert.deepEqual(await makeFolders(root), SILENCE);
    await assertFolders(root, uid);
  },
});

async function assertFolders(root: string, posternUid: number): Promise<void> {
  for (const [path, mode, owner] of FOLDERS) {
    const info = await Deno.stat(root + path);
    const found = { path, mode: (info.mode ?? 0) & 0o7777, uid: info.uid };
    assert.deepEqual(found, { path, mode, uid: owner === "root" ? 0 : posternUid });
  }
}

Deno.test({
  name:
    `the management server's files give it a user of its own, and a folder that nobody else reads${noTmpfiles}`,
  ignore: noTmpfiles !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const root = folder.path;
    await newRoot(root);
    await Deno.writeTextFile(`${root}/etc/sysusers.d/postern-manage.conf`, manageSysusers);
    await Deno.writeTextFile(`${root}/etc/tmpfiles.d/postern-manage.conf`, manageTmpfiles);
    const made = await runProgram("systemd-sysusers", [`--root=${root}`, "postern-manage.conf"]);
    assert.equal(made.code, 0, made.stderr);
    const [line = ""] = (await Deno.readTextFile(`${root}/etc/passwd`)).split("\n").filter((each) =>
      each.startsWith("postern-manage:")
    );
    const [, , uid, , , home, shell] = line.split(":");
    assert.deepEqual([home, shell], ["/nonexistent", "/usr/sbin/nologin"]);
    const folders = await runProgram("systemd-tmpfiles", [
      `--root=${root}`,
      "--create",
      "postern-manage.conf",
    ]);
    assert.deepEqual(folders, SILENCE);
    const info = await Deno.stat(`${root}/var/lib/postern-manage`);
    assert.deepEqual([(info.mode ?? 0) & 0o7777, info.uid], [0o700, Number(uid)]);
  },
});

Deno.test("the tmpfiles.d of the layout cleans nothing by age", () => {
  const lines = tmpfiles.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assert.deepEqual(lines.map((line) => line.split(/\s+/)[1]), FOLDERS.map(([path]) => path));
  for (const line of lines) assert.match(line, /^d .* -$/);
});

Deno.test({
  name: `sysctl reads one setting: room for some thousand knocks${noSysctl}`,
  ignore: noSysctl !== "",
  async fn(): Promise<void> {
    await using folder = await scratchFolder();
    const path = `${folder.path}/60-postern.conf`;
    await Deno.writeTextFile(path, sysctl);
    const { stdout, stderr } = await runProgram("sysctl", ["--dry-run", "-p", path]);
    assert.deepEqual([stdout, stderr], ["net.core.rmem_default = 8388608\n", ""]);
  },
});
