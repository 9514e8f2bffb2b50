/**
 * The real server process, killed with SIGKILL at random moments while knocks arrive, and after each restart every
 * packet that was ever captured is sent again. No packet may reach the commander twice, and none that was refused
 * after authentication may ever reach it.
 */
import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash, formatCommandHash } from "../../../src/protocol/knock/command_hash.ts";
import { decodeFloors } from "../../../src/protocol/knock/floors_codec.ts";
import { decodeForwardMessage, FORWARD_MESSAGE_BYTES } from "../../../src/protocol/knock/forward_message.ts";
import { SPENT_REASONS } from "../../../src/server/knock/refusal.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { CommanderDouble } from "./commander_double.ts";
import { Knocker } from "./knocks.ts";
import { report, SeededRandom } from "./seeded.ts";
import { ServerFolder } from "./server_folder.ts";
import { readyPort, spawnServer } from "./server_child.ts";
import { UdpPeer } from "./udp.ts";

const KILLS = 200;
/** Servers side by side, each with its own folder, keys and captured packets. */
const LANES = 4;
const LOOPBACK = parseIp("127.0.0.1");

/** Three holders knock in each round, more than the rate of three a second takes; the guest may run nothing. */
const HOLDERS = ["a", "b", "c"] as const;
const ROUND: readonly (typeof HOLDERS[number] | "guest")[] = ["a", "b", "c", "a", "guest", "b"];
const CONFIG = `ips = ["127.0.0.1"]
address = "127.0.0.1:0"
max_requests_per_second = 3
[keys.guest]
allow = ["something that nobody asks for"]
`;
/** What the decrypt budget opens of four keys in one slice of 20 ms, with some room. */
const REPLAY_BATCH = 32;
const REPLAY_PAUSE_MS = 22;
const PAUSE_BEFORE_READY_MS = 80;

interface Captured {
  readonly name: string;
  readonly keyId: bigint;
  readonly counter: bigint;
  readonly bytes: Uint8Array;
  readonly isForbidden: boolean;
}

interface Counts {
  kills: number;
  killsBeforeReady: number;
  captured: number;
  replays: number;
  forwarded: number;
  refusedAfterAuthentication: number;
  floorsChecked: number;
  /** Of the last replays, which must all be judged, those that the decrypt budget dropped. */
  droppedAtLast: number;
}

class Lane implements AsyncDisposable {
  readonly counts: Counts = {
    kills: 0,
    killsBeforeReady: 0,
    captured: 0,
    replays: 0,
    forwarded: 0,
    refusedAfterAuthentication: 0,
    floorsChecked: 0,
    droppedAtLast: 0,
  };
  readonly #random: SeededRandom;
  readonly #folder: ServerFolder;
  readonly #commander: CommanderDouble;
  readonly #knockers: ReadonlyMap<string, Knocker>;
  readonly #peer = new UdpPeer();
  /** By command hash, which each packet has to itself. */
  readonly #captured = new Map<string, Captured>();
  readonly #forwarded: string[] = [];
  readonly #refused = new Set<string>();
  readonly #mistakes: string[] = [];

  private constructor(
    folder: ServerFolder,
    commander: CommanderDouble,
    knockers: ReadonlyMap<string, Knocker>,
    random: SeededRandom,
  ) {
    this.#folder = folder;
    this.#commander = commander;
    this.#knockers = knockers;
    this.#random = random;
    commander.onMessage = (bytes) => this.#onMessage(bytes);
  }

  static async open(random: SeededRandom): Promise<Lane> {
    const folder = await ServerFolder.make();
    await folder.write("config.toml", `status_file = "${folder.path}/status.json"\n${CONFIG}`);
    const knockers = new Map<string, Knocker>();
    for (const stem of [...HOLDERS, "guest"]) {
      const knocker = new Knocker(() => systemClock.wallNs());
      knockers.set(stem, knocker);
      await folder.addKey(stem, knocker.key);
    }
    const commander = await CommanderDouble.listen(`${folder.path}/ruroco.socket`);
    return new Lane(folder, commander, knockers, random);
  }

