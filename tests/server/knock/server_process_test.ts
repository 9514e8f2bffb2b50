/** The server as its users run it: a process, its flags, its signals, its files. */
import assert from "node:assert/strict";
import { LoggedProcess } from "../../../scripts/process.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { decodeFloors, encodeFloors } from "../../../src/protocol/knock/floors_codec.ts";
import { decodeForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import { PACKET_BYTES } from "../../../src/protocol/knock/packet.ts";
import { checkServer } from "../../../src/server/knock/startup.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { acquireLock } from "../../../src/system/lock.ts";
import { Log } from "../../../src/system/log.ts";
import { CommanderDouble } from "./commander_double.ts";
import { Knocker } from "./knocks.ts";
import type { KnockOptions } from "./knocks.ts";
import { LOOPBACK_CONFIG, ServerFolder } from "./server_folder.ts";
import { readyPort, spawnServer } from "./server_child.ts";
import { emptyQueue, UdpPeer } from "./udp.ts";

const LOOPBACK = parseIp("127.0.0.1");
const TIMEOUT_MS = 30_000;
const NO_RATES = "max_requests_per_second = 1000\nmax_requests_per_second_global = 10000\n";

/** A folder with the key "user", a commander's double, the server's process and a socket that knocks. */
class Site implements AsyncDisposable {
  readonly folder: ServerFolder;
  readonly commander: CommanderDouble;
  readonly knocker: Knocker;
  readonly peer = new UdpPeer();
  server: LoggedProcess;
  port: number;

  private constructor(
    folder: ServerFolder,
    commander: CommanderDouble,
    knocker: Knocker,
    server: LoggedProcess,
    port: number,
  ) {
    this.folder = folder;
    this.commander = commander;
    this.knocker = knocker;
    this.server = server;
    this.port = port;
  }

  static async open(config = ""): Promise<Site> {
    const folder = await ServerFolder.make(`${LOOPBACK_CONFIG}${config}`);
    await folder.write(
      "config.toml",
      `${LOOPBACK_CONFIG}status_file = "${folder.path}/status.json"\n${config}`,
    );
    await folder.write("commands.toml", "[commands]\nsecret = 'cat /etc/shadow'\n");
    const knocker = new Knocker(() => systemClock.wallNs());
    await folder.addKey("user", knocker.key);
    const commander = await CommanderDouble.listen(`${folder.path}/ruroco.socket`);
    const server = await spawnServer(folder.configPath);
    return new Site(folder, commander, knocker, server, await readyPort(server));
  }

  packet(options: KnockOptions = {}): Uint8Array {
    return this.knocker.packet({ destinationIp: LOOPBACK, ...options });
  }

  async send(bytes: Uint8Array): Promise<void> {
    await this.peer.send(bytes, this.port);
  }

  /**
   * Knocks until the commander has one more: everything sent before has been judged by then. Again and again,
   * because under a flood a knock may lose its draw, and under load a datagram its place in the queue.
   */
  async knockThrough(command: string): Promise<void> {
    const before = this.commander.received.length;
    for (let tries = 0; tries < 20 && this.commander.received.length === before; tries++) {
      await this.send(this.packet({ command }));
      await this.commander.arrivals(before + 1, 250);
    }
    const last = decodeForwardMessage(this.commander.received[before] ?? new Uint8Array());
    assert.deepEqual(last, { commandHash: commandHash(command), ip: LOOPBACK });
  }

  async restart(): Promise<void> {
    await this.server.stop("SIGKILL");
    this.server = await spawnServer(this.folder.configPath);
    this.port = await readyPort(this.server);
  }

  async status(): Promise<Record<string, unknown>> {
    return JSON.parse(await Deno.readTextFile(`${this.folder.path}/status.json`));
  }

  log(message: string): Promise<unknown> {
    return this.server.line(({ fields }) => fields["message"] === message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer[Symbol.dispose]();
    await this.server.stop("SIGKILL");
    await this.commander[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }
}

Deno.test(
  "a server process with exactly its permissions runs a knock once, and never its replay, also restarted",
  { timeout: TIMEOUT_MS },
  async () => {
    await using site = await Site.open(NO_RATES);
    const packet = site.packet({ command: "open_ssh" });
    await site.send(packet);
    await site.send(packet);
    await site.commander.messages(1);
    await site.knockThrough("barrier");
    await site.send(packet);
    await site.knockThrough("barrier");
    await site.restart();
    await site.send(packet);
    await site.knockThrough("barrier");
    const hashes = site.commander.received.map((bytes) => decodeForwardMessage(bytes).commandHash);
    assert.equal(hashes.filter((hash) => hash === commandHash("open_ssh")).length, 1);
    assert.deepEqual(await site.peer.answers(), []);
  },
);

Deno.test("a server process sends zero bytes for 10,000 random packets, and takes a knock after them", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using site = await Site.open(NO_RATES);
  const total = 10_000;
  const keyId = site.packet().subarray(0, 8);
  for (let n = 0; n < total; n++) {
    // Every third has a packet's length, and every sixth a packet's length and a known key id.
    const length = n % 3 === 0 ? PACKET_BYTES : Math.floor(Math.random() * 1200);
    const garbage = crypto.getRandomValues(new Uint8Array(length));
    if (n % 6 === 0) garbage.set(keyId);
    await site.send(garbage);
    // The receive queue holds some 280 datagrams.
    if (n % 64 === 63) await emptyQueue(site.port);
  }
  await site.knockThrough("barrier");
  assert.deepEqual(await site.peer.answers(), []);
  assert.equal(site.commander.received.length, 1);
  await site.server.stop();
  const { received, accepted } = await site.status();
  assert.equal(accepted, 1);
  assert.ok(Number(received) > total, `${received} of ${total} datagrams arrived`);
});

Deno.test("a server process logs nothing of what strangers send but their address, throttled", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using site = await Site.open(NO_RATES);
  const marker = "MARKER\n1970 ERROR server: forged";
  for (let n = 0; n < 100; n++) await site.send(new TextEncoder().encode(marker));
  await site.knockThrough("barrier");
  await site.log("knock accepted");
  const lines = site.server.lines.map(({ text }) => text);
  assert.ok(!lines.join("\n").includes("MARKER"));
  const refused = site.server.lines.filter(({ fields }) => fields["message"] === "packet refused");
  assert.equal(refused.length, 5);
  assert.deepEqual(Object.keys(refused[0]?.fields ?? {}), [
    "time",
    "level",
    "role",
    "message",
    "reason",
    "peer",
    "suppressed",
  ]);
  assert.deepEqual([refused[0]?.fields["reason"], refused[0]?.fields["peer"]], ["length", "127.0.0.1"]);
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(
    `a server process ends with 0 within a second of ${signal}, its work done and its status written`,
    { timeout: TIMEOUT_MS },
    async () => {
      await using site = await Site.open(NO_RATES);
      await site.knockThrough("barrier");
      const burst = 20;
      for (let n = 0; n < burst; n++) await site.send(site.packet());
      await site.server.line(({ fields }) => fields["message"] === "knock accepted", { from: 2 });
      const started = performance.now();
      const status = await site.server.stop(signal);
      assert.ok(performance.now() - started < 1000);
      assert.equal(status.code, 0);
      const { accepted, forwarded, queue_depth, floors_durable } = await site.status();
      assert.deepEqual([forwarded, queue_depth, floors_durable], [accepted, 0, true]);
      assert.equal((await site.commander.messages(Number(accepted))).length, accepted);
    },
  );
}

Deno.test("a server process ends within a second of SIGTERM also with a commander that does not read", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make(`${LOOPBACK_CONFIG}${NO_RATES}`);
  const knocker = new Knocker(() => systemClock.wallNs());
  await folder.addKey("user", knocker.key);
  using _stuck = Deno.listen({ transport: "unix", path: `${folder.path}/ruroco.socket` });
  await using server = await spawnServer(folder.configPath);
  const port = await readyPort(server);
  using peer = new UdpPeer();
  for (let n = 0; n < 50; n++) await peer.send(knocker.packet({ destinationIp: LOOPBACK }), port);
  await server.line(({ fields }) => fields["message"] === "knock accepted");
  const started = performance.now();
  assert.equal((await server.stop("SIGTERM")).code, 0);
  assert.ok(performance.now() - started < 1000);
});

Deno.test(
  "SIGHUP takes a new key and drops one that is gone, while a broken file fails the rest and is shown",
  { timeout: TIMEOUT_MS },
  async () => {
    await using site = await Site.open(NO_RATES);
    const guest = new Knocker(() => systemClock.wallNs());
    await site.folder.addKey("guest", guest.key);
    site.server.kill("SIGHUP");
    await site.log("configuration reloaded");
    await site.send(guest.packet({ command: "guest", destinationIp: LOOPBACK }));
    await site.commander.messages(1);
    assert.deepEqual(Object.keys((await site.status())["floor_age_seconds"] ?? {}), ["guest", "user"]);
    assert.equal(decodeFloors(await Deno.readFile(`${site.folder.path}/blocklist.msgpck`)).size, 2);

    await site.folder.remove("guest.key");
    await site.folder.write("broken.key", "broken");
    site.server.kill("SIGHUP");
    await site.log("reload failed");
    await site.send(guest.packet({ command: "guest", destinationIp: LOOPBACK }));
    await site.knockThrough("barrier");
    const hashes = site.commander.received.map((bytes) => decodeForwardMessage(bytes).commandHash);
    assert.equal(hashes.filter((hash) => hash === commandHash("guest")).length, 1);
    const reload = (await site.status())["last_reload"] as Record<string, unknown>;
    assert.equal(reload["ok"], false);
    assert.match(String(reload["error"]), /cannot use key file .*broken\.key: /);
    await site.log("key dropped");
  },
);

Deno.test("a reload says that a changed address needs a restart, and goes on receiving at the old one", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using site = await Site.open(NO_RATES);
  const text = await Deno.readTextFile(site.folder.configPath);
  await site.folder.write("config.toml", text.replace("127.0.0.1:0", "127.0.0.1:1"));
  site.server.kill("SIGHUP");
  const line = await site.server.line(({ fields }) => fields["message"] === "restart needed");
  assert.equal(line.fields["changed"], "address");
  await site.knockThrough("barrier");
});

