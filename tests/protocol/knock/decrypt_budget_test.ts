import assert from "node:assert/strict";
import fc from "fast-check";
import { type IpAddress, parseIp } from "../../../src/protocol/knock/address.ts";
import { type DecryptAdmission, DecryptBudget } from "../../../src/protocol/knock/decrypt_budget.ts";
import { holds } from "../../property.ts";

const A = 1n;
const B = 2n;
const home = parseIp("192.0.2.7");

// One key or two: 1000 decryptions per second each, 500 per lane, which is 10 in each slice of 20 ms.
const PER_SLICE = 10;
const SLICE_MS = 20;
const LANE_PER_SECOND = 500;

/** A small random generator with a fixed seed (mulberry32), so that the statistics come out the same each time. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = state + 0x6d2b79f5 | 0;
    let mixed = Math.imul(state ^ state >>> 15, 1 | state);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

function forged(random: () => number): IpAddress {
  const octet = (): number => Math.floor(random() * 256);
  return parseIp(`10.${octet()}.${octet()}.${octet()}`);
}

/** A budget with its clock and its caller, who opens what it lets through and collects what is due. */
class Bench {
  readonly random = seededRandom(2);
  readonly budget: DecryptBudget<string>;
  readonly openedAtMs = new Map<string, number[]>();
  nowMs = 0;

  constructor(keyIds: readonly bigint[] = [A, B], totalPerSecond = 4000) {
    this.budget = new DecryptBudget({ keyIds, totalPerSecond, random: this.random });
  }

  get opened(): number {
    return [...this.openedAtMs.values()].reduce((sum, times) => sum + times.length, 0);
  }

  timesOf(name: string): number[] {
    return this.openedAtMs.get(name) ?? [];
  }

  arrive(keyId: bigint, peer: IpAddress, name: string): DecryptAdmission {
    const admission = this.budget.admit(keyId, peer, () => name, this.nowMs);
    if (admission === "open") {
      this.open(name);
    }
    return admission;
  }

  advanceTo(untilMs: number): void {
    for (;;) {
      const dueMs = this.budget.nextDueMs();
      if (dueMs === null || dueMs > untilMs) {
        break;
      }
      this.nowMs = Math.max(this.nowMs, dueMs);
      this.budget.due(this.nowMs).forEach((name) => this.open(name));
    }
    this.nowMs = untilMs;
  }

  /** Arrivals of `flood` at an even rate, with one from `victim` at each of the given times. */
  run(
    untilMs: number,
    perSecond: number,
    flood: () => void,
    victim: () => void = () => {},
    everyMs = Infinity,
  ): void {
    let nextVictimMs = this.nowMs + everyMs / 2;
    for (let atMs = this.nowMs; atMs < untilMs; atMs += 1000 / perSecond) {
      if (nextVictimMs <= atMs) {
        this.advanceTo(nextVictimMs);
        victim();
        nextVictimMs += everyMs;
      }
      this.advanceTo(atMs);
      flood();
    }
    this.advanceTo(untilMs);
  }

  private open(name: string): void {
    this.openedAtMs.set(name, [...this.timesOf(name), this.nowMs]);
  }
}

Deno.test("calm traffic opens at once", () => {
  const bench = new Bench();
  bench.run(10_000, LANE_PER_SECOND * 0.9, () => {
    assert.equal(bench.arrive(A, forged(bench.random), "calm"), "open");
  });
  assert.equal(bench.budget.nextDueMs(), null);
});

Deno.test("a slice's first packets open at once, the next wait for its end, the rest are drawn lots for", () => {
  const bench = new Bench();
  const admissions = Array.from({ length: 3 * PER_SLICE }, (_, i) => bench.arrive(A, home, `packet ${i}`));
  assert.deepEqual(admissions.slice(0, PER_SLICE), Array(PER_SLICE).fill("open"));
  assert.deepEqual(admissions.slice(PER_SLICE, 2 * PER_SLICE), Array(PER_SLICE).fill("held"));
  const last = admissions.slice(2 * PER_SLICE);
  assert.equal(last.filter((one) => one === "held").length, bench.budget.droppedCount);
  assert.deepEqual(new Set(last), new Set(["held", "dropped"]));
  assert.equal(bench.budget.nextDueMs(), SLICE_MS);
  assert.deepEqual(bench.budget.due(SLICE_MS - 0.001), []);
  assert.equal(bench.budget.due(SLICE_MS).length, PER_SLICE);
  assert.equal(bench.budget.nextDueMs(), null);
});

