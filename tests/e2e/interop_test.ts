/** Files of an existing ruroco installation, used unchanged; and each of our halves with ruroco's other half. */
import assert from "node:assert/strict";
import { type LabFiles, startCommander, startServer } from "../../scripts/lab.ts";
import { parseKey } from "../../src/protocol/knock/key.ts";
import { buildRurocoPacket, rurocoCommandHash, rurocoForwardMessage, rurocoIp } from "../reference/ruroco.ts";
import { nextCounter } from "./counters.ts";
import { fromHex, toHex } from "./hex.ts";
import { forwardAsRuroco, RurocoCommander } from "./ruroco_peers.ts";
import { statusAfter } from "./status_file.ts";
import { UdpPeer } from "./udp_peer.ts";
import { linesOf, until } from "./until.ts";

const PEER = "127.0.0.1";
const KEY = "AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==";
const KEY_ID = "0102030405060708";
const OTHER_KEY_ID = "007f80ff01c80264";
const FLOOR = 1725821510000000000n;
const OTHER_FLOOR = 5n;

/** One entry of ruroco's blocklist.msgpck: an array of 8 uints (msgpack, smallest form), then 16 bytes as bin 8. */
function blocklistEntry(keyId: string, floor: bigint): string {
  const id = Array.from(fromHex(keyId), (byte) => (byte < 0x80 ? "" : "cc") + toHex(Uint8Array.of(byte)));
  return `98${id.join("")}c410${floor.toString(16).padStart(32, "0")}`;
}

/** `blocklist.msgpck` as rmp-serde writes a struct of one map: array of 1, map of n. */
function blocklist(entries: readonly (readonly [string, bigint])[]): string {
  return `91${toHex(Uint8Array.of(0x80 + entries.length))}${
    entries.map(([id, floor]) => blocklistEntry(id, floor)).join("")
  }`;
}