Deno.test(
  "a second server refuses to share the floors file, naming the lock",
  { timeout: TIMEOUT_MS },
  async () => {
    await using site = await Site.open();
    await using second = await spawnServer(site.folder.configPath);
    assert.equal((await second.status).code, 1);
    const line = await second.line(({ text }) => text.startsWith("error: "));
    assert.match(line.text, /could not lock .*\/postern-server\.lock: another process holds it/);
  },
);

Deno.test("a server process that waits for the lock ends with 0 at SIGTERM, at once", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make();
  await folder.addKey("user");
  const lockPath = `${folder.path}/postern-server.lock`;
  using _held = await acquireLock(lockPath, { timeoutMs: 0 });
  await using server = await spawnServer(folder.configPath);
  await server.line(({ fields }) => fields["message"] === "waiting for the lock");
  const started = performance.now();
  assert.equal((await server.stop("SIGTERM")).code, 0);
  assert.ok(performance.now() - started < 1000);
});

Deno.test("a server process removes what a killed one left of its status and its floors", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make();
  await folder.addKey("user");
  await folder.write("config.toml", `${LOOPBACK_CONFIG}status_file = "${folder.path}/status.json"\n`);
  for (const name of ["status.json", "blocklist.msgpck", "other"]) {
    await folder.write(`.${name}.tmp`, "half");
  }
  await using server = await spawnServer(folder.configPath);
  await readyPort(server);
  await server.stop();
  const temporaries = [...Deno.readDirSync(folder.path)].map(({ name }) => name).filter((name) =>
    name.endsWith(".tmp")
  );
  assert.deepEqual(temporaries, [".other.tmp"]);
});

