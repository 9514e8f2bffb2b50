import assert from "node:assert/strict";
import { makeReleaseKey, readReleaseKey } from "../../../scripts/release_key.ts";
import { hashFile } from "../../../src/setup/update/digest.ts";
import { parseReleaseKey } from "../../../src/setup/update/release_signature.ts";
import { recoverUnderLock } from "../../../src/setup/update/recover.ts";
import { acquireLock } from "../../../src/system/lock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { allAt, NEW_VERSION, NOW_MS, OLD_VERSION, script, TARGET, UpdateLab } from "./update_lab.ts";

const FAR_MS = NOW_MS + 1_000_000_000;

/** That it fails so, and that nothing was changed. */
async function refuses(
  lab: UpdateLab,
  pattern: RegExp,
  changes: Parameters<UpdateLab["update"]>[0] = {},
): Promise<void> {
  const before = await lab.installed();
  await assert.rejects(lab.update(changes), (error) => {
    assert.ok(error instanceof Failure, String(error));
    assert.match(error.message, pattern);
    assert.match(error.message, /nothing was changed$/);
    return true;
  });
  assert.deepEqual(await lab.installed(), before);
  assert.equal(lab.services.restarts, 0);
}

async function editManifest(lab: UpdateLab, edit: (text: string) => string, dir = "latest"): Promise<void> {
  const path = `${lab.releasesDir}/${dir}/manifest.json`;
  const text = await Deno.readTextFile(path);
  const edited = edit(text);
  assert.notEqual(edited, text);
  await Deno.writeTextFile(path, edited);
}

Deno.test("keys made, release made, update done: the installed files are those of the release", async () => {
  await using lab = await UpdateLab.make();
  const keyPath = `${lab.dir}/release.key`;
  const publicText = await makeReleaseKey(keyPath);
  assert.equal(((await Deno.stat(keyPath)).mode ?? 0) & 0o777, 0o600);
  const manifest = await lab.release(NEW_VERSION, { key: await readReleaseKey(keyPath) });
  const publicKey = parseReleaseKey(await Deno.readTextFile(`${keyPath}.pub`), "key");
  assert.equal(publicKey.toBase64(), publicText);

  const report = await lab.update({ publicKey });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
  for (const { role, sha256, target } of manifest.files) {
    assert.equal(target, TARGET);
    assert.equal((await hashFile(`${lab.layout.binDir}/postern-${role}`)).sha256, sha256);
    assert.equal(((await Deno.stat(`${lab.layout.binDir}/postern-${role}`)).mode ?? 0) & 0o777, 0o755);
  }
  assert.deepEqual(report.replaced.map(({ role, oldVersion }) => [role, oldVersion]), [
    ["client", OLD_VERSION],
    ["server", OLD_VERSION],
    ["commander", OLD_VERSION],
    ["setup", OLD_VERSION],
  ]);
  assert.equal(report.provenBefore && report.provenAfter, true);
  assert.deepEqual(report.restarted, ["postern-commander.service", "postern-server.service"]);
  assert.equal(lab.services.runs.get("postern-server.service"), script("server", NEW_VERSION));
  assert.deepEqual(report.notDone, []);
  // Tried where they waited, not where the running ones lie.
  assert.match(lab.tried[0]?.serverPath ?? "", /\/\.postern-update\/postern-server$/);
});

Deno.test("update() installs nothing twice, and repairs a file that is not the release's", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await lab.update();
  const { restarts } = lab.services;
  const again = await lab.update();
  assert.deepEqual(again.replaced, []);
  assert.equal(again.unchanged.length, 4);
  assert.equal(lab.services.restarts, restarts);

  await Deno.writeTextFile(lab.path("client"), script("client", NEW_VERSION) + "# damaged\n");
  const repaired = await lab.update();
  assert.deepEqual(repaired.replaced.map(({ role }) => role), ["client"]);
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
  // A client is no service: nothing to restart or to prove.
  assert.equal(lab.services.restarts, restarts + 1);
  assert.deepEqual(repaired.restarted, []);
});

Deno.test("update() replaces only what is installed, and installs what is named", async () => {
  await using lab = await UpdateLab.make(["client"]);
  await lab.release();
  await lab.update();
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION, ["client"]));
  await lab.update({ role: "setup" });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION, ["client", "setup"]));
  assert.deepEqual(lab.tried, []);
});

