import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type DataFolder, openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { Registry } from "../../../src/server/manage/registry.ts";
import { loadServerIdentity, readAddresses } from "../../../src/server/manage/server_identity.ts";
import { Failure } from "../../../src/system/failure.ts";
import { succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { placesIn, RegistryGround } from "./registry_ground.ts";

const initProgramPath = new URL("./init_program.ts", import.meta.url).pathname;
const root = Deno.uid() === 0 ? null : "needs root";
const STRANGER = 65_534;

async function modesIn(folder: DataFolder): Promise<Map<string, number>> {
  const modes = new Map<string, number>();
  for await (const { name } of Deno.readDir(folder.path)) {
    modes.set(name, ((await Deno.stat(`${folder.path}/${name}`)).mode ?? 0) & 0o7777);
  }
  return modes;
}

Deno.test("initServer() makes a folder of 0700 with files of 0600, whatever the umask", async () => {
  await using temporary = await TempFolder.make("folder");
  const folder = placesIn(temporary);
  // In a process of its own: the umask is one for all tests of this one.
  const line = ['umask 0 && exec "$0" "$@"', Deno.execPath(), "run", "-A", "--quiet", "--cached-only"];
  assert.ok(await succeeds("sh", ["-c", ...line, initProgramPath, folder.path]));
  assert.equal(((await Deno.stat(folder.path)).mode ?? 0) & 0o7777, 0o700);
  using registry = await Registry.open(folder);
  registry.audit.append("policy_changed", {});
  const modes = await modesIn(folder);
  assert.deepEqual(
    [...modes.keys()].sort(),
    [
      "ca.key",
      "ca.pem",
      "change.lock",
      "policy.toml",
      "registry.db",
      "registry.db-shm",
      "registry.db-wal",
      "server.json",
      "server.key",
      "tls.key",
      "tls.pem",
    ],
  );
  for (const [name, mode] of modes) assert.equal(mode, 0o600, name);
});

Deno.test("openDataFolder() refuses a folder or a file that others may read or write", async () => {
  await using ground = await RegistryGround.make();
  const { folder } = ground;
  for (const mode of [0o750, 0o701, 0o720, 0o755]) {
    await Deno.chmod(folder.path, mode);
    await assert.rejects(openDataFolder(folder.path), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, new RegExp(`found mode 0${mode.toString(8)}`));
      assert.match(error.hint ?? "", /chmod 700/);
      return true;
    });
  }
  await Deno.chmod(folder.path, 0o700);
  for (
    const path of [folder.registry, folder.caKey, folder.tlsKey, folder.serverKey, `${folder.registry}-wal`]
  ) {
    for (const mode of [0o640, 0o604, 0o620]) {
      await Deno.chmod(path, mode);
      await assert.rejects(openDataFolder(folder.path), (error) => {
        assert.ok(error instanceof Failure);
        assert.ok(
          error.message.startsWith(`cannot use ${path}: found mode 0${mode.toString(8)}`),
          error.message,
        );
        return true;
      });
    }
    await Deno.chmod(path, 0o600);
  }
  // The policy is no secret.
  await Deno.chmod(folder.policy, 0o644);
  assert.deepEqual(await openDataFolder(folder.path), folder);
});

Deno.test("openDataFolder() refuses links in the place of the folder or of a file", async () => {
  await using ground = await RegistryGround.make();
  const { folder } = ground;
  await Deno.rename(folder.serverKey, `${folder.path}.key`);
  await Deno.symlink(`${folder.path}.key`, folder.serverKey);
  await assert.rejects(openDataFolder(folder.path), /server.key: found a symbolic link/);
  await Deno.remove(folder.serverKey);
  await Deno.rename(`${folder.path}.key`, folder.serverKey);
  const link = `${folder.path}.link`;
  await Deno.symlink(folder.path, link);
  await assert.rejects(openDataFolder(link), /found a symbolic link, accepted is a folder/);
});

Deno.test({
  ...unless(root, "openDataFolder() refuses a folder or a file that belongs to somebody else, also as root"),
  async fn(): Promise<void> {
    await using ground = await RegistryGround.make();
    const { folder } = ground;
    await Deno.chown(folder.serverKey, STRANGER, STRANGER);
    await assert.rejects(openDataFolder(folder.path), /server.key: it belongs to user id 65534/);
    assert.ok(await succeeds("chown", ["-R", String(STRANGER), folder.path]));
    await assert.rejects(openDataFolder(folder.path), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, /belongs to user id 65534, and this program runs as user id 0/);
      assert.match(error.hint ?? "", /sudo -u "#65534"/);
      return true;
    });
  },
});