  /** One life of the server: replays of everything, new knocks in between, and death. */
  async round(): Promise<void> {
    const server = await spawnServer(this.#folder.configPath);
    if (this.#random.next() < 0.1) {
      await pause(this.#random.next() * PAUSE_BEFORE_READY_MS);
      this.counts.killsBeforeReady++;
    } else {
      const port = await readyPort(server);
      const replaying = this.#replayAll(port);
      if (this.#random.next() < 0.5) await replaying;
      const knocking = this.#knockRound(port);
      // Half of the deaths fall into the few milliseconds from arrival to commander.
      await pause(this.#random.next() * (this.#random.next() < 0.5 ? 4 : 60));
      server.kill("SIGKILL");
      await Promise.all([replaying, knocking]);
    }
    await server.stop("SIGKILL");
    this.counts.kills++;
    this.#readLog(server.lines);
  }

  /** The last life: nothing is killed and everything is judged, so that no replay escapes by being dropped. */
  async lastRound(): Promise<void> {
    const server = await spawnServer(this.#folder.configPath);
    const port = await readyPort(server);
    await this.#replayAll(port);
    await this.#replayAll(port);
    const status = await server.stop("SIGTERM");
    assert.equal(status.code, 0);
    const { refused } = JSON.parse(await Deno.readTextFile(`${this.#folder.path}/status.json`));
    this.counts.droppedAtLast = refused.decrypt_budget;
    this.#readLog(server.lines);
  }

  /** Throws unless every promise was kept. */
  check(): void {
    assert.deepEqual(this.#mistakes, []);
    const twice = this.#forwarded.filter((name, index) => this.#forwarded.indexOf(name) !== index);
    assert.deepEqual(twice, [], "forwarded twice");
    const forbidden = this.#forwarded.filter((name) => this.#captured.get(name)?.isForbidden ?? true);
    assert.deepEqual(forbidden, [], "forwarded though not allowed");
    const refused = this.#forwarded.filter((name) => this.#refused.has(name));
    assert.deepEqual(refused, [], "forwarded though refused after authentication");
    this.counts.captured = this.#captured.size;
    this.counts.forwarded = this.#forwarded.length;
    this.counts.refusedAfterAuthentication = this.#refused.size;
  }

  async #knockRound(port: number): Promise<void> {
    for (const stem of ROUND) {
      const knocker = this.#knockers.get(stem);
      assert.ok(knocker !== undefined);
      const command = `knock ${this.#captured.size}`;
      const counter = knocker.nextCounter();
      const bytes = knocker.packet({ command, counter, destinationIp: LOOPBACK });
      const name = formatCommandHash(commandHash(command));
      const isForbidden = stem === "guest";
      this.#captured.set(name, { name, keyId: knocker.key.id, counter, bytes, isForbidden });
      await this.#peer.send(bytes, port);
    }
  }

  async #replayAll(port: number): Promise<void> {
    const packets = this.#random.shuffled([...this.#captured.values()]);
    for (let start = 0; start < packets.length; start += REPLAY_BATCH) {
      for (const { bytes } of packets.slice(start, start + REPLAY_BATCH)) {
        await this.#peer.send(bytes, port);
        this.counts.replays++;
      }
      await pause(REPLAY_PAUSE_MS);
    }
  }

  /** At this moment the floor must be on disk already, or a crash now would let the packet run again. */
  #onMessage(bytes: Uint8Array): void {
    if (bytes.length !== FORWARD_MESSAGE_BYTES) return;
    const name = formatCommandHash(decodeForwardMessage(bytes).commandHash);
    this.#forwarded.push(name);
    const packet = this.#captured.get(name);
    const floors = decodeFloors(Deno.readFileSync(`${this.#folder.path}/blocklist.msgpck`));
    if (packet === undefined) this.#mistakes.push(`forwarded ${name}, which nobody sent`);
    else if ((floors.get(packet.keyId) ?? -1n) < packet.counter) this.#mistakes.push(`floor below ${name}`);
    this.counts.floorsChecked++;
  }

  #readLog(lines: readonly { readonly fields: Readonly<Record<string, unknown>> }[]): void {
    for (const { fields } of lines) {
      const isSpent = SPENT_REASONS.some((reason) => reason === fields["reason"]);
      if (isSpent) this.#refused.add(String(fields["command"]).slice(1));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#peer[Symbol.dispose]();
    await this.#commander[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function addUp(lanes: readonly Counts[]): Counts {
  const sum = { ...lanes[0] } as Counts;
  for (const counts of lanes.slice(1)) {
    for (const name of Object.keys(sum) as (keyof Counts)[]) sum[name] += counts[name];
  }
  return sum;
}

Deno.test(
  `a server killed ${KILLS} times forwards no packet twice, and none that it refused after authentication`,
  { timeout: 180_000 },
  async () => {
    const random = new SeededRandom();
    await using opened = new AsyncDisposableStack();
    const lanes: Lane[] = [];
    for (let n = 0; n < LANES; n++) lanes.push(opened.use(await Lane.open(random)));
    await Promise.all(lanes.map(async (lane) => {
      for (let n = 0; n < KILLS / LANES; n++) await lane.round();
      await lane.lastRound();
    }));
    for (const lane of lanes) lane.check();
    const counts = addUp(lanes.map(({ counts }) => counts));
    report(`seed ${random.seed}: ${JSON.stringify(counts)}`);
    assert.equal(counts.kills, KILLS);
    // The test must not be able to pass by nothing happening.
    assert.ok(counts.forwarded > KILLS / 2, "too few forwards to mean anything");
    assert.ok(counts.refusedAfterAuthentication > KILLS / 4, "too few refusals to mean anything");
    assert.ok(counts.replays > 10 * counts.captured, "too few replays to mean anything");
    assert.equal(counts.floorsChecked, counts.forwarded);
    // Two passes, so the chance that a packet was dropped in both is the square of this.
    assert.ok(counts.droppedAtLast < 0.1 * 2 * counts.captured, "the last replays were not judged");
  },
);
