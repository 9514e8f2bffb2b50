import assert from "node:assert/strict";
import fc from "fast-check";
import { ReplayFloors } from "../../../src/protocol/knock/replay.ts";
import { holds } from "../../property.ts";
import { MAX_U128, u128 } from "./arbitraries.ts";

type Step = readonly [
  act: "check" | "raise" | "seed",
  keyId: bigint,
  counter: bigint,
  outcome: string | boolean,
];

const script: readonly Step[] = [
  ["check", 1n, 100n, "replayed"], // equal to the floor
  ["check", 1n, 99n, "replayed"],
  ["check", 1n, 0n, "replayed"],
  ["check", 1n, 101n, "fresh"],
  ["check", 1n, 101n, "fresh"], // looking spends nothing
  ["raise", 1n, 105n, "done"],
  ["check", 1n, 105n, "replayed"],
  ["check", 1n, 101n, "replayed"], // overtaken: what was never spent itself is gone too
  ["raise", 1n, 105n, "RangeError"],
  ["raise", 1n, 104n, "RangeError"],
  ["raise", 1n, -1n, "RangeError"],
  ["check", 1n, 106n, "fresh"],
  ["check", 2n, 106n, "no_floor"], // another key
  ["check", 2n, MAX_U128, "no_floor"],
  ["raise", 2n, 106n, "RangeError"], // nothing to verify against is not a floor of zero
  ["seed", 2n, 50n, true],
  ["seed", 2n, 60n, false],
  ["seed", 2n, 40n, false],
  ["check", 2n, 50n, "replayed"],
  ["check", 2n, 51n, "fresh"],
  ["seed", 1n, 1n, false],
  ["check", 1n, 105n, "replayed"],
  ["raise", 1n, MAX_U128, "done"],
  ["check", 1n, MAX_U128, "replayed"],
  ["raise", 1n, MAX_U128 + 1n, "RangeError"],
  ["seed", 3n, MAX_U128 + 1n, "RangeError"],
  ["seed", 3n, 0n, true],
  ["check", 3n, 0n, "replayed"],
];

function play(floors: ReplayFloors, [act, keyId, counter]: Step): string | boolean {
  try {
    switch (act) {
      case "check":
        return floors.check(keyId, counter);
      case "seed":
        return floors.seedIfAbsent(keyId, counter);
      case "raise":
        floors.raise(keyId, counter);
        return "done";
    }
  } catch (error) {
    return (error as Error).name;
  }
}

Deno.test("ReplayFloors follows the script", () => {
  const floors = new ReplayFloors(new Map([[1n, 100n]]));
  for (const [i, step] of script.entries()) {
    assert.equal(play(floors, step), step[3], `step ${i}: ${step.join(" ")}`);
  }
  assert.deepEqual(floors.snapshot(), new Map([[1n, MAX_U128], [2n, 50n], [3n, 0n]]));
});

Deno.test("generation grows with each change and with nothing else", () => {
  const floors = new ReplayFloors(new Map([[1n, 100n]]));
  const before = floors.generation;
  const changes = script.filter((step) => {
    const generation = floors.generation;
    play(floors, step);
    return floors.generation === generation + 1;
  });
  assert.equal(floors.generation - before, changes.length);
  assert.deepEqual(
    changes,
    script.filter(([act, , , outcome]) => act !== "check" && [true, "done"].includes(outcome)),
  );
});

Deno.test("snapshot() and the initial map are copies", () => {
  const initial = new Map([[1n, 100n]]);
  const floors = new ReplayFloors(initial);
  const snapshot = floors.snapshot();
  floors.raise(1n, 200n);
  initial.set(1n, 0n);
  snapshot.clear();
  assert.equal(floors.get(1n), 200n);
  assert.equal(floors.get(2n), undefined);
});

Deno.test("check() never calls a counter fresh twice if each fresh one is spent", () => {
  holds(
    fc.property(
      fc.array(fc.oneof(u128(), fc.bigInt({ min: 0n, max: 20n })), { maxLength: 60 }),
      (counters) => {
        const floors = new ReplayFloors(new Map([[1n, 0n]]));
        const spent: bigint[] = [];
        for (const counter of counters) {
          if (floors.check(1n, counter) === "fresh") {
            floors.raise(1n, counter);
            spent.push(counter);
          }
        }
        assert.deepEqual(spent, [...new Set(spent)].sort((a, b) => a < b ? -1 : 1));
        assert.equal(floors.get(1n), spent.at(-1) ?? 0n);
      },
    ),
  );
});
