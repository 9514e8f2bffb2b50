import assert from "node:assert/strict";
import { LeaseBook } from "../../../../src/protocol/rpc/discovery/lease_book.ts";
import type { LeasedRecord } from "../../../../src/protocol/rpc/discovery/record.ts";

const LEASE_MS = 10_000, WALL_MS = 1_700_000_000_000, YEAR_MS = 365 * 86_400_000;

function leased(beat: number, renewedAtMs: number, instance = "0".repeat(32)): LeasedRecord {
  const record = {
    name: "MATH",
    instance,
    transport: "tcp",
    codec: "json",
    addresses: ["a"],
    pid: 1,
    startTimeMs: 0,
  };
  return { record, leaseMs: LEASE_MS, beat, renewedAtMs };
}

/** One row: what is seen, when by both clocks, and what it is held for. */
type Row = [beat: number, renewedAtMs: number, wallMs: number, monotonicMs: number, standing: string];

function plays(owner: "alive" | "gone" | "unknown", rows: readonly Row[]): void {
  const book = new LeaseBook();
  for (const [index, [beat, renewedAtMs, wallMs, monotonicMs, standing]] of rows.entries()) {
    assert.equal(
      book.judge(leased(beat, renewedAtMs), owner, { wallMs, monotonicMs }),
      standing,
      `row ${index}`,
    );
  }
}

Deno.test("a fresh record is live until its lease is over by the observer's own clock", () => {
  plays("unknown", [
    [0, WALL_MS, WALL_MS, 0, "live"],
    [0, WALL_MS, WALL_MS + 10_000, 10_000, "live"],
    [0, WALL_MS, WALL_MS + 10_001, 10_001, "dead"],
  ]);
});

Deno.test("a record that is renewed stays live, however long", () => {
  plays("unknown", [
    [0, WALL_MS, WALL_MS, 0, "live"],
    [1, WALL_MS + 5_000, WALL_MS + 5_000, 5_000, "live"],
    [2, WALL_MS + 10_000, WALL_MS + 14_000, 14_000, "live"],
    [3, WALL_MS + 15_000, WALL_MS + 23_000, 23_000, "live"],
  ]);
});

Deno.test("a crashed record from the future, as a clock set back makes it, is not believed and dies in one lease", () => {
  plays("unknown", [
    [7, WALL_MS + YEAR_MS, WALL_MS, 0, "doubtful"],
    [7, WALL_MS + YEAR_MS, WALL_MS + 9_000, 9_000, "doubtful"],
    [7, WALL_MS + YEAR_MS, WALL_MS + 10_001, 10_001, "dead"],
  ]);
});

Deno.test("a living record is found again after one renewal when the clock was set, back or forward", () => {
  for (const jumpMs of [-YEAR_MS, YEAR_MS]) {
    plays("unknown", [
      [7, WALL_MS, WALL_MS + jumpMs, 0, "doubtful"],
      [8, WALL_MS + jumpMs + 5_000, WALL_MS + jumpMs + 5_000, 5_000, "live"],
    ]);
    // Set while it is watched: not even that is noticed.
    plays("unknown", [
      [7, WALL_MS, WALL_MS, 0, "live"],
      [8, WALL_MS + 5_000, WALL_MS + 5_000, 5_000, "live"],
      [8, WALL_MS + 5_000, WALL_MS + 6_000 + jumpMs, 6_000, "live"],
      [9, WALL_MS + 10_000 + jumpMs, WALL_MS + 10_000 + jumpMs, 10_000, "live"],
    ]);
  }
});

Deno.test("a renewal at some time in a pause of the observer's is no sign of life now", () => {
  plays("unknown", [
    [0, WALL_MS, WALL_MS, 0, "live"],
    [9, WALL_MS + 45_000, WALL_MS + 3_600_000, 3_600_000, "doubtful"],
  ]);
});

Deno.test("a store that knows the owner is believed before any clock, but a standstill of a lease is not", () => {
  plays("gone", [[0, WALL_MS, WALL_MS, 0, "dead"]]);
  plays("alive", [
    [0, WALL_MS + YEAR_MS, WALL_MS, 0, "live"],
    [0, WALL_MS + YEAR_MS, WALL_MS, 10_000, "live"],
    [0, WALL_MS + YEAR_MS, WALL_MS, 10_001, "dead"],
    [1, WALL_MS + YEAR_MS, WALL_MS, 10_002, "live"],
  ]);
});

Deno.test("LeaseBook remembers a bounded number of instances", () => {
  const book = new LeaseBook();
  for (let i = 0; i < 5000; i++) {
    const instance = i.toString(16).padStart(32, "0");
    book.judge(leased(0, WALL_MS, instance), "unknown", { wallMs: WALL_MS, monotonicMs: 0 });
  }
  assert.equal(book.size, 4096);
});