Deno.test("a server process warns at its start of a key file that everybody can read", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make();
  await folder.addKey("user");
  await Deno.chmod(`${folder.path}/user.key`, 0o644);
  await using server = await spawnServer(folder.configPath);
  const line = await server.line(({ fields }) => fields["level"] === "warn");
  assert.match(String(line.fields["message"]), /^key file .*user\.key can be read by every user /);
});

Deno.test("a server whose state folder is away refuses knocks, and saves the floors when it is back", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make();
  const knocker = new Knocker(() => systemClock.wallNs());
  await folder.addKey("user", knocker.key);
  await Deno.mkdir(`${folder.path}/state`);
  await folder.write("config.toml", `${LOOPBACK_CONFIG}${NO_RATES}blocklist_dir = "${folder.path}/state"\n`);
  await using commander = await CommanderDouble.listen(`${folder.path}/ruroco.socket`);
  await using server = await spawnServer(folder.configPath);
  const port = await readyPort(server);
  using peer = new UdpPeer();

  await Deno.rename(`${folder.path}/state`, `${folder.path}/away`);
  const counter = knocker.nextCounter();
  const packet = knocker.packet({ counter, destinationIp: LOOPBACK });
  await peer.send(packet, port);
  const refused = await server.line(({ fields }) => fields["reason"] === "floor_not_durable");
  assert.match(String(refused.fields["error"]), /could not write .*\/state\/blocklist\.msgpck: /);

  await Deno.rename(`${folder.path}/away`, `${folder.path}/state`);
  const floor = async (): Promise<bigint | undefined> =>
    decodeFloors(await Deno.readFile(`${folder.path}/state/blocklist.msgpck`)).get(knocker.key.id);
  while (await floor() !== counter) await new Promise((resolve) => setTimeout(resolve, 20));
  await peer.send(packet, port);
  await server.line(({ fields }) => fields["reason"] === "replayed");
  await peer.send(knocker.packet({ destinationIp: LOOPBACK }), port);
  assert.equal((await commander.messages(1)).length, 1);
});

