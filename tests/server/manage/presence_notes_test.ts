import assert from "node:assert/strict";
import type { Journal } from "../../../src/server/manage/journal.ts";
import { PresenceNotes } from "../../../src/server/manage/presence_notes.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";

function notes(timers: FakeTimers, isFull = (): boolean => false): {
  presence: PresenceNotes;
  batches: number[];
  failures: string[];
  written: () => number;
} {
  const batches: number[] = [], failures: string[] = [];
  let told = 0, count = 0;
  const registry = {
    batch<T>(act: () => T): T {
      if (isFull()) throw new Error("the disk is full");
      const before = count;
      const result = act();
      batches.push(count - before);
      return result;
    },
  };
  const journal = { failed: (what: string) => void failures.push(what) } as unknown as Journal;
  const presence = new PresenceNotes(registry, journal, timers, () => told++);
  const add = presence.add.bind(presence);
  presence.add = (note) =>
    add(() => {
      count++;
      note();
    });
  return { presence, batches, failures, written: () => told };
}

Deno.test("PresenceNotes writes many at once, in order, and tells when they can be read", async () => {
  const timers = new FakeTimers();
  const { presence, batches, written } = notes(timers);
  const order: number[] = [];
  for (let i = 0; i < 10; i++) presence.add(() => void order.push(i));
  assert.deepEqual([order, written()], [[], 0]);
  await timers.pass(100);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual([batches, written()], [[10], 1]);
  assert.equal(timers.pending, 0);
});

Deno.test("PresenceNotes gathers no more than a bounded number", () => {
  const timers = new FakeTimers();
  const { presence, batches } = notes(timers);
  for (let i = 0; i < 1_200; i++) presence.add(() => {});
  assert.deepEqual(batches, [500, 500]);
  presence.flush();
  assert.deepEqual(batches, [500, 500, 200]);
  assert.equal(timers.pending, 0);
});

Deno.test("PresenceNotes gives up what a full disk does not take, and goes on when there is room", async () => {
  const timers = new FakeTimers();
  let isFull = true;
  const { presence, batches, failures } = notes(timers, () => isFull);
  presence.add(() => {});
  await timers.pass(100);
  assert.deepEqual([batches, failures], [[], ["presence of hosts not written"]]);
  isFull = false;
  presence.add(() => {});
  await timers.pass(100);
  assert.deepEqual([batches, failures.length], [[1], 1]);
});
