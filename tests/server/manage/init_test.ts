import assert from "node:assert/strict";
import { formatPublicKey } from "../../../src/protocol/manage/signing_key.ts";
import { type DataFolder, isThere, openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { initServer } from "../../../src/server/manage/init.ts";
import { Registry } from "../../../src/server/manage/registry.ts";
import { loadServerIdentity } from "../../../src/server/manage/server_identity.ts";
import { Failure } from "../../../src/system/failure.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { placesIn } from "./registry_ground.ts";

const ADDRESSES = ["manage.example:7022"];
const programPath = new URL("./init_program.ts", import.meta.url).pathname;
const KILLS = 12;
const MAX_LIFE_MS = 60;

/** Whole: opens, and all of its parts fit each other. */
async function requireWhole(folder: DataFolder): Promise<void> {
  using registry = await Registry.open(await openDataFolder(folder.path));
  const { addresses } = await loadServerIdentity(folder, registry);
  assert.deepEqual(addresses, ADDRESSES);
  assert.deepEqual(registry.audit.rows({ limit: 9 }).map(({ event }) => event), ["init"]);
  assert.equal(registry.audit.verify().isSound, true);
}

Deno.test("initServer() refuses a folder that has a server, and changes nothing in it", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  await initServer({ folder: places.path, addresses: ADDRESSES });
  const before = await Deno.readFile(places.serverKey);
  await assert.rejects(initServer({ folder: places.path, addresses: ADDRESSES }), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /cannot make a server in .*: there is one already/);
    assert.match(error.hint ?? "", /postern server manage list --dir /);
    return true;
  });
  assert.deepEqual(await Deno.readFile(places.serverKey), before);
  await requireWhole(places);
});

Deno.test("initServer() refuses a folder with something else in it, and one that others may enter", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  await Deno.mkdir(places.path, { mode: 0o700 });
  await Deno.writeTextFile(`${places.path}/thesis.tex`, "");
  await assert.rejects(initServer({ folder: places.path, addresses: ADDRESSES }), /found "thesis.tex" there/);
  assert.deepEqual([...Deno.readDirSync(places.path)].length, 1);
  await Deno.remove(`${places.path}/thesis.tex`);
  await Deno.chmod(places.path, 0o755);
  await assert.rejects(initServer({ folder: places.path, addresses: ADDRESSES }), /found mode 0755/);
  assert.deepEqual([...Deno.readDirSync(places.path)].length, 0);
  await Deno.chmod(places.path, 0o700);
  await initServer({ folder: places.path, addresses: ADDRESSES });
  await requireWhole(places);
});

Deno.test("initServer() refuses addresses that nobody can dial", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  const wrong = [
    [],
    [""],
    ["host"],
    ["host:0"],
    ["*:7022"],
    ["10.0.0.0/8:22"],
    ["a:1", "b"],
    Array(17).fill("a:1"),
  ];
  for (const addresses of wrong) {
    await assert.rejects(initServer({ folder: places.path, addresses }), Failure, JSON.stringify(addresses));
  }
  assert.equal(await isThere(places.path), false);
});

Deno.test("initServer() goes on with the keys of a server whose registry is lost", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  const first = await initServer({ folder: places.path, addresses: ADDRESSES });
  assert.equal(first.keptKeys, false);
  const ca = await Deno.readTextFile(places.caCertificate);
  await Deno.remove(places.registry);
  await Deno.remove(places.tlsCertificate);
  await Deno.writeTextFile(places.policy, "# mine\n");
  await Deno.writeTextFile(places.newRegistry, "half", { mode: 0o600 });
  const second = await initServer({ folder: places.path, addresses: ADDRESSES });
  assert.equal(second.keptKeys, true);
  assert.equal(formatPublicKey(second.serverKey), formatPublicKey(first.serverKey));
  assert.equal(await Deno.readTextFile(places.caCertificate), ca);
  assert.equal(await Deno.readTextFile(places.policy), "# mine\n");
  await requireWhole(places);
});

Deno.test("initServer() refuses an authority of which a part is lost or another one's", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  await initServer({ folder: places.path, addresses: ADDRESSES });
  await Deno.remove(places.registry);
  const ca = await Deno.readTextFile(places.caCertificate), key = await Deno.readTextFile(places.caKey);
  await Deno.remove(places.caKey);
  await assert.rejects(
    initServer({ folder: places.path, addresses: ADDRESSES }),
    /found ca.pem without its ca.key/,
  );
  await Deno.writeTextFile(places.caKey, "rubbish\n", { mode: 0o600 });
  await assert.rejects(
    initServer({ folder: places.path, addresses: ADDRESSES }),
    /could not use a private key/,
  );
  await using elsewhere = await TempFolder.make("init");
  const other = placesIn(elsewhere);
  await initServer({ folder: other.path, addresses: ADDRESSES });
  await Deno.copyFile(other.caKey, places.caKey);
  await assert.rejects(initServer({ folder: places.path, addresses: ADDRESSES }), /ca.pem: it does not fit/);
  await Deno.writeTextFile(places.caKey, key, { mode: 0o600 });
  // A key alone, of an init that was killed behind it: certified once more.
  await Deno.remove(places.caCertificate);
  await initServer({ folder: places.path, addresses: ADDRESSES });
  assert.notEqual(await Deno.readTextFile(places.caCertificate), ca);
  await requireWhole(places);
});

Deno.test("initServer() twice at once makes one server", async () => {
  await using temporary = await TempFolder.make("init");
  const places = placesIn(temporary);
  const init = (): Promise<unknown> => initServer({ folder: places.path, addresses: ADDRESSES });
  const results = await Promise.allSettled([init(), init(), init()]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ["fulfilled", "rejected", "rejected"]);
  await requireWhole(places);
});

Deno.test(
  `initServer() killed ${KILLS} times leaves nothing that passes for a server, and goes on where it was`,
  { timeout: 60_000 },
  async () => {
    let cut = 0;
    for (let round = 0; round < KILLS; round++) {
      await using temporary = await TempFolder.make("init");
      const places = placesIn(temporary);
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--quiet", "--cached-only", programPath, places.path],
        stdin: "null",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const output = child.stdout.getReader();
      await output.read();
      await new Promise((resolve) => setTimeout(resolve, round / KILLS * MAX_LIFE_MS));
      try {
        child.kill("SIGKILL");
      } catch (error) {
        assert.ok(error instanceof TypeError, "it was done already");
      }
      await child.status;
      while (!(await output.read()).done);
      if (!await isThere(places.registry)) {
        cut++;
        await assert.rejects(openDataFolder(places.path), Failure);
        await initServer({ folder: places.path, addresses: ADDRESSES });
      }
      await requireWhole(places);
      const leftovers = [...Deno.readDirSync(places.path)].map(({ name }) => name).filter((name) =>
        name.startsWith("registry.new")
      );
      assert.deepEqual(leftovers, []);
    }
    assert.ok(cut > 0, "no init was cut short");
  },
);
