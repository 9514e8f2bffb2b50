import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../../src/protocol/knock/key.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import type { ServerConfig } from "../../../src/server/knock/config.ts";
import { FloorsFile } from "../../../src/server/knock/floors_file.ts";
import { Judge } from "../../../src/server/knock/judge.ts";
import { readKeyFolder } from "../../../src/server/knock/keys.ts";
import { buildPolicy } from "../../../src/server/knock/policy.ts";
import { reload } from "../../../src/server/knock/reload.ts";
import type { ReloadResult } from "../../../src/server/knock/reload.ts";
import { FakeDisk, noFault } from "./fake_disk.ts";
import { FakeClock, HOME_IP, Knocker } from "./knocks.ts";
import type { KnockOptions } from "./knocks.ts";
import { LOOPBACK_CONFIG, ServerFolder } from "./server_folder.ts";

const LOOPBACK = parseIp("127.0.0.1");
const FLOORS = "/state/blocklist.msgpck";

/** A server with the keys "a" and "b", as far as a reload touches it: real files, fake clock, fake state disk. */
class Running implements AsyncDisposable {
  readonly clock: FakeClock;
  readonly disk: FakeDisk;
  readonly folder: ServerFolder;
  readonly knockers: Record<"a" | "b", Knocker>;
  readonly started: ServerConfig;
  readonly floorsFile: FloorsFile;
  readonly judge: Judge;

  private constructor(
    parts: Pick<Running, "clock" | "disk" | "folder" | "knockers" | "started" | "floorsFile" | "judge">,
  ) {
    ({
      clock: this.clock,
      disk: this.disk,
      folder: this.folder,
      knockers: this.knockers,
      started: this.started,
      floorsFile: this.floorsFile,
      judge: this.judge,
    } = parts);
  }

  static async start(config = LOOPBACK_CONFIG): Promise<Running> {
    const clock = new FakeClock();
    const disk = new FakeDisk();
    const folder = await ServerFolder.make(config);
    const knockers = { a: new Knocker(() => clock.wallNs()), b: new Knocker(() => clock.wallNs()) };
    await folder.addKey("a", knockers.a.key);
    await folder.addKey("b", knockers.b.key);
    const started = await folder.config();
    const policy = buildPolicy(started, (await readKeyFolder(folder.path)).keys);
    const floorsFile = await FloorsFile.load(FLOORS, disk);
    await floorsFile.seed(policy.keys.map(({ key }) => key.id), clock.wallNs());
    const judge = new Judge(policy, { floors: floorsFile.floors, clock, random: Math.random });
    clock.advance(10_000);
    return new Running({ clock, disk, folder, knockers, started, floorsFile, judge });
  }

  reload(): Promise<ReloadResult> {
    return reload(this);
  }

  /** The answer to a fresh knock, a second after the last. */
  knock(knocker: Knocker, options: KnockOptions = {}): string {
    this.clock.advance(1000);
    return this.receive(knocker.packet({ destinationIp: LOOPBACK, ...options }));
  }

  receive(packet: Uint8Array): string {
    const verdict = this.judge.receive(packet, HOME_IP);
    if (verdict.kind === "refused") return verdict.reason;
    return verdict.kind === "spent" ? verdict.refusal ?? "good" : verdict.kind;
  }

  answers(): [a: string, b: string] {
    return [this.knock(this.knockers.a), this.knock(this.knockers.b)];
  }

  writeConfig(more: string): Promise<void> {
    return this.folder.write("config.toml", LOOPBACK_CONFIG + more);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.folder[Symbol.asyncDispose]();
  }
}