Deno.test("update() in a dry run tells what it would replace and changes nothing", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  // Without the executables: it must not read them.
  for (const role of ["client", "server", "commander", "setup"]) {
    await Deno.remove(`${lab.releasesDir}/${NEW_VERSION}/postern-${role}-${TARGET}`);
  }
  const report = await lab.update({ dryRun: true });
  assert.equal(report.replaced.length, 4);
  assert.equal(report.dryRun, true);
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
  await assert.rejects(Deno.stat(lab.layout.stateDir), Deno.errors.NotFound);
});

Deno.test("update() in a dry run verifies the signature all the same", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await editManifest(lab, (text) => text.replace(NEW_VERSION, "1.1.1"));
  await assert.rejects(lab.update({ dryRun: true }), /the signature of the manifest is not that/);
});

Deno.test("update() refuses a manifest that was changed after it was signed", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await editManifest(lab, (text) => text.replace(/"size": \d+/, '"size": 7'));
  await refuses(lab, /the signature of the manifest is not that/);
  await refuses(lab, /the signature of the manifest is not that/, { force: true });
});

Deno.test("update() refuses white space that was added to a signed manifest", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await editManifest(lab, (text) => `${text} `);
  await refuses(lab, /the signature of the manifest is not that/);
});

Deno.test("update() refuses the signature of another key, and one that is none", async () => {
  await using lab = await UpdateLab.make();
  await using other = await UpdateLab.make();
  await lab.release(NEW_VERSION, { key: other.keys.privateKey });
  await refuses(lab, /the signature of the manifest is not that/, { force: true });
  const path = `${lab.releasesDir}/latest/manifest.json.sig`;
  for (
    const text of ["", "AAAA", "A".repeat(87) + "=", "A".repeat(88), (await Deno.readTextFile(path)).slice(4)]
  ) {
    await Deno.writeTextFile(path, text);
    await refuses(lab, /manifest\.json\.sig is no signature/, { force: true });
  }
  // Two spellings of the same bytes would be two signatures.
  await lab.release();
  const good = await Deno.readTextFile(path);
  const last = good.charAt(85);
  const neighbour = String.fromCharCode(last.charCodeAt(0) + 1);
  assert.match(last, /[AQgw]/);
  await Deno.writeTextFile(path, good.slice(0, 85) + neighbour + good.slice(86));
  await refuses(lab, /manifest\.json\.sig is no signature/);
});

Deno.test("update() refuses a signature under the right key that was made for something else", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  const dir = `${lab.releasesDir}/latest`;
  const bytes = await Deno.readFile(`${dir}/manifest.json`);
  const bare = new Uint8Array(await crypto.subtle.sign("Ed25519", lab.keys.privateKey, bytes));
  await Deno.writeTextFile(`${dir}/manifest.json.sig`, bare.toBase64());
  await refuses(lab, /the signature of the manifest is not that/);
});

Deno.test("update() refuses a release that has expired, or is from the future, also by force", async () => {
  await using lab = await UpdateLab.make();
  await lab.release(NEW_VERSION, { expiresMs: NOW_MS });
  await refuses(lab, /the release 1\.1\.0 expired at 2030-01-01T00:00:00\.000Z/, { force: true });
  await lab.release(NEW_VERSION, { createdMs: NOW_MS + 2 * 60 * 60 * 1000, expiresMs: FAR_MS });
  await refuses(lab, /the release was made at .*, and it is .* now/, { force: true });
});

Deno.test("update() refuses an older release, as it is held back or named, unless forced", async () => {
  await using lab = await UpdateLab.make();
  await lab.release("0.9.0");
  await lab.release(NEW_VERSION);
  await lab.update();
  // Whoever serves the releases replays the old latest, with its good signature.
  for (const name of ["manifest.json", "manifest.json.sig"]) {
    await Deno.copyFile(`${lab.releasesDir}/0.9.0/${name}`, `${lab.releasesDir}/latest/${name}`);
  }
  const { restarts } = lab.services;
  lab.services.restarts = 0;
  await refuses(lab, /the release is 0\.9\.0, and the client is 1\.1\.0: an older version is not installed/);
  await refuses(lab, /the release is 0\.9\.0/, { version: "0.9.0" });
  const report = await lab.update({ version: "0.9.0", force: true });
  assert.equal(report.version, "0.9.0");
  assert.deepEqual(await lab.installed(), allAt("0.9.0"));
  assert.equal(restarts, 1);
});