Deno.test("checkServer() finds what would stop a start, and writes and binds nothing", async () => {
  await using folder = await ServerFolder.make();
  const parts = { log: new Log({ role: "server", format: "text", write: () => {} }), clock: systemClock };
  await assert.rejects(checkServer(await folder.config(), parts), /cannot serve without a key/);
  await folder.addKey("user");
  const names = (): string[] => [...Deno.readDirSync(folder.path)].map((entry) => entry.name).sort();
  await checkServer(await folder.config(), parts);
  assert.deepEqual(names(), ["config.toml", "user.key"]);
  await folder.write("blocklist.msgpck", "broken");
  await assert.rejects(checkServer(await folder.config(), parts), /cannot use the floors file/);
});

interface RefusedStart {
  readonly what: string;
  readonly files: Record<string, string | Uint8Array>;
  readonly error: RegExp;
}

const refusedStarts: readonly RefusedStart[] = [
  { what: "no key", files: {}, error: /cannot serve without a key: found no file \*\.key in / },
  { what: "a malformed key", files: { "user.key": "AAAA" }, error: /cannot use key file .*user\.key: / },
  {
    what: "a damaged floors file",
    files: {
      "user.key": "AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==",
      "blocklist.msgpck": "broken",
    },
    error: /cannot use the floors file .*blocklist\.msgpck: /,
  },
  {
    what: "a state folder that is none",
    files: {
      "user.key": "AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==",
      "config.toml": `${LOOPBACK_CONFIG}blocklist_dir = "/nonexistent/state"`,
    },
    error: /could not open the lock file \/nonexistent\/state\/postern-server\.lock/,
  },
  {
    what: "an address of another machine",
    files: {
      "user.key": "AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==",
      "config.toml": `ips = []\naddress = "192.0.2.1:5"`,
    },
    error: /cannot listen on UDP 192\.0\.2\.1:5/,
  },
];