Deno.test("reload() takes new keys, ips, limits and grants", async () => {
  await using server = await Running.start();
  const guest = new Knocker(() => server.clock.wallNs());
  assert.equal(server.knock(guest), "unknown_key");
  await server.folder.addKey("guest", guest.key);
  await server.folder.write(
    "config.toml",
    `ips = ["127.0.0.1", "192.0.2.99"]
max_requests_per_second = 1
max_clock_skew_seconds = 5
[keys.a]
allow = []
[keys.b]
max_packet_age_seconds = 1
`,
  );
  const result = await server.reload();
  assert.deepEqual([result.problems, result.dropped, result.warnings], [[], [], []]);
  assert.equal(server.knock(guest, { destinationIp: parseIp("192.0.2.99") }), "good");
  assert.deepEqual(server.answers(), ["command_not_allowed", "good"]);
  const nowNs = server.clock.wallNs();
  assert.equal(server.knock(guest, { counter: nowNs + 7_000_000_000n }), "beyond_skew");
  assert.equal(server.knock(server.knockers.b, { counter: nowNs - 1_000_000_000n }), "replayed");
  server.clock.advance(1000);
  const twice = [1, 2].map(() => server.receive(guest.packet({ destinationIp: LOOPBACK })));
  assert.deepEqual(twice, ["good", "peer_rate"]);
});

Deno.test("reload() gives a new key a durable floor of now before its packets count", async () => {
  await using server = await Running.start();
  const guest = new Knocker(() => server.clock.wallNs());
  const before = guest.packet({ destinationIp: LOOPBACK });
  server.clock.advance(1000);
  await server.folder.addKey("guest", guest.key);
  await server.reload();
  const onPlatter = await FloorsFile.load(FLOORS, server.disk.afterPowerCut("least"));
  assert.equal(onPlatter.floors.get(guest.key.id), server.clock.wallNs());
  assert.equal(server.receive(before), "replayed");
  assert.equal(server.knock(guest), "good");
});

Deno.test("reload() does not use a new key whose floor cannot be saved, and does after the disk is well", async () => {
  await using server = await Running.start();
  const guest = new Knocker(() => server.clock.wallNs());
  await server.folder.addKey("guest", guest.key);
  server.disk.fault = { when: "before", fails: () => true };
  const result = await server.reload();
  assert.equal(result.problems.length, 1);
  assert.match(result.problems[0] ?? "", /could not write/);
  assert.equal(server.knock(guest), "unknown_key");
  server.disk.fault = noFault;
  assert.deepEqual((await server.reload()).problems, []);
  assert.equal(server.knock(guest), "good");
});

Deno.test("reload() loses no floor: a replay stays one, also of a key that was away in between", async () => {
  await using server = await Running.start();
  const packet = server.knockers.a.packet({ destinationIp: LOOPBACK });
  assert.equal(server.receive(packet), "good");
  await server.reload();
  assert.equal(server.receive(packet), "replayed");
  await server.folder.remove("a.key");
  assert.deepEqual((await server.reload()).dropped, ["a"]);
  assert.equal(server.receive(packet), "unknown_key");
  await server.folder.addKey("a", server.knockers.a.key);
  await server.reload();
  assert.equal(server.receive(packet), "replayed");
  assert.equal(server.knock(server.knockers.a), "good");
});

Deno.test("reload() judges on with the old state while it reads and saves", async () => {
  await using server = await Running.start();
  const gate = Promise.withResolvers<void>();
  const guest = new Knocker(() => server.clock.wallNs());
  await server.folder.addKey("guest", guest.key);
  server.disk.gate = gate.promise;
  const reloading = server.reload();
  while (server.floorsFile.isDurable) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(server.answers(), ["good", "good"]);
  assert.equal(server.knock(guest), "unknown_key");
  gate.resolve();
  assert.deepEqual((await reloading).problems, []);
  assert.equal(server.knock(guest), "good");
});

