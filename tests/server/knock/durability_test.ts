/**
 * Judge, intake and floors file together, on a disk that fails at every step in turn and loses power at every
 * moment. Two promises are checked: never a forward without a durable floor, and never a floor lost.
 */
import assert from "node:assert/strict";
import type { ForwardMessage } from "../../../src/protocol/knock/forward_message.ts";
import { commandHash, formatCommandHash } from "../../../src/protocol/knock/command_hash.ts";
import { FloorsFile } from "../../../src/server/knock/floors_file.ts";
import { Intake } from "../../../src/server/knock/intake.ts";
import { Judge } from "../../../src/server/knock/judge.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeDisk, noFault } from "./fake_disk.ts";
import type { DiskFault } from "./fake_disk.ts";
import { report } from "./seeded.ts";
import { ELSEWHERE_IP, FakeClock, HOME_IP, Knocker, SERVER_IP } from "./knocks.ts";

const PATH = "/state/blocklist.msgpck";
const POWER_CUTS = ["least", "most"] as const;

/** One life of a server on a disk; its next life starts from what a power cut left. */
class Life {
  readonly forwarded: string[] = [];
  readonly #disk: FakeDisk;
  readonly #file: FloorsFile;
  readonly #judge: Judge;
  readonly intake: Intake;

  private constructor(disk: FakeDisk, file: FloorsFile, world: World) {
    this.#disk = disk;
    this.#file = file;
    this.#judge = new Judge({
      keys: world.knockers.map(({ key }, index) => ({
        stem: `key${index}`,
        key,
        allow: index === FORBIDDEN_KEY ? new Set<bigint>() : null,
        maxPacketAgeNs: 0n,
        notAfterMs: null,
      })),
      ips: new Set([SERVER_IP]),
      maxClockSkewNs: 3_600_000_000_000n,
      rates: { perPeer: 100_000, perKey: 100_000, global: 100_000 },
    }, { floors: file.floors, clock: world.clock, random: Math.random });
    this.intake = new Intake({
      commit: () => file.commit(),
      forward: (message) => this.#forward(message, world),
      log: new Log({ role: "server", format: "text", write: () => {} }),
      clock: world.clock,
    });
  }

  static async begin(disk: FakeDisk, world: World): Promise<Life> {
    const file = await FloorsFile.load(PATH, disk);
    await file.seed(world.knockers.map(({ key }) => key.id), world.clock.wallNs());
    return new Life(disk, file, world);
  }

  /** The heart: at the moment of the forward, a power cut must find the floor at or above the packet's counter. */
  #forward(message: ForwardMessage, world: World): boolean {
    const name = formatCommandHash(message.commandHash);
    const packet = world.packets.get(name);
    assert.ok(packet !== undefined);
    world.checks.push(assertDurable(this.#disk.afterPowerCut("least"), packet));
    this.forwarded.push(name);
    return true;
  }

  receive(packet: Uint8Array, peer: string): string {
    const verdict = this.#judge.receive(packet, peer);
    this.intake.take(verdict);
    return verdict.kind === "refused" ? verdict.reason : verdict.kind;
  }

  async commit(): Promise<void> {
    await this.#file.commit();
  }

  floors(): Map<bigint, bigint> {
    return this.#file.floors.snapshot();
  }
}

interface SentPacket {
  readonly keyId: bigint;
  readonly counter: bigint;
  readonly bytes: Uint8Array;
}

interface World {
  readonly clock: FakeClock;
  readonly knockers: readonly Knocker[];
  /** By command hash: each packet asks for a command of its own. */
  readonly packets: Map<string, SentPacket>;
  readonly checks: Promise<void>[];
}

const FORBIDDEN_KEY = 2;

async function assertDurable(disk: FakeDisk, packet: SentPacket): Promise<void> {
  const floor = (await FloorsFile.load(PATH, disk)).floors.get(packet.keyId) ?? -1n;
  assert.ok(floor >= packet.counter, "forwarded before the floor was durable");
}

/** Three keys: two knock in bursts, the third asks for what it may not run. */
function makeWorld(): World {
  return makeWorldOf(3, 9);
}

/** Packets made one millisecond after the floors will be, for the keys in turn. */
function makeWorldOf(keys: number, count: number): World {
  const clock = new FakeClock();
  const sent = (): bigint => clock.wallNs() + 1_000_000n;
  const knockers = Array.from({ length: keys }, () => new Knocker(sent));
  const packets = new Map<string, SentPacket>();
  for (let n = 0; n < count; n++) {
    const knocker = knockers[n % knockers.length];
    assert.ok(knocker !== undefined);
    const counter = knocker.nextCounter();
    const command = `command-${n}`;
    packets.set(formatCommandHash(commandHash(command)), {
      keyId: knocker.key.id,
      counter,
      bytes: knocker.packet({ command, counter }),
    });
  }
  return { clock, knockers, packets, checks: [] };
}

interface Outcome {
  readonly forwarded: readonly string[];
  readonly steps: number;
  readonly notDurable: number;
}

/**
 * Three bursts of three knocks while the fault is on, all replayed, then power cut, restart without fault and all
 * replayed again, twice.
 */