for (const { what, files, error } of refusedStarts) {
  Deno.test(`a server process refuses to start with ${what}: one line, exit 1, no secret in it`, {
    timeout: TIMEOUT_MS,
  }, async () => {
    await using folder = await ServerFolder.make();
    for (const [name, content] of Object.entries(files)) {
      await Deno.writeFile(
        `${folder.path}/${name}`,
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      );
    }
    await using server = await spawnServer(folder.configPath);
    assert.equal((await server.status).code, 1);
    const { text } = await server.line(({ text }) => text.startsWith("error: "));
    assert.match(text, error);
    const said = server.lines.map((line) => line.text).join("\n");
    assert.ok(!said.includes("AAAA") && !said.includes("AQID"), said);
  });
}

Deno.test("a server process works on a ruroco installation as it is: its key, its floors, its folders", {
  timeout: TIMEOUT_MS,
}, async () => {
  await using folder = await ServerFolder.make();
  const knocker = new Knocker(() => systemClock.wallNs());
  await folder.addKey("ruroco", knocker.key);
  for (const name of ["state", "run"]) await Deno.mkdir(`${folder.path}/${name}`);
  await folder.write(
    "config.toml",
    `ips = ["127.0.0.1", "2001:db8::1"]
address = "[::]:0"
config_dir = "${folder.path}/"
blocklist_dir = "${folder.path}/state"
socket_dir = "${folder.path}/run"
socket_user = "ruroco"
socket_group = "ruroco"
max_requests_per_second = 2
max_clock_skew_seconds = 3600
ntp = "system"
`,
  );
  const floor = systemClock.wallNs() + 5_000_000_000n;
  const before = new Map([[1n, 2n], [knocker.key.id, floor]]);
  await Deno.writeFile(`${folder.path}/state/blocklist.msgpck`, encodeFloors(before));
  await using commander = await CommanderDouble.listen(`${folder.path}/run/ruroco.socket`);
  await using server = await spawnServer(folder.configPath);
  const port = await readyPort(server);
  using peer = new UdpPeer();
  await peer.send(knocker.packet({ command: "below", counter: floor, destinationIp: LOOPBACK }), port);
  await peer.send(knocker.packet({ command: "above", counter: floor + 1n, destinationIp: LOOPBACK }), port);
  const [message] = await commander.messages(1);
  assert.deepEqual(decodeForwardMessage(message ?? new Uint8Array()), {
    commandHash: commandHash("above"),
    ip: LOOPBACK,
  });
  const after = decodeFloors(await Deno.readFile(`${folder.path}/state/blocklist.msgpck`));
  assert.deepEqual(after, new Map([[1n, 2n], [knocker.key.id, floor + 1n]]));
  // What it said about the file: nothing, for there is nothing to say.
  const warnings = server.lines.filter(({ fields }) => fields["level"] === "warn").map(({ fields }) =>
    fields
  );
  const ofRoot = warnings.filter(({ message }) => String(message).startsWith("the server runs as root"));
  assert.equal(ofRoot.length, Deno.uid() === 0 ? 1 : 0);
  assert.deepEqual(warnings.filter((each) => !ofRoot.includes(each)).map(({ reason }) => reason), [
    "replayed",
  ]);
});

Deno.test("the server's permissions let nothing else be done", { timeout: TIMEOUT_MS }, async () => {
  await using site = await Site.open();
  await Deno.mkdir(`${site.folder.path}/commander-state`);
  await site.folder.write("commander-state/leases.json", "{}");
  const program = new URL("./forbidden_acts.ts", import.meta.url).pathname;
  await using acts = await spawnServer(site.folder.configPath, program);
  assert.equal((await acts.status).code, 0);
  await acts.line(({ fields }) => fields["act"] === "end");
  const outcomes = acts.lines.map(({ fields }) => [fields["act"], fields["outcome"]]);
  const { length } = outcomes;
  assert.ok(length > 8, `${length} acts`);
  assert.deepEqual(outcomes.slice(0, -1).filter(([, outcome]) => outcome !== "NotCapable"), []);
});