/** One thing is broken; the keys stay as they were, and the problem is told. */
const brokenReloads: readonly {
  readonly what: string;
  breakIt(server: Running): Promise<void>;
  readonly problem: RegExp;
}[] = [
  {
    what: "config.toml is not TOML",
    breakIt: (server) => server.writeConfig("allow = ["),
    problem: /config\.toml:3:\d+: found no valid TOML/,
  },
  {
    what: "config.toml is gone",
    breakIt: (server) => server.folder.remove("config.toml"),
    problem: /could not read .*config\.toml: there is no such file/,
  },
  {
    what: "an address in ips is none",
    breakIt: (server) => server.folder.write("config.toml", `ips = ["nonsense"]`),
    problem: /config\.toml:1: ips: found "nonsense"/,
  },
  {
    what: "a field below keys is unknown",
    breakIt: (server) => server.writeConfig("[keys.a]\nalow = []"),
    problem: /keys\.a\.alow: found an unknown field/,
  },
  {
    what: "a table at the top is unknown",
    breakIt: (server) => server.writeConfig("[key.a]\nallow = []"),
    problem: /:3: key: found an unknown table, accepted is \[keys\.<file stem>\] \(did you mean keys\?\)/,
  },
  {
    what: "a table has no key file",
    breakIt: (server) => server.writeConfig("[keys.zoe]\nallow = []"),
    problem: /keys\.zoe: found no file zoe\.key/,
  },
  {
    what: "a third key file is garbage",
    breakIt: (server) => server.folder.write("c.key", "garbage"),
    problem: /cannot use key file .*c\.key: /,
  },
  {
    what: "a key file is there twice",
    breakIt: async (server) => void await server.folder.addKey("copy", server.knockers.a.key),
    problem: /copy\.key: found the same key id as in .*a\.key/,
  },
  {
    what: "a key file cannot be read at the moment",
    breakIt: async (server) => {
      await server.folder.remove("a.key");
      await Deno.symlink(`${server.folder.path}/a.key`, `${server.folder.path}/a.key`);
    },
    problem: /cannot use key file .*a\.key: /,
  },
];

for (const { what, breakIt, problem } of brokenReloads) {
  Deno.test(`reload() keeps the old state when ${what}`, async () => {
    await using server = await Running.start();
    await breakIt(server);
    const result = await server.reload();
    assert.equal(result.problems.length, 1, result.problems.join("; "));
    assert.match(result.problems[0] ?? "", problem);
    assert.deepEqual(result.dropped, []);
    assert.deepEqual(server.answers(), ["good", "good"]);
  });
}

/** A key is taken away and something else is broken besides: the key must go all the same. */
const breakages: readonly { readonly how: string; readonly config: string }[] = [
  { how: "ips are wrong", config: `ips = ["nonsense"]\n` },
  { how: "another table has a typo", config: `${LOOPBACK_CONFIG}[keys.b]\nalow = []\n` },
  { how: "nothing else is", config: LOOPBACK_CONFIG },
];

for (const { how, config } of breakages) {
  Deno.test(`reload() drops a key that is gone, also when ${how} wrong`, async () => {
    await using server = await Running.start();
    await server.folder.write("config.toml", config);
    await server.folder.remove("a.key");
    assert.deepEqual((await server.reload()).dropped, ["a"]);
    assert.deepEqual(server.answers(), ["unknown_key", "good"]);
  });

  Deno.test(`reload() drops a disabled key, also when ${how} wrong`, async () => {
    await using server = await Running.start();
    await server.folder.write("config.toml", `${config}[keys.a]\ndisabled = true\n`);
    assert.deepEqual((await server.reload()).dropped, ["a"]);
    assert.deepEqual(server.answers(), ["unknown_key", "good"]);
  });

  Deno.test(`reload() drops an expired key, also when ${how} wrong`, async () => {
    await using server = await Running.start();
    await server.folder.write("config.toml", `${config}[keys.a]\nnot_after = 2026-12-31T23:59:59Z\n`);
    assert.deepEqual((await server.reload()).dropped, ["a"]);
    assert.deepEqual(server.answers(), ["unknown_key", "good"]);
  });
}

Deno.test("reload() drops a key when its disabled has a type that could mean yes", async () => {
  await using server = await Running.start();
  await server.writeConfig(`[keys.a]\ndisabled = "true"`);
  const result = await server.reload();
  assert.match(result.problems[0] ?? "", /keys\.a\.disabled: found "true", accepted is true or false/);
  assert.deepEqual(result.dropped, ["a"]);
  assert.deepEqual(server.answers(), ["unknown_key", "good"]);
});