async function ownName(flag: "-un" | "-gn"): Promise<string> {
  const { stdout } = await new Deno.Command("id", { args: [flag] }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** A ruroco installation: everything in config_dir, as its own setup leaves it. */
class Installation implements AsyncDisposable {
  readonly folder: string;
  readonly files: LabFiles;
  readonly #before = new Map<string, string>();

  private constructor(folder: string) {
    this.folder = folder;
    this.files = {
      folder,
      configPath: `${folder}/config.toml`,
      commandsPath: `${folder}/commands.toml`,
      keyPath: `${folder}/alice.key`,
      statusPath: `${folder}/status.json`,
      key: parseKey(KEY),
    };
  }

  static async make(): Promise<Installation> {
    const installation = new Installation(await Deno.makeTempDir({ prefix: "postern-ruroco-" }));
    const { folder, files } = installation;
    await Deno.writeTextFile(
      files.configPath,
      `# MANDATORY - public IP addresses of your server
ips = ["${PEER}", "dead:beef:dead:beef:dead:beef:dead:beef"]
address = "127.0.0.1:0"      # OPTIONAL  - address the ruroco server listens on
config_dir = "${folder}/"
blocklist_dir = "${folder}/"
socket_dir = "${folder}/"
ntp = "system"               # OPTIONAL  - of an older version
socket_user = "${await ownName("-un")}"
socket_group = "${await ownName("-gn")}"
max_requests_per_second = 50
max_requests_per_second_global = 1_000
max_clock_skew_seconds = 3600
allow_non_routable_ips = true
`,
    );
    await Deno.writeTextFile(
      files.commandsPath,
      `# Commands run by the commander (root). $RUROCO_IP is set to the source IP of the client request.
[commands]                   # MANDATORY - but can be empty
open_port = "echo open $RUROCO_IP >> ${folder}/ran"
slow_task = { cmd = "echo slow $RUROCO_IP >> ${folder}/ran", timeout_sec = 120 }
`,
      { mode: 0o600 },
    );
    await Deno.writeTextFile(files.keyPath, `${KEY}\n`, { mode: 0o600 });
    const floors = blocklist([[OTHER_KEY_ID, OTHER_FLOOR], [KEY_ID, FLOOR]]);
    await Deno.writeFile(`${folder}/blocklist.msgpck`, fromHex(floors));
    for (const path of [files.configPath, files.commandsPath, files.keyPath]) {
      installation.#before.set(path, await Deno.readTextFile(path));
    }
    return installation;
  }

  get socketPath(): string {
    return `${this.folder}/ruroco.socket`;
  }

  packet(command: string, counter: bigint): Uint8Array {
    return buildRurocoPacket({ key: KEY, command, counter, strict: true, destinationIp: PEER });
  }

  async assertFilesUnchanged(): Promise<void> {
    for (const [path, text] of this.#before) assert.equal(await Deno.readTextFile(path), text, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }
}

Deno.test({
  name: "server and commander take over a ruroco installation with its files unchanged",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using installation = await Installation.make();
    const { files, folder } = installation;
    await using commander = await startCommander(files);
    const { process, port } = await startServer(files);
    await using server = process;
    await using peer = new UdpPeer(port);

    // What ruroco had already accepted, or was below, stays spent.
    for (const counter of [FLOOR, FLOOR - 1n]) {
      const from = server.lines.length;
      await peer.send(installation.packet("open_port", counter));
      await server.line((line) => line.fields["reason"] === "replayed", { from });
    }
    await peer.send(installation.packet("open_port", FLOOR + 1n));
    await until("the string form ran", async () => (await linesOf(`${folder}/ran`)).length === 1);
    await peer.send(installation.packet("slow_task", FLOOR + 2n));
    await until("the table form ran", async () => (await linesOf(`${folder}/ran`)).length === 2);
    assert.deepEqual(await linesOf(`${folder}/ran`), [`open ${PEER}`, `slow ${PEER}`]);

    // The way back: what we write is what ruroco reads.
    assert.deepEqual((await server.stop()).code, 0);
    const entries = [[OTHER_KEY_ID, OTHER_FLOOR], [KEY_ID, FLOOR + 2n]] as const;
    const written = toHex(await Deno.readFile(`${folder}/blocklist.msgpck`));
    assert([blocklist(entries), blocklist(entries.toReversed())].includes(written), written);
    await installation.assertFilesUnchanged();

    const complaints = [...server.lines, ...commander.lines].filter((line) =>
      line.fields["level"] === "error"
    );
    assert.deepEqual(complaints, []);
  },
});

Deno.test({
  name: "our server delivers to ruroco's commander",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using installation = await Installation.make();
    await using commander = new RurocoCommander(installation.socketPath);
    const { process, port } = await startServer(installation.files, {
      statusPath: installation.files.statusPath,
    });
    await using _server = process;
    await using peer = new UdpPeer(port);

    const commands = ["open_port", "slow_task", "unknown to both", "open_port"];
    for (const [index, command] of commands.entries()) {
      await peer.send(installation.packet(command, nextCounter()));
      await until(`message ${index} arrived`, () => commander.messages.length === index + 1);
    }
    const expected = commands.map((command) => rurocoCommandHash(command) + rurocoIp(PEER));
    assert.deepEqual(commander.messages, expected);
    const status = await statusAfter(installation.files.statusPath, commands.length);
    assert.equal(status.forwarded, commands.length);
    assert.equal(status.forward_failures, 0);
  },
});

Deno.test({
  name: "our commander runs what ruroco's server forwards",
  timeout: 40_000,
  async fn(): Promise<void> {
    await using installation = await Installation.make();
    await using commander = await startCommander(installation.files);
    assert.equal(((await Deno.stat(installation.socketPath)).mode ?? 0) & 0o777, 0o204);

    const knocks = [
      ["open_port", "198.51.100.4"],
      ["slow_task", "2001:db8::17"],
      ["open_port", "2001:db8::17"],
    ] as const;
    for (const [index, [command, ip]] of knocks.entries()) {
      await forwardAsRuroco(installation.socketPath, rurocoForwardMessage(command, ip));
      await until(`command ${index} ran`, async () => {
        return (await linesOf(`${installation.folder}/ran`)).length === index + 1;
      });
    }
    assert.deepEqual(await linesOf(`${installation.folder}/ran`), [
      "open 198.51.100.4",
      "slow 2001:db8::17",
      "open 2001:db8::17",
    ]);
    assert.equal((await commander.stop()).code, 0);
    await installation.assertFilesUnchanged();
  },
});
