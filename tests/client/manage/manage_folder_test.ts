import assert from "node:assert/strict";
import { readIdentity, readOrMakeIdentity } from "../../../src/client/manage/identity.ts";
import { namedManageFolder, type ServerRecord } from "../../../src/client/manage/manage_folder.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { modeOf, temporaryFolder } from "./temporary_manage_folder.ts";

async function record(): Promise<ServerRecord> {
  return {
    name: "alice",
    addresses: ["manage.example:7022", "[2001:db8::1]:7022"],
    caCertificates: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    generation: 3,
    serverKey: (await SigningKey.generate(systemRandomBytes)).publicKey,
  };
}

Deno.test("keepServer() writes what server() reads, for nobody else to read", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const kept = await record();
  folder.keepServer(kept);
  assert.deepEqual(folder.server(), kept);
  assert.equal(await modeOf(folder.path), 0o700);
  assert.equal(await modeOf(folder.serverPath), 0o600);
});

Deno.test("server() says how to join where none was", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  assert.equal(folder.serverIfJoined(), null);
  assert.throws(() => folder.server(), (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /^no management server is known: .*server\.json does not exist$/);
    assert.match(error.hint ?? "", /postern client join TOKEN/);
    return true;
  });
});

Deno.test("server() refuses a file that is not what was written, and repeats nothing of it", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  folder.keepServer(await record());
  const good: Record<string, unknown> = JSON.parse(await Deno.readTextFile(folder.serverPath));
  const wrong = [
    "",
    "{",
    "null",
    "[]",
    JSON.stringify({ ...good, version: 2 }),
    JSON.stringify({ ...good, name: "Alice secret" }),
    JSON.stringify({ ...good, addresses: [] }),
    JSON.stringify({ ...good, addresses: ["secret", 1] }),
    JSON.stringify({ ...good, server_key: "secret" }),
    JSON.stringify({ ...good, server_key: 7 }),
    JSON.stringify({ ...good, generation: "secret" }),
    JSON.stringify({ ...good, ca_certificates: ["a", "b", "secret"] }),
  ];
  for (const text of wrong) {
    await Deno.writeTextFile(folder.serverPath, text);
    assert.throws(() => folder.server(), (error: unknown) => {
      assert(error instanceof Failure, text);
      assert.match(
        error.message,
        /^cannot use .*server\.json: .*, accepted is what postern client join writes$/,
      );
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});

Deno.test("server() refuses a folder in which others may write, and takes one in which they may only read", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  folder.keepServer(await record());
  for (const mode of [0o720, 0o702, 0o1777]) {
    await Deno.chmod(folder.path, mode);
    const message = `cannot use ${folder.path}: found mode ${
      mode.toString(8)
    }, which lets others write there, accepted is 700`;
    assert.throws(() => folder.server(), { name: "Failure", message });
  }
  await Deno.chmod(folder.path, 0o755);
  assert.equal(folder.server().name, "alice");
});

Deno.test("readOrMakeIdentity() makes one key, 0600, and finds it again", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const keys = await Promise.all(
    Array.from({ length: 4 }, () => readOrMakeIdentity(folder, systemRandomBytes)),
  );
  const again = await readIdentity(folder);
  for (const key of keys) assert.deepEqual(key.publicKey, again.publicKey);
  assert.equal(await modeOf(folder.identityPath), 0o600);
  assert.match(await Deno.readTextFile(folder.identityPath), /^[A-Za-z0-9_-]{43}\n$/);
});

Deno.test("readIdentity() refuses a key that others may read, and one that is none, without showing it", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  await assert.rejects(readIdentity(folder), /^Failure: no key of yours is known/);
  await readOrMakeIdentity(folder, systemRandomBytes);
  await Deno.chmod(folder.identityPath, 0o640);
  await assert.rejects(readIdentity(folder), (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /found mode 640, .* accepted is 600$/);
    assert.match(error.hint ?? "", /^chmod 600 /);
    return true;
  });
  await Deno.chmod(folder.identityPath, 0o600);
  const seed = (await Deno.readTextFile(folder.identityPath)).trimEnd();
  for (const text of ["", seed.slice(1), `${seed}AAAA`, `${seed} more`]) {
    await Deno.writeTextFile(folder.identityPath, text);
    await assert.rejects(readIdentity(folder), (error: unknown) => {
      assert(error instanceof Failure);
      assert.match(error.message, /it holds no key, accepted are 43 characters of base64url$/);
      assert(!error.message.includes(seed.slice(1, 20)));
      return true;
    });
  }
});

Deno.test("namedManageFolder() is what --dir says, else lies in the config folder", () => {
  assert.deepEqual(namedManageFolder("here"), { path: "here", variable: null });
  const before = Deno.env.get("POSTERN_CONF_DIR");
  Deno.env.set("POSTERN_CONF_DIR", "/etc/somewhere");
  try {
    assert.deepEqual(namedManageFolder(undefined), {
      path: "/etc/somewhere/manage",
      variable: "POSTERN_CONF_DIR",
    });
  } finally {
    if (before === undefined) Deno.env.delete("POSTERN_CONF_DIR");
    else Deno.env.set("POSTERN_CONF_DIR", before);
  }
});