/** Ways to take a key away that the strict reading refuses; each stands in a file that is refused for it. */
const illTyped: readonly [text: string, problem: RegExp][] = [
  ['[keys.a]\nnot_after = "2020-01-01T00:00:00Z"', /keys\.a\.not_after: found "2020-/],
  ["[keys.a]\nnot_after = 2099-01-01", /keys\.a\.not_after: found 2099-01-01 without a zone/],
  ["[[keys.a]]\ndisabled = true", /keys\.a: found a list of 1, accepted is a table/],
  ['[keys]\na = "disabled"', /keys\.a: found "disabled", accepted is a table/],
  ["[keys]\na = false", /keys\.a: found false, accepted is a table/],
];

for (const [text, problem] of illTyped) {
  Deno.test(`reload() drops the key of ${JSON.stringify(text)}: doubt counts as taken away`, async () => {
    await using server = await Running.start();
    await server.writeConfig(text);
    const result = await server.reload();
    assert.match(result.problems.join(), problem);
    assert.deepEqual(result.dropped, ["a"]);
    assert.deepEqual(server.answers(), ["unknown_key", "good"]);
  });
}

const BROKEN_ELSEWHERE = "\n[keys.b]\nalow = []\n";

Deno.test("reload() narrows a key's commands, also when the rest of it fails", async () => {
  await using server = await Running.start(LOOPBACK_CONFIG + '[keys.b]\nallow = ["open_ssh", "open_web"]\n');
  await server.writeConfig(
    '[keys.a]\nallow = ["open_web"]\n[keys.b]\nallow = ["open_web", "reboot"]\nalow = 1\n',
  );
  const result = await server.reload();
  assert.equal(result.problems.length, 1);
  assert.deepEqual([result.dropped, result.narrowed], [[], ["a", "b"]]);
  const { a, b } = server.knockers;
  assert.deepEqual(
    [["open_ssh", "open_web", "reboot"].map((
      command,
    ) => [server.knock(a, { command }), server.knock(b, { command })])],
    [[
      ["command_not_allowed", "command_not_allowed"],
      ["good", "good"],
      ["command_not_allowed", "command_not_allowed"],
    ]],
  );
  // What was taken stays taken until a reload works, whatever the next broken file says.
  await server.writeConfig(BROKEN_ELSEWHERE);
  assert.deepEqual((await server.reload()).narrowed, []);
  assert.equal(server.knock(a), "command_not_allowed");
  await server.writeConfig("");
  assert.deepEqual((await server.reload()).problems, []);
  assert.deepEqual(server.answers(), ["good", "good"]);
});

for (const allow of ['"open_ssh"', "[1]", '["open_ssh", "#12"]', "{ open_ssh = true }", "false"]) {
  Deno.test(`reload() takes allow = ${allow}, which nobody can read, for no command at all`, async () => {
    await using server = await Running.start();
    await server.writeConfig(`[keys.a]\nallow = ${allow}`);
    const result = await server.reload();
    assert.match(result.problems.join(), /keys\.a\.allow: found /);
    assert.deepEqual([result.dropped, result.narrowed], [[], ["a"]]);
    assert.deepEqual(server.answers(), ["command_not_allowed", "good"]);
  });
}

Deno.test("reload() brings a key's end nearer, also when the rest of it fails, and never puts it off", async () => {
  await using server = await Running.start();
  const inMinutes = (minutes: number): string =>
    new Date(server.clock.wallMs() + minutes * 60_000).toISOString();
  await server.writeConfig(`[keys.a]\nnot_after = ${inMinutes(5)}${BROKEN_ELSEWHERE}`);
  assert.deepEqual((await server.reload()).narrowed, ["a"]);
  await server.writeConfig(`[keys.a]\nnot_after = ${inMinutes(60)}${BROKEN_ELSEWHERE}`);
  assert.deepEqual((await server.reload()).narrowed, []);
  assert.deepEqual(server.answers(), ["good", "good"]);
  server.clock.advance(6 * 60_000);
  assert.deepEqual(server.answers(), ["unknown_key", "good"]);
});

Deno.test("reload() narrows a key whose file was renamed together with its table", async () => {
  await using server = await Running.start();
  await server.folder.remove("a.key");
  await server.folder.addKey("phone", server.knockers.a.key);
  await server.writeConfig(`[keys.phone]\nallow = []${BROKEN_ELSEWHERE}`);
  assert.deepEqual((await server.reload()).narrowed, ["a"]);
  assert.deepEqual(server.answers(), ["command_not_allowed", "good"]);
});

Deno.test("reload() gives no new key a floor by a clock that is obviously wrong, and says so", async () => {
  await using server = await Running.start();
  const guest = new Knocker(() => server.clock.wallNs());
  await server.folder.addKey("guest", guest.key);
  const bootMs = Date.UTC(1970, 0, 1, 0, 1) - server.clock.wallMs();
  server.clock.shiftWall(bootMs);
  const result = await server.reload();
  assert.match(
    result.problems.join(),
    /cannot give key guest its first floor: the clock says 1970-01-01T00:01:00/,
  );
  assert.equal(server.floorsFile.floors.get(guest.key.id), undefined);
  server.clock.shiftWall(-bootMs);
  assert.deepEqual((await server.reload()).problems, []);
  assert.equal(server.knock(guest), "good");
});

Deno.test("reload() works with a wrong clock as long as every key has its floor", async () => {
  await using server = await Running.start();
  server.clock.shiftWall(-server.clock.wallMs());
  assert.deepEqual((await server.reload()).problems, []);
});

Deno.test("reload() warns of a key file that everybody on the machine can read", async () => {
  await using server = await Running.start();
  const path = `${server.folder.path}/a.key`;
  await Deno.chmod(path, 0o644);
  assert.deepEqual((await server.reload()).warnings, [
    `key file ${path} can be read by every user of this machine (mode 0644): chmod o-r ${path}`,
  ]);
  await Deno.chmod(path, 0o640);
  assert.deepEqual((await server.reload()).warnings, []);
});

Deno.test("reload() drops a key whose file holds another one now, or garbage", async () => {
  for (const text of [formatKey(generateKey()), "garbage"]) {
    await using server = await Running.start();
    await server.folder.write("a.key", text);
    assert.deepEqual((await server.reload()).dropped, ["a"]);
    assert.deepEqual(server.answers(), ["unknown_key", "good"]);
  }
});

Deno.test("reload() takes a changed secret of the same key id, and keeps its floor", async () => {
  await using server = await Running.start();
  const { id } = server.knockers.a.key;
  assert.equal(server.knock(server.knockers.a), "good");
  const floor = server.floorsFile.floors.get(id);
  const changed = new Knocker(() => server.clock.wallNs(), { id, secret: generateKey().secret });
  await server.folder.addKey("a", changed.key);
  assert.deepEqual((await server.reload()).dropped, ["a"]);
  assert.equal(server.floorsFile.floors.get(id), floor);
  assert.equal(server.knock(server.knockers.a), "authentication");
  assert.equal(server.knock(changed), "good");
});

Deno.test("reload() drops the last key too, and the server then refuses everything", async () => {
  await using server = await Running.start();
  await server.folder.remove("a.key");
  await server.folder.remove("b.key");
  const result = await server.reload();
  assert.deepEqual(result.dropped, ["a", "b"]);
  assert.match(result.problems[0] ?? "", /cannot serve without a key/);
  assert.deepEqual(server.answers(), ["unknown_key", "unknown_key"]);
});

Deno.test("reload() says which settings wait for a restart, and uses the old ones", async () => {
  await using server = await Running.start();
  await server.folder.write(
    "config.toml",
    `ips = ["127.0.0.1"]
address = "127.0.0.1:9"
config_dir = "/nowhere"
blocklist_dir = "/nowhere"
socket_dir = "/nowhere"
status_file = "/nowhere/status"
`,
  );
  const result = await server.reload();
  assert.deepEqual(result.problems, []);
  assert.deepEqual(result.restartNeeded, [
    "address",
    "config_dir",
    "blocklist_dir",
    "socket_dir",
    "status_file",
  ]);
  assert.deepEqual(server.answers(), ["good", "good"]);
});

Deno.test("reload() tells unknown keys and keys that are not in force as warnings", async () => {
  await using server = await Running.start();
  await server.writeConfig("max_packet_age_secons = 5\n[keys.b]\ndisabled = true");
  const result = await server.reload();
  assert.deepEqual(result.problems, []);
  assert.match(result.warnings.join("\n"), /max_packet_age_secons: unknown key, ignored \(did you mean/);
  assert.match(result.warnings.join("\n"), /key b is disabled/);
});