Deno.test("after a flood the lane is calm again once a slice stays within the allowance", () => {
  const bench = new Bench();
  bench.run(1000, 50_000, () => bench.arrive(A, home, "flood"));
  bench.advanceTo(1005);
  assert.equal(bench.arrive(A, home, "in the first slice after it"), "held");
  bench.advanceTo(1025);
  assert.deepEqual(bench.timesOf("in the first slice after it"), [1020]);
  assert.equal(bench.arrive(A, home, "in the next"), "open");
});

Deno.test("a flood from unknown sources never costs more than the budget", () => {
  const bench = new Bench();
  bench.run(5000, 80_000, () => bench.arrive(A, forged(bench.random), "flood"));
  const times = bench.timesOf("flood");
  assert(times.length <= 5 * LANE_PER_SECOND + PER_SLICE, `${times.length} opened`);
  assert(times.length >= 5 * LANE_PER_SECOND * 0.95, `${times.length} opened`);
  for (const [i, startMs] of times.entries()) {
    const inOneSecond = times.slice(i).findIndex((atMs) => atMs >= startMs + 1000);
    assert(inOneSecond <= LANE_PER_SECOND + PER_SLICE);
  }
});

Deno.test("no slice lets more through than its allowance, however arrivals and collections fall", () => {
  const act = fc.record({
    waitMs: fc.constantFrom(0, 0, 0, 0.5, 3, 19, 20, 21, 77),
    arrivals: fc.nat(25),
    collect: fc.boolean(),
  });
  holds(
    fc.property(fc.array(act, { maxLength: 80 }), (acts) => {
      const budget = new DecryptBudget<string>({ keyIds: [A], random: seededRandom(3) });
      const perSlice = new Map<number, number>();
      let nowMs = 0;
      const count = (opened: number): void => {
        const slice = Math.floor(nowMs / SLICE_MS);
        perSlice.set(slice, (perSlice.get(slice) ?? 0) + opened);
      };
      for (const { waitMs, arrivals, collect } of acts) {
        nowMs += waitMs;
        count(collect ? budget.due(nowMs).length : 0);
        for (let i = 0; i < arrivals; i++) {
          count(budget.admit(A, home, () => "item", nowMs) === "open" ? 1 : 0);
        }
      }
      assert(Math.max(0, ...perSlice.values()) <= PER_SLICE);
    }),
    { numRuns: 300 },
  );
});

Deno.test("every arrival is opened, held or dropped, and every held one is due or counted as dropped", () => {
  const bench = new Bench();
  const admissions = { open: 0, held: 0, dropped: 0 };
  bench.run(3000, 3000, () => admissions[bench.arrive(A, forged(bench.random), "packet")]++);
  bench.advanceTo(3100);
  assert(admissions.open > 0 && admissions.held > 0 && admissions.dropped > 0);
  assert.equal(bench.opened, admissions.open + admissions.held - bench.budget.droppedCount);
});

Deno.test("in a contested slice each arrival has the same chance, whenever it comes", () => {
  const bench = new Bench();
  const arrivals = 100;
  const slices = 4000;
  const drawn = new Array<number>(arrivals).fill(0);
  for (let slice = 0; slice < slices + 1; slice++) {
    for (let i = 0; i < arrivals; i++) {
      bench.budget.admit(A, home, () => String(i), slice * SLICE_MS + i * SLICE_MS / arrivals);
    }
    const items = bench.budget.due((slice + 1) * SLICE_MS);
    assert.equal(items.length, PER_SLICE);
    if (slice > 0) { // the first slice starts calm
      items.forEach((place) => drawn[Number(place)] = (drawn[Number(place)] ?? 0) + 1);
    }
  }
  const expected = slices * PER_SLICE / arrivals;
  const chiSquare = drawn.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  assert(
    chiSquare < 149,
    `chi-square ${chiSquare} with 99 degrees of freedom; 149 is passed once in 1000 runs`,
  );
});

Deno.test("while nobody collects, the slice goes on and late arrivals compete with the early ones", () => {
  const random = seededRandom(4);
  const drawn = { early: 0, late: 0 };
  for (let run = 0; run < 2000; run++) {
    const budget = new DecryptBudget<"early" | "late">({ keyIds: [A], random });
    for (let i = 0; i < PER_SLICE + 30; i++) {
      budget.admit(A, home, () => "early", 1);
    }
    for (let i = 0; i < 30; i++) {
      budget.admit(A, home, () => "late", 3.5 * SLICE_MS);
    }
    assert.equal(budget.nextDueMs(), SLICE_MS);
    const items = budget.due(3.6 * SLICE_MS);
    assert.equal(items.length, PER_SLICE);
    items.forEach((when) => drawn[when]++);
  }
  const share = drawn.early / (drawn.early + drawn.late);
  assert(Math.abs(share - 0.5) < 0.015, `${share} of those drawn were early, half of the candidates`); // 4 sigma
});