async function livesUnder(fault: DiskFault, kept: typeof POWER_CUTS[number]): Promise<Outcome> {
  const world = makeWorld();
  const disk = new FakeDisk();
  const first = await Life.begin(disk, world);
  const stepsOfStart = disk.steps.length;
  disk.fault = { when: fault.when, fails: (index, step) => fault.fails(index - stepsOfStart, step) };
  world.clock.advance(1000);
  const all = [...world.packets.values()];
  for (let burst = 0; burst < all.length; burst += 3) {
    for (const packet of all.slice(burst, burst + 3)) {
      assert.equal(first.receive(packet.bytes, HOME_IP), "spent");
    }
    await first.intake.settled();
  }
  // What was refused after authentication stays refused in this life, whatever became of its floor ...
  for (const packet of all) assert.equal(first.receive(packet.bytes, ELSEWHERE_IP), "replayed");
  await first.intake.settled();

  const second = await Life.begin(disk.afterPowerCut(kept), world);
  for (const packet of [...all, ...all]) second.receive(packet.bytes, ELSEWHERE_IP);
  await second.intake.settled();
  await Promise.all(world.checks);

  const ran = [...first.forwarded, ...second.forwarded];
  assert.equal(new Set(ran).size, ran.length, "a packet was forwarded twice");
  return {
    forwarded: ran,
    steps: disk.steps.length - stepsOfStart,
    notDurable: first.intake.refused.floor_not_durable,
  };
}

Deno.test("a burst is forwarded, the forbidden ones are not, and nothing runs again after a power cut", async () => {
  for (const kept of POWER_CUTS) {
    const { forwarded, notDurable } = await livesUnder(noFault, kept);
    assert.equal(forwarded.length, 6);
    assert.equal(notDurable, 0);
  }
});

Deno.test("no forward without a durable floor when each disk step fails in turn, before or after it acted", async () => {
  const { steps } = await livesUnder(noFault, "least");
  assert.ok(steps >= 15, `${steps} steps`);
  let withRefusals = 0;
  for (const kept of POWER_CUTS) {
    for (const when of ["before", "after"] as const) {
      for (let failing = 0; failing < steps; failing++) {
        const outcome = await livesUnder({ when, fails: (index) => index === failing }, kept);
        if (outcome.notDurable > 0) withRefusals++;
      }
    }
  }
  report(
    `${
      2 * POWER_CUTS.length * steps
    } faults, one at each of ${steps} disk steps: ${withRefusals} batches refused`,
  );
  // Each fault hits a commit: were the faults not injected, this would say so.
  assert.equal(withRefusals, 2 * POWER_CUTS.length * steps);
});

Deno.test("no forward without a durable floor when the disk fails from some step on", async () => {
  const { steps } = await livesUnder(noFault, "least");
  let outages = 0;
  for (const kept of POWER_CUTS) {
    for (const when of ["before", "after"] as const) {
      for (let failing = 0; failing < steps; failing++) {
        const outcome = await livesUnder({ when, fails: (index) => index >= failing }, kept);
        assert.ok(outcome.notDurable > 0);
        outages++;
      }
    }
  }
  report(`${outages} outages, from each of ${steps} disk steps on`);
});

Deno.test("a floor raised while the disk failed is on the platter after the first commit that works", async () => {
  const world = makeWorld();
  const disk = new FakeDisk();
  const life = await Life.begin(disk, world);
  disk.fault = { when: "before", fails: () => true };
  world.clock.advance(1000);
  for (const packet of world.packets.values()) life.receive(packet.bytes, HOME_IP);
  await life.intake.settled();
  assert.equal(life.forwarded.length, 0);
  assert.equal(life.intake.refused.floor_not_durable, world.packets.size);
  disk.fault = noFault;
  await life.commit();
  const after = await FloorsFile.load(PATH, disk.afterPowerCut("least"));
  assert.deepEqual(after.floors.snapshot(), life.floors());
});

Deno.test("packets refused after authentication never run in a later life that would allow them", async () => {
  const world = makeWorld();
  const disk = new FakeDisk();
  const life = await Life.begin(disk, world);
  world.clock.advance(1000);
  for (const packet of world.packets.values()) life.receive(packet.bytes, HOME_IP);
  await life.intake.settled();
  assert.equal(life.intake.refused.command_not_allowed, 3);
  // Key 2 is at index 0 now, where everything is allowed.
  const turned = { ...world, knockers: world.knockers.toReversed() };
  const next = await Life.begin(disk.afterPowerCut("least"), turned);
  for (const packet of world.packets.values()) assert.equal(next.receive(packet.bytes, HOME_IP), "replayed");
  await next.intake.settled();
  assert.deepEqual(next.forwarded, []);
});

Deno.test("a burst of knocks for many keys costs two fsyncs of the file, not one each", async () => {
  const world = makeWorldOf(50, 50);
  const disk = new FakeDisk();
  const life = await Life.begin(disk, world);
  const before = disk.count("sync");
  world.clock.advance(1000);
  for (const packet of world.packets.values()) assert.equal(life.receive(packet.bytes, HOME_IP), "spent");
  await life.intake.settled();
  assert.equal(life.forwarded.length, 49);
  assert.ok(disk.count("sync") - before <= 2, `${disk.count("sync") - before} fsyncs`);
  await Promise.all(world.checks);
});
