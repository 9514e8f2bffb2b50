import assert from "node:assert/strict";
import { latestVersion, makeRelease } from "../../../scripts/release_folder.ts";
import { makeReleaseKey, readReleaseKey } from "../../../scripts/release_key.ts";
import { formatManifest, parseManifest } from "../../../src/setup/update/release_manifest.ts";
import { verifyRelease } from "../../../src/setup/update/release_signature.ts";
import { Failure } from "../../../src/system/failure.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { succeeds, unless } from "../../e2e/machine.ts";
import { makeKeyPair, NOW_MS, TARGET, UpdateLab } from "./update_lab.ts";

Deno.test("makeRelease() writes the same signed manifest for the version and for latest", async () => {
  await using lab = await UpdateLab.make([]);
  const manifest = await lab.release("2.0.0-rc.1");
  for (const dir of ["2.0.0-rc.1", "latest"]) {
    const bytes = await Deno.readFile(`${lab.releasesDir}/${dir}/manifest.json`);
    assert.deepEqual(bytes, formatManifest(manifest));
    const signature = await Deno.readFile(`${lab.releasesDir}/${dir}/manifest.json.sig`);
    await verifyRelease(bytes, signature, lab.keys.publicKey);
    await assert.rejects(verifyRelease(bytes, signature, (await makeKeyPair()).publicKey), Failure);
  }
  const names = [...Deno.readDirSync(`${lab.releasesDir}/2.0.0-rc.1`)].map(({ name }) => name).sort();
  assert.deepEqual(names, ["manifest.json", "manifest.json.sig", ...manifest.files.map(({ name }) => name)]);
});

Deno.test("makeRelease() renews the expiry of a release, and never changes its files", async () => {
  await using lab = await UpdateLab.make([]);
  await lab.release("2.0.0", { expiresMs: NOW_MS + 1 });
  const renewed = await lab.release("2.0.0", { expiresMs: NOW_MS + 2 });
  assert.equal(renewed.expires, new Date(NOW_MS + 2).toISOString());
  const path = `${lab.releasesDir}/2.0.0/postern-client-${TARGET}`;
  await Deno.writeTextFile(path, "what somebody downloads");
  await assert.rejects(lab.release("2.0.0"), /was released already, with another content/);
  assert.equal(await Deno.readTextFile(path), "what somebody downloads");
});

Deno.test("makeRelease() does not lead `latest` back to an older version", async () => {
  await using lab = await UpdateLab.make([]);
  await lab.release("2.0.0");
  await lab.release("1.9.1");
  assert.equal(await latestVersion(lab.releasesDir), "2.0.0");
  const repaired = await Deno.readFile(`${lab.releasesDir}/1.9.1/manifest.json`);
  assert.equal(parseManifest(repaired).version, "1.9.1");
  await lab.release("2.0.1");
  assert.equal(await latestVersion(lab.releasesDir), "2.0.1");
});

Deno.test("makeRelease() refuses a folder without executables and a version that is none", async () => {
  await using folder = await TempFolder.make("release");
  const { privateKey: key } = await makeKeyPair();
  const input = { distDir: folder.path, outDir: `${folder.path}/out`, createdMs: 0, expiresMs: 1, key };
  await Deno.writeTextFile(`${folder.path}/postern.js`, "");
  await assert.rejects(makeRelease({ ...input, version: "1.0.0" }), /found no postern-<role>-<target>/);
  await assert.rejects(
    makeRelease({ ...input, version: "../1" }),
    /could not release "\.\.\/1", accepted is/,
  );
  assert.deepEqual([...Deno.readDirSync(folder.path)].map(({ name }) => name), ["postern.js"]);
});

Deno.test("readReleaseKey() refuses a key that others may read, and shows nothing of one it cannot use", async () => {
  await using folder = await TempFolder.make("release");
  const path = `${folder.path}/release.key`;
  await makeReleaseKey(path);
  await readReleaseKey(path);
  await Deno.chmod(path, 0o640);
  await assert.rejects(readReleaseKey(path), /others may read it/);
  await Deno.writeTextFile(path, "hunter2");
  await Deno.chmod(path, 0o600);
  await assert.rejects(readReleaseKey(path), (error) => {
    assert.ok(error instanceof Failure);
    assert.doesNotMatch(`${error.message} ${error.cause}`, /hunter2/);
    return true;
  });
});

Deno.test({
  ...unless(
    await succeeds("openssl", ["pkeyutl", "-help"]) ? null : "openssl is not installed",
    "the signature of a release verifies by hand, as docs/wire-formats.md shows it",
  ),
  async fn(): Promise<void> {
    await using lab = await UpdateLab.make([]);
    await lab.release();
    const dir = `${lab.releasesDir}/latest`;
    await Deno.writeTextFile(`${dir}/release.key.pub`, `${lab.keys.publicKey.toBase64()}\n`);
    const page = await Deno.readTextFile(new URL("../../../docs/wire-formats.md", import.meta.url));
    const [, lines] = /By hand, with OpenSSL 3:\n\n```sh\n([^]*?)```/.exec(page) ?? [];
    assert.ok(lines);
    async function verify(): Promise<boolean> {
      const { success } = await new Deno.Command("bash", { args: ["-ec", lines ?? ""], cwd: dir }).output();
      return success;
    }
    assert.equal(await verify(), true);
    await Deno.writeTextFile(`${dir}/manifest.json`, " ", { append: true });
    assert.equal(await verify(), false);
  },
});