Deno.test("update() takes an executable that does not tell its version for as new as this program", async () => {
  await using lab = await UpdateLab.make();
  await Deno.writeTextFile(lab.path("client"), "#!/bin/sh\nexit 1\n");
  await lab.release("0.9.0");
  await refuses(lab, /the release is 0\.9\.0, and this program is 1\.0\.0/, { role: "client" });
  await lab.release(NEW_VERSION);
  await lab.update();
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("update() refuses the manifest of another version than was asked for", async () => {
  await using lab = await UpdateLab.make();
  await lab.release("1.2.0");
  await lab.release(NEW_VERSION);
  for (const name of ["manifest.json", "manifest.json.sig"]) {
    await Deno.copyFile(`${lab.releasesDir}/${NEW_VERSION}/${name}`, `${lab.releasesDir}/1.2.0/${name}`);
  }
  await refuses(lab, /asked for the release 1\.2\.0, and the manifest there is that of 1\.1\.0/, {
    version: "1.2.0",
  });
});

Deno.test("update() refuses a file that is missing, cut off, longer, or another one", async () => {
  await using lab = await UpdateLab.make();
  await lab.release("1.0.9");
  await lab.release();
  const dir = `${lab.releasesDir}/${NEW_VERSION}`;
  // The last one: all before it are good by then, and still none is put in place.
  const path = `${dir}/postern-setup-${TARGET}`;
  const good = await Deno.readTextFile(path);
  await Deno.remove(path);
  await refuses(lab, /could not read .*postern-setup-/);
  const flipped = good.replace("setup", "setuq");
  const fromOtherRelease = await Deno.readTextFile(`${lab.releasesDir}/1.0.9/postern-setup-${TARGET}`);
  const ofOtherRole = (await Deno.readTextFile(`${dir}/postern-client-${TARGET}`)).slice(0, good.length);
  for (
    const [content, pattern] of [
      [good.slice(0, -1), /ended after \d+ bytes, the manifest has \d+/],
      ["", /ended after 0 bytes/],
      [good + "x", /is longer than the \d+ bytes of the manifest/],
      [flipped, /its SHA-256 is another/],
      [fromOtherRelease, /its SHA-256 is another/],
      [ofOtherRole, /is longer than|ended after|its SHA-256 is another/],
    ] as const
  ) {
    await Deno.writeTextFile(path, content);
    await refuses(lab, pattern, { force: true });
  }
  await Deno.remove(path);
  await new Deno.Command("mkfifo", { args: [path] }).output();
  await refuses(lab, /it is no regular file/);
});

Deno.test("update() refuses a release without a file for an installed role or for this machine", async () => {
  await using lab = await UpdateLab.make();
  await lab.release(NEW_VERSION, { roles: ["client", "server", "setup"] });
  await refuses(lab, /the release 1\.1\.0 has no postern-commander-x86_64-unknown-linux-gnu/);
  const before = await lab.installed();
  await assert.rejects(
    lab.update({}, { ...lab.machine(), target: "aarch64-apple-darwin" }),
    /has no postern-client-aarch64-apple-darwin, it has that role for x86_64-unknown-linux-gnu; nothing was/,
  );
  assert.deepEqual(await lab.installed(), before);
});

Deno.test("update() refuses before anything is fetched what it could not prove", async () => {
  await using lab = await UpdateLab.make();
  await Deno.remove(lab.layout.checkKeyPath);
  // No release is there: a failure to read it would be another one.
  await refuses(lab, /could not prove a knock after the update: the key that proves knocks is missing/);
  await lab.release();
  const report = await lab.update({ skipProof: true });
  assert.deepEqual(report.notDone, ["prove a knock: --skip-proof was given"]);
  assert.deepEqual([lab.tried.length, lab.proofsAfter, lab.services.restarts], [0, 0, 1]);
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("update() leaves everything as it is if the new ones do not carry a knock beside the running ones", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  lab.proveBeside = () =>
    Promise.reject(new Failure("the server refused a packet: decrypt", { hint: "look there" }));
  await refuses(lab, /the server refused a packet: decrypt/);
  assert.equal(lab.proofsAfter, 0);
});

Deno.test("update() goes back to the old executables if the proof after the swap fails", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  lab.proveInstalled = () =>
    Promise.reject(new Failure("no server runs", { hint: "postern-setup server doctor" }));
  await assert.rejects(lab.update(), (error) => {
    assert.ok(error instanceof Failure);
    assert.equal(
      error.message,
      "could not update to 1.1.0: no server runs; the old executables are in place again, and the services run them again",
    );
    assert.equal(error.hint, "postern-setup server doctor");
    return true;
  });
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
  assert.equal(lab.services.restarts, 2);
  for (const role of ["server", "commander"] as const) {
    assert.equal(lab.services.runs.get(`postern-${role}.service`), script(role, OLD_VERSION));
  }
});

Deno.test("update() goes back if a service does not start, and says if it does not start again either", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  lab.services.failures = 1;
  await assert.rejects(lab.update(), /did not start.*in place again, and the services run them again$/);
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
  lab.services.failures = 2;
  await assert.rejects(lab.update(), /in place again, but the services do not run: /);
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
  await lab.update();
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("update() restarts no service that did not run, and says that nothing was proven there", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  lab.services.runs.delete("postern-server.service");
  const report = await lab.update();
  assert.deepEqual(report.restarted, ["postern-commander.service"]);
  assert.deepEqual(report.notDone, ["prove a knock on the services: they are not running"]);
  assert.deepEqual([report.provenBefore, report.provenAfter], [true, false]);
});

Deno.test("update() below another root swaps, and neither starts nor proves anything", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  const layout = { ...lab.layout, isRunningSystem: false };
  const { update } = await import("../../../src/setup/update/update.ts");
  const report = await update(lab.options(), layout, {
    ...lab.machine(),
    services: { running: () => Promise.resolve([]), restart: () => Promise.resolve() },
  });
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
  assert.deepEqual(report.notDone, ["restart and prove: this is not the running system"]);
  assert.deepEqual([lab.tried.length, lab.proofsAfter, lab.services.restarts], [0, 0, 0]);
});

Deno.test("update() runs once at a time", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  const reached = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  lab.proveBeside = async () => {
    reached.resolve();
    await gate.promise;
    return [];
  };
  const first = lab.update();
  await reached.promise;
  await assert.rejects(lab.update(), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /could not lock .*another process holds it/);
    assert.match(error.hint ?? "", /another setup or update is at work/);
    return true;
  });
  gate.resolve();
  await first;
  assert.deepEqual(await lab.installed(), allAt(NEW_VERSION));
});