Deno.test("a known address is served at once while forged sources flood its key", () => {
  const bench = new Bench();
  bench.budget.authenticated(A, home, 0);
  let knocks = 0;
  bench.run(5000, 80_000, () => bench.arrive(A, forged(bench.random), "flood"), () => {
    knocks++;
    assert.equal(bench.arrive(A, home, "knock"), "open");
  }, 250);
  assert.equal(knocks, 20);
  assert.equal(bench.timesOf("knock").length, knocks);
});

Deno.test("an unknown address that repeats its knock gets through a flood, at the flood's odds", () => {
  const bench = new Bench();
  let knocks = 0;
  bench.run(20_000, 5000, () => bench.arrive(A, forged(bench.random), "flood"), () => {
    knocks++;
    bench.arrive(A, home, "knock");
  }, 100);
  const share = bench.timesOf("knock").length / knocks;
  assert(share > 0.05 && share < 0.2, `${share} of ${knocks}, where 500 of 5000 per second are opened`);
});

Deno.test("a flood that forges the victim's own address leaves him a fair chance and locks nobody else out", () => {
  const bench = new Bench();
  const neighbour = parseIp("192.0.2.8");
  bench.budget.authenticated(A, home, 0);
  let turn = 0;
  bench.run(20_000, 2500, () => bench.arrive(A, home, "forged"), () => {
    turn++;
    bench.arrive(A, home, "victim");
    assert.equal(bench.arrive(A, neighbour, "neighbour"), "open");
  }, 100);
  const share = bench.timesOf("victim").length / turn;
  assert(share > 0.12 && share < 0.3, `${share} of ${turn}, where 500 of 2500 per second are opened`);
});

Deno.test("bursts at each slice's start, which keep the lane calm, cannot starve a knock", () => {
  const bench = new Bench();
  for (let slice = 0; slice < 50; slice++) {
    bench.advanceTo(slice * SLICE_MS);
    for (let i = 0; i < PER_SLICE; i++) {
      bench.arrive(A, forged(bench.random), "burst");
    }
    bench.advanceTo(slice * SLICE_MS + 10);
    bench.arrive(A, home, `knock ${slice}`);
  }
  bench.advanceTo(2000);
  const served = Array.from({ length: 50 }, (_, slice) => bench.timesOf(`knock ${slice}`).length);
  assert(served.filter((times) => times === 1).length >= 40, served.join(""));
});

Deno.test("a flood with one key's id changes nothing for another key", () => {
  const bench = new Bench();
  let knocks = 0;
  bench.run(5000, 80_000, () => bench.arrive(A, forged(bench.random), "flood"), () => {
    knocks++;
    assert.equal(bench.arrive(B, forged(bench.random), "knock"), "open");
  }, 50);
  assert.equal(knocks, 100);
});

Deno.test("an address is known for the key that it authenticated with, and for no other", () => {
  const bench = new Bench();
  bench.budget.authenticated(B, home, 0);
  bench.run(1000, 50_000, () => bench.arrive(A, forged(bench.random), "flood"), () => {
    assert.notEqual(bench.arrive(A, home, "knock"), "open");
  }, 250);
});

Deno.test("a packet with an id that is no key's is dropped, and so is every one without keys", () => {
  const bench = new Bench();
  assert.equal(bench.arrive(3n, home, "packet"), "dropped");
  bench.budget.setKeys([]);
  assert.equal(bench.arrive(A, home, "packet"), "dropped");
  bench.budget.authenticated(A, home, 0); // nothing to remember it for
});

Deno.test("memory is bounded although nobody collects: two allowances for each key", () => {
  const bench = new Bench();
  bench.budget.authenticated(A, home, 0);
  for (let i = 0; i < 300_000; i++) {
    bench.nowMs = i / 100;
    bench.budget.admit(A, i % 2 === 0 ? home : forged(bench.random), () => "item", bench.nowMs);
  }
  assert(bench.budget.due(bench.nowMs + 100).length <= 2 * PER_SLICE);
  assert.equal(bench.budget.nextDueMs(), null);
});