Deno.test({
  ...unless(root, "openDataFolder() finds out whose program it is without a permission for that"),
  async fn(): Promise<void> {
    await using ground = await RegistryGround.make();
    const { path } = ground.folder;
    const program = `
      import { openDataFolder } from "${new URL(
      "../../../src/server/manage/data_folder.ts",
      import.meta.url,
    )}";
      try { await openDataFolder(Deno.args[0]); console.log("opened"); } catch (error) { console.log(error.message); }
      console.log([...Deno.readDirSync(Deno.args[0])].filter(({ name }) => name.startsWith(".")).length);`;
    const run = async (): Promise<string> => {
      const { stdout } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--quiet",
          "--no-prompt",
          "--cached-only",
          `--allow-read=${path}`,
          `--allow-write=${path}`,
          `data:application/typescript,${encodeURIComponent(program)}`,
          path,
        ],
        stderr: "inherit",
      }).output();
      return new TextDecoder().decode(stdout);
    };
    assert.equal(await run(), "opened\n0\n");
    assert.ok(await succeeds("chown", ["-R", String(STRANGER), path]));
    assert.match(await run(), /belongs to user id 65534, and this program runs as user id 0\n0\n$/);
  },
});

Deno.test("openDataFolder() says what to do where there is no server", async () => {
  await using temporary = await TempFolder.make("folder");
  const places = placesIn(temporary);
  await assert.rejects(openDataFolder(places.path), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /there is no such folder/);
    assert.match(error.hint ?? "", /postern server manage init --address HOST:PORT --dir /);
    return true;
  });
  await Deno.mkdir(places.path, { mode: 0o700 });
  await assert.rejects(openDataFolder(places.path), /found no registry.db, accepted is the folder/);
  await Deno.writeTextFile(places.caKey, "", { mode: 0o600 });
  await assert.rejects(openDataFolder(places.path), /not finished by init, or lost its registry.db/);
  await Deno.remove(places.path, { recursive: true });
  await Deno.writeTextFile(places.path, "");
  await assert.rejects(openDataFolder(places.path), /found a file, accepted is a folder/);
});

Deno.test("Registry.open() refuses a newer schema by its number, and what is no registry", async () => {
  await using ground = await RegistryGround.make();
  const { folder } = ground;
  const raw = new DatabaseSync(folder.registry);
  raw.exec("PRAGMA user_version = 2");
  await assert.rejects(Registry.open(folder), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /found a registry of version 2, accepted is 1/);
    assert.match(error.hint ?? "", /a newer Postern has written it: update this one/);
    return true;
  });
  raw.exec("PRAGMA user_version = 0");
  await assert.rejects(Registry.open(folder), /found a registry of version 0/);
  raw.exec("PRAGMA user_version = 1; PRAGMA application_id = 7");
  await assert.rejects(Registry.open(folder), /found a database of another program/);
  raw.close();
  ground.registry.close();
  await Deno.writeTextFile(folder.registry, "no database at all, only some text that is long enough");
  await assert.rejects(Registry.open(folder), /it is damaged, or no registry/);
  await Deno.remove(folder.registry);
  await assert.rejects(Registry.open(folder), /could not open/);
  await assert.rejects(Deno.stat(folder.registry), Deno.errors.NotFound);
});

Deno.test("loadServerIdentity() refuses files of different backups, and addresses that are none", async () => {
  await using ground = await RegistryGround.make();
  await using other = await RegistryGround.make();
  const { folder, registry } = ground;
  const good = await loadServerIdentity(folder, registry);
  assert.deepEqual(good.addresses, ["manage.example:7022", "[2001:db8::1]:7022"]);
  assert.equal(good.pins.generation, 1);
  assert.equal(good.rotating, false);
  for (const name of ["serverKey", "caCertificate", "tlsCertificate", "tlsKey"] as const) {
    const kept = await Deno.readTextFile(folder[name]);
    await Deno.copyFile(other.folder[name], folder[name]);
    await assert.rejects(loadServerIdentity(folder, registry), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(error.hint, "take all files of one backup");
      return true;
    }, name);
    await Deno.writeTextFile(folder[name], "rubbish\n");
    await assert.rejects(loadServerIdentity(folder, registry), Failure, name);
    await Deno.remove(folder[name]);
    await assert.rejects(loadServerIdentity(folder, registry), /there is no such file/, name);
    await Deno.writeTextFile(folder[name], kept, { mode: 0o600 });
  }
  // The whole authority of another server, with all that it has issued.
  for (const name of ["caCertificate", "tlsCertificate", "tlsKey"] as const) {
    await Deno.copyFile(other.folder[name], folder[name]);
  }
  await assert.rejects(
    loadServerIdentity(folder, registry),
    /ca.pem: it is not the one that the registry knows/,
  );
  for (const text of ["", "[]", "{}", '{"addresses": []}', '{"addresses": ["x"]}', '{"addresses": [1]}']) {
    await Deno.writeTextFile(folder.settings, text);
    await assert.rejects(readAddresses(folder), /could not read .*server.json: /, text);
  }
});