Deno.test("update() refuses a link, and a file that others may write, in the place of an executable", async () => {
  await using lab = await UpdateLab.make();
  await lab.release();
  await Deno.chmod(lab.path("client"), 0o777);
  await refuses(lab, /could not trust .*postern-client: found mode 0777/);
  await Deno.rename(lab.path("client"), `${lab.dir}/elsewhere`);
  await Deno.symlink(`${lab.dir}/elsewhere`, lab.path("client"));
  await refuses(lab, /could not replace .*postern-client: found a link, accepted is a file/);
});

Deno.test("update() says what to do where there is nothing to update", async () => {
  await using lab = await UpdateLab.make([]);
  await lab.release();
  await refuses(lab, /found no postern executable in /);
});

Deno.test("recoverUnderLock() removes what an update that changed nothing has left", async () => {
  await using lab = await UpdateLab.make();
  await Deno.mkdir(`${lab.layout.binDir}/.postern-update`);
  await Deno.writeTextFile(`${lab.layout.binDir}/.postern-update/postern-server`, "half");
  await Deno.link(lab.path("server"), `${lab.layout.binDir}/.postern-server.old`);
  const { disk, services } = lab.machine();
  assert.equal(await recoverUnderLock(lab.layout, disk, services), null);
  assert.deepEqual(await lab.installed(), allAt(OLD_VERSION));
});

Deno.test("update() does not wait for a setup that is at work", async () => {
  await using lab = await UpdateLab.make();
  await Deno.mkdir(lab.layout.stateDir);
  using _lock = await acquireLock(lab.layout.lockPath, { timeoutMs: 0 });
  await assert.rejects(lab.update(), /could not lock/);
});