Deno.test("a dropped packet costs no copy", () => {
  const bench = new Bench();
  let copies = 0;
  let kept = 0;
  for (let i = 0; i < 10_000; i++) {
    const admission = bench.budget.admit(A, home, () => `copy ${copies++}`, 0);
    kept += admission === "held" ? 1 : 0;
  }
  assert.equal(copies, kept);
  assert(copies < 200, `${copies} copies of 10000`);
});

Deno.test("setKeys() keeps the known addresses of keys that stay and forgets those of keys that went", () => {
  const bench = new Bench();
  bench.budget.authenticated(A, home, 0);
  bench.budget.authenticated(B, home, 0);
  bench.budget.setKeys([A]);
  bench.budget.setKeys([A, B]);
  for (const keyId of [A, B]) {
    for (let i = 0; i < 100; i++) {
      bench.arrive(keyId, forged(bench.random), "flood");
    }
  }
  assert.equal(bench.arrive(A, home, "knock"), "open");
  assert.notEqual(bench.arrive(B, home, "knock"), "open");
});

Deno.test("setKeys() drops and counts what was held for a key that went, and keeps the rest due", () => {
  const bench = new Bench();
  for (let i = 0; i < 2 * PER_SLICE; i++) {
    bench.arrive(A, home, "of A");
    bench.arrive(B, home, "of B");
  }
  bench.budget.setKeys([B]);
  assert.equal(bench.budget.droppedCount, PER_SLICE);
  bench.advanceTo(100);
  assert.equal(bench.timesOf("of A").length, PER_SLICE);
  assert.equal(bench.timesOf("of B").length, 2 * PER_SLICE);
});

for (
  const [keys, perKey] of [[1, 1000], [4, 1000], [7, 571], [64, 62], [100, 40], [150, 26], [200, 20], [
    1000,
    20,
  ]] as const
) {
  Deno.test(`with ${keys} keys each has ${perKey} decryptions a second, half of them for each lane`, () => {
    const bench = new Bench(Array.from({ length: keys }, (_, i) => BigInt(i)));
    bench.budget.authenticated(0n, home, 0);
    bench.run(10_000, 4000, () => {
      bench.arrive(0n, forged(bench.random), "stranger");
      bench.arrive(0n, home, "known");
    });
    for (const lane of ["stranger", "known"]) {
      const perSecond = bench.timesOf(lane).length / 10;
      assert(Math.abs(perSecond - perKey / 2) <= 1, `${perSecond} a second for ${lane}`);
    }
  });
}

Deno.test("with the smallest budget a calm knock still opens at once", () => {
  const bench = new Bench(Array.from({ length: 1000 }, (_, i) => BigInt(i)));
  for (let knock = 0; knock < 20; knock++) {
    bench.advanceTo(knock * 101);
    assert.equal(bench.arrive(7n, home, "knock"), "open");
  }
});

Deno.test("due() gives each lane's items at its own time when many keys are flooded", () => {
  const keyIds = Array.from({ length: 300 }, (_, i) => BigInt(i));
  const bench = new Bench(keyIds);
  bench.run(1050, 60_000, () => bench.arrive(BigInt(Math.floor(bench.random() * 300)), home, "flood"));
  assert.equal(bench.budget.nextDueMs(), 1100);
  assert(Math.abs(bench.opened - 300 * 10) <= 300, `${bench.opened} opened for 300 keys in a second`);
});

Deno.test("due() gives what was drawn in the order of arrival, over both lanes of all keys", () => {
  const budget = new DecryptBudget<number>({ keyIds: [A, B], random: seededRandom(7) });
  // The network of `home` is known to A, so its packets go by the other lane than those of strangers.
  budget.authenticated(A, home, 0);
  const stranger = parseIp("10.0.0.1");
  let mixedDraws = 0;
  for (let slice = 0; slice < 50; slice++) {
    const nowMs = slice * SLICE_MS;
    for (let n = 0; n < 8 * PER_SLICE; n++) {
      const arrival = slice * 1000 + n;
      budget.admit(n % 3 === 0 ? B : A, n % 2 === 0 ? home : stranger, () => arrival, nowMs);
    }
    const drawn = budget.due(nowMs + SLICE_MS);
    assert.deepEqual(drawn, drawn.toSorted((a, b) => a - b));
    if (drawn.length > 2 * PER_SLICE) mixedDraws++;
  }
  assert(mixedDraws > 20, `${mixedDraws} draws of more than two lanes`);
});
