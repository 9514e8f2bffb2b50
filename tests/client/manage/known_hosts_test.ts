import assert from "node:assert/strict";
import { checkHostKey, HostKeyChanged } from "../../../src/client/manage/known_hosts.ts";
import type { ManageFolder } from "../../../src/client/manage/manage_folder.ts";
import { fingerprint, formatPublicKey, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { modeOf, temporaryFolder } from "./temporary_manage_folder.ts";

async function someKey(): Promise<Uint8Array<ArrayBuffer>> {
  return (await SigningKey.generate(systemRandomBytes)).publicKey;
}

interface Met {
  readonly folder: ManageFolder;
  readonly host?: string;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly acceptKey?: boolean;
}

/** What is said when a host is met and has shown that it has the key. */
async function meet({ folder, host = "web1", key, acceptKey = false }: Met): Promise<string[]> {
  const notices: string[] = [];
  await checkHostKey({ folder, host, key, acceptKey, onNotice: (line) => notices.push(line) }).pin();
  return notices;
}

Deno.test("checkHostKey() pins the key of a host that is met first, with a notice, and is silent later", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const key = await someKey();
  assert.deepEqual(await meet({ folder, key }), [
    `first session with web1: its key is pinned, ${fingerprint(key)}`,
  ]);
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), `web1 ${formatPublicKey(key)}\n`);
  assert.equal(await modeOf(folder.knownHostsPath), 0o600);
  assert.deepEqual(await meet({ folder, key }), []);
});

Deno.test("checkHostKey() pins nothing before the host has shown that it has the key", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  checkHostKey({ folder, host: "web1", key: await someKey(), acceptKey: true, onNotice: assert.fail });
  await assert.rejects(Deno.stat(folder.knownHostsPath), Deno.errors.NotFound);
});

Deno.test("checkHostKey() refuses a changed key with both fingerprints, and pins it when it is accepted", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const before = await someKey(), after = await someKey();
  await meet({ folder, key: before });
  const text = await Deno.readTextFile(folder.knownHostsPath);
  assert.throws(
    () => checkHostKey({ folder, host: "web1", key: after, acceptKey: false, onNotice: assert.fail }),
    (error: unknown) => {
      assert(error instanceof HostKeyChanged);
      assert.equal(error.host, "web1");
      assert.equal(
        error.message,
        `refused: the key of web1 has changed: found ${fingerprint(after)}, pinned is ${
          fingerprint(before)
        } in ` +
          folder.knownHostsPath,
      );
      return true;
    },
  );
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), text);
  assert.deepEqual(await meet({ folder, key: after, acceptKey: true }), [
    `the new key of web1 is pinned, ${fingerprint(after)}; before it was ${fingerprint(before)}`,
  ]);
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), `web1 ${formatPublicKey(after)}\n`);
});

Deno.test("checkHostKey() leaves comments, other hosts and empty lines as they are", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const db = await someKey(), web = await someKey(), other = await someKey();
  const head = `# ours\n\ndb1   ${formatPublicKey(db)}\n`;
  await Deno.writeTextFile(folder.knownHostsPath, `${head}web1 ${formatPublicKey(other)}\n# end\n`);
  await meet({ folder, key: web, acceptKey: true });
  assert.equal(
    await Deno.readTextFile(folder.knownHostsPath),
    `${head}# end\nweb1 ${formatPublicKey(web)}\n`,
  );
  assert.deepEqual(await meet({ folder, host: "db1", key: db }), []);
});

Deno.test("checkHostKey() refuses a host that is new and has the key of another one, unless it is accepted", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const key = await someKey();
  await meet({ folder, host: "db1", key });
  const before = await Deno.readTextFile(folder.knownHostsPath);
  await assert.rejects(meet({ folder, key }), (error: unknown) => {
    assert(error instanceof Failure);
    assert.equal(error.message, `refused: web1 has the key that is pinned for db1, ${fingerprint(key)}`);
    assert.match(error.hint ?? "", /--accept-key/);
    return true;
  });
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), before);
  // Also where both are met at once.
  const other = await someKey(), met = { folder, key: other, acceptKey: false, onNotice: (): void => {} };
  const findings = ["db2", "db3"].map((host) => checkHostKey({ ...met, host }));
  const pinned = await Promise.allSettled(findings.map((finding) => finding.pin()));
  assert.deepEqual(pinned.map(({ status }) => status), ["fulfilled", "rejected"]);
  assert.deepEqual(
    (await meet({ folder, key, acceptKey: true })).at(-1),
    "warning: the same key is pinned for db1",
  );
});

Deno.test("checkHostKey() refuses a file with a line that is no pin: it may have been one", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const key = await someKey(), text = formatPublicKey(key);
  const wrong = [
    `web1 ${text.slice(1)}`,
    `web1`,
    `web1 ${text} more`,
    `WEB1 ${text}`,
    `web1 ${text}\nweb1 ${text}`,
    `web1 ${"A".repeat(43)}`,
  ];
  for (const line of wrong) {
    await Deno.writeTextFile(folder.knownHostsPath, `# first\n${line}\n`);
    assert.throws(
      () => checkHostKey({ folder, host: "db1", key, acceptKey: true, onNotice: assert.fail }),
      (error: unknown) =>
        error instanceof Failure &&
        /known_hosts: line [23] is (no pin|a second one for web1)/.test(error.message),
      line,
    );
  }
});

Deno.test("checkHostKey() loses no pin of many hosts that are met at once", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const hosts = await Promise.all(
    Array.from({ length: 20 }, async (_, i) => ({ host: `web${i}`, key: await someKey() })),
  );
  await Promise.all(hosts.map(({ host, key }) => meet({ folder, host, key })));
  const lines = (await Deno.readTextFile(folder.knownHostsPath)).trimEnd().split("\n").sort();
  assert.deepEqual(lines, hosts.map(({ host, key }) => `${host} ${formatPublicKey(key)}`).sort());
});

Deno.test("checkHostKey() refuses a key when another command has pinned another one meanwhile", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const [one, two] = [await someKey(), await someKey()];
  const late = checkHostKey({ folder, host: "web1", key: one, acceptKey: false, onNotice: assert.fail });
  await meet({ folder, key: two });
  await assert.rejects(late.pin(), HostKeyChanged);
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), `web1 ${formatPublicKey(two)}\n`);
});

Deno.test("checkHostKey() is content when another command has pinned the same key meanwhile", async () => {
  await using temporary = await temporaryFolder();
  const { folder } = temporary;
  folder.make();
  const key = await someKey();
  const late = checkHostKey({ folder, host: "web1", key, acceptKey: false, onNotice: (): void => {} });
  await meet({ folder, key });
  await late.pin();
  assert.equal(await Deno.readTextFile(folder.knownHostsPath), `web1 ${formatPublicKey(key)}\n`);
});
