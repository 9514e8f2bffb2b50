import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import { readKeyFolder } from "../../../src/server/knock/keys.ts";
import { buildPolicy, idleKeyWarnings } from "../../../src/server/knock/policy.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FakeClock, NS_PER_SECOND } from "./knocks.ts";
import { LOOPBACK_CONFIG, ServerFolder } from "./server_folder.ts";

async function problemsOf(folder: ServerFolder): Promise<string[]> {
  return (await readKeyFolder(folder.path)).problems.map((problem) => problem.message);
}

Deno.test("readKeyFolder() takes regular files *.key, also by a link, and nothing else", async () => {
  await using folder = await ServerFolder.make();
  const user = await folder.addKey("user");
  const hidden = await folder.addKey(".hidden");
  const spaced = generateKey();
  await folder.write("spaced.key", `\n\t ${formatKey(spaced)} \r\n`);
  const linked = generateKey();
  await folder.write("secret-of-linked", formatKey(linked));
  await Deno.symlink(`${folder.path}/secret-of-linked`, `${folder.path}/linked.key`);
  await folder.write(".key", "no stem");
  await folder.write("user.key.bak", "another suffix");
  await Deno.mkdir(`${folder.path}/folder.key`);
  const found = await readKeyFolder(folder.path);
  assert.deepEqual(found.problems, []);
  assert.deepEqual(found.keys.map(({ stem, key }) => [stem, key.id]), [
    [".hidden", hidden.id],
    ["linked", linked.id],
    ["spaced", spaced.id],
    ["user", user.id],
  ]);
});

Deno.test("readKeyFolder() names each file that holds no key, and never what it holds", async () => {
  await using folder = await ServerFolder.make();
  const text = formatKey(generateKey());
  const bad: Record<string, string> = {
    empty: "",
    short: text.slice(0, 40),
    long: text + "AAAA",
    urlsafe: text.slice(0, -4) + "-_A=",
    inner: `${text.slice(0, 20)}\n${text.slice(20)}`,
    password: "correct horse battery staple",
    huge: text.repeat(1000),
  };
  await folder.addKey("good");
  for (const [stem, content] of Object.entries(bad)) await folder.write(`${stem}.key`, content);
  const problems = await problemsOf(folder);
  assert.equal(problems.length, Object.keys(bad).length);
  for (const [stem, content] of Object.entries(bad)) {
    const problem = problems.find((each) =>
      each.startsWith(`cannot use key file ${folder.path}/${stem}.key: `)
    );
    assert.ok(problem !== undefined, stem);
    assert.ok(content === "" || !problem.includes(content.slice(0, 8)), problem);
  }
});

Deno.test("readKeyFolder() names both files of a duplicate key id", async () => {
  await using folder = await ServerFolder.make();
  const key = await folder.addKey("a");
  await folder.addKey("b", { id: key.id, secret: generateKey().secret });
  assert.deepEqual(await problemsOf(folder), [
    `cannot use key file ${folder.path}/b.key: found the same key id as in ${folder.path}/a.key, ` +
    "accepted is one file a key",
  ]);
});

Deno.test("readKeyFolder() refuses a folder without a key, and one that is not there", async () => {
  await using folder = await ServerFolder.make();
  assert.deepEqual(await problemsOf(folder), [
    `cannot serve without a key: found no file *.key in ${folder.path}, accepted is at least one`,
  ]);
  await assert.rejects(readKeyFolder(`${folder.path}/nowhere`), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /^cannot read the key folder \/.*\/nowhere: /);
    return true;
  });
});

Deno.test("readKeyFolder() tells a key that is gone from one that could not be read", async () => {
  await using folder = await ServerFolder.make();
  await Deno.symlink(`${folder.path}/missing`, `${folder.path}/dangling.key`);
  await Deno.symlink(`${folder.path}/loop.key`, `${folder.path}/loop.key`);
  await folder.write("garbage.key", "garbage");
  const found = await readKeyFolder(folder.path);
  assert.equal(found.problems.length, 3);
  assert.deepEqual(found.unreadableStems, new Set(["loop"]));
});

Deno.test("readKeyFolder() warns of a key file that every user of the machine can read", async () => {
  await using folder = await ServerFolder.make();
  await folder.addKey("user");
  await folder.addKey("guest");
  const path = `${folder.path}/guest.key`;
  for (const [mode, isWarned] of [[0o604, true], [0o644, true], [0o640, false], [0o600, false]] as const) {
    await Deno.chmod(path, mode);
    const { warnings, problems } = await readKeyFolder(folder.path);
    assert.deepEqual(problems, []);
    const text = `key file ${path} can be read by every user of this machine ` +
      `(mode 0${mode.toString(8)}): chmod o-r ${path}`;
    assert.deepEqual(warnings, isWarned ? [text] : []);
  }
});

Deno.test("buildPolicy() joins keys and grants", async () => {
  await using folder = await ServerFolder.make(`${LOOPBACK_CONFIG}
max_packet_age_seconds = 300
[keys.strict]
max_packet_age_seconds = 30
[keys.ageless]
max_packet_age_seconds = 0
[keys.off]
disabled = true
`);
  for (const stem of ["ageless", "off", "plain", "strict"]) await folder.addKey(stem);
  const { keys } = await readKeyFolder(folder.path);
  const policy = buildPolicy(await folder.config(), keys);
  assert.deepEqual(policy.keys.map(({ stem, maxPacketAgeNs }) => [stem, maxPacketAgeNs]), [
    ["ageless", 0n],
    ["plain", 300n * NS_PER_SECOND],
    ["strict", 30n * NS_PER_SECOND],
  ]);
  assert.equal(policy.maxClockSkewNs, 3600n * NS_PER_SECOND);
  assert.deepEqual(policy.rates, { perPeer: 2, perKey: 50, global: 100 });
});

Deno.test("buildPolicy() gives one key at most half of the global rate, but never nothing", async () => {
  for (const [global, perKey] of [[100, 50], [3, 1], [1, 1]]) {
    await using folder = await ServerFolder.make(
      `${LOOPBACK_CONFIG}max_requests_per_second_global = ${global}`,
    );
    assert.equal(buildPolicy(await folder.config(), []).rates.perKey, perKey);
  }
});

Deno.test("buildPolicy() refuses a table without its key file, naming file, line and table", async () => {
  await using folder = await ServerFolder.make(`${LOOPBACK_CONFIG}[keys.phone]\nallow = []\n`);
  await folder.addKey("fone");
  const config = await folder.config();
  const { keys } = await readKeyFolder(folder.path);
  assert.throws(() => buildPolicy(config, keys), {
    message: `${folder.configPath}:3: keys.phone: found no file phone.key in ${folder.path}, ` +
      "accepted are tables of existing key files",
  });
});

Deno.test("idleKeyWarnings() tells which keys are there but refused", async () => {
  const clock = new FakeClock();
  await using folder = await ServerFolder.make(`${LOOPBACK_CONFIG}
[keys.off]
disabled = true
[keys.old]
not_after = 2026-12-31T23:59:59Z
[keys.new]
not_after = 2027-12-31T23:59:59Z
`);
  for (const stem of ["off", "old", "new"]) await folder.addKey(stem);
  const { keys } = await readKeyFolder(folder.path);
  assert.deepEqual(idleKeyWarnings(await folder.config(), keys, clock.wallMs()), [
    "key off is disabled: its packets are refused",
    "key old is past its not_after: its packets are refused",
  ]);
});
