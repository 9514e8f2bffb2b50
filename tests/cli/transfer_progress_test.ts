/** The lines of the progress, and the speed in them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  cutName,
  fileLine,
  PlainProgress,
  type Snapshot,
  SpeedMeter,
  timeLeft,
  totalLine,
} from "../../src/cli/transfer_progress.ts";
import { holds } from "../property.ts";

const STATE: Snapshot = {
  doneBytes: 12_000_000,
  totalBytes: 120_000_000,
  doneFiles: 3,
  files: 10,
  bytesPerSecond: 3_100_000,
  current: { name: "photos/beach.jpg", doneBytes: 450_000, sizeBytes: 1_000_000 },
};

Deno.test("SpeedMeter knows the speed of the last seconds", () => {
  const meter = new SpeedMeter();
  assert.equal(meter.at(0), null);
  meter.add(0, 5_000_000);
  // What came before the first moment that is known says nothing about the time since.
  assert.equal(meter.at(500), null);
  meter.add(1000, 1_000_000);
  meter.add(2000, 3_000_000);
  assert.equal(meter.at(2000), 2_000_000);
  // Of the last 8 s: what came in the first second counts no more.
  assert.equal(meter.at(9000), 3_000_000 / 8);
  meter.add(11_000, 1_000_000);
  assert.equal(meter.at(11_000), 1_000_000 / 9);
  assert.equal(meter.at(30_000), null);
  meter.reset();
  assert.equal(meter.at(30_000), null);
});

Deno.test("SpeedMeter is right and steady where a sender hears once a second, and where a chunk takes 20 seconds", () => {
  const meter = new SpeedMeter();
  meter.add(0, 0);
  for (let atMs = 1000; atMs <= 60_000; atMs += 1000) {
    meter.add(atMs, 50_000);
    // What is told in between, ten times a second, has nothing new.
    for (let betweenMs = 100; betweenMs < 1000; betweenMs += 100) {
      meter.add(atMs + betweenMs, 0);
      const speed = meter.at(atMs + betweenMs) ?? 0;
      assert(speed > 40_000 / (1 + 1000 / atMs) && speed <= 57_000, `${speed} at ${atMs + betweenMs}`);
    }
  }
});

Deno.test("SpeedMeter of thousands of small files a second keeps few samples, and their sum", () => {
  const meter = new SpeedMeter();
  meter.add(0, 0);
  for (let atMs = 1; atMs <= 4000; atMs++) meter.add(atMs, 10);
  assert.equal(meter.at(4000), 10_000);
});

Deno.test("SpeedMeter falls while nothing comes", () => {
  const meter = new SpeedMeter();
  meter.add(0, 0);
  meter.add(1000, 1000);
  assert.equal(meter.at(1000), 1000);
  assert.equal(meter.at(4000), 250);
});

Deno.test("timeLeft() is unknown without a speed", () => {
  assert.equal(timeLeft({ ...STATE, bytesPerSecond: null }), null);
  assert.equal(timeLeft(STATE), "35 s");
  assert.equal(timeLeft({ ...STATE, doneBytes: STATE.totalBytes }), "0 s");
});

Deno.test("totalLine() has bar, percent, amounts, speed, time left and files where there is room", () => {
  assert.equal(
    totalLine(STATE, 120),
    "[===                           ]  10 %  12.0 MB of 120 MB  3.1 MB/s  ETA 35 s  3/10 files",
  );
  assert.equal(totalLine(STATE, 79), "[==                  ]  10 %  12.0 MB of 120 MB  3.1 MB/s  ETA 35 s");
  assert.equal(totalLine(STATE, 40), "[=         ]  10 %  3.1 MB/s  ETA 35 s");
  assert.equal(totalLine(STATE, 20), "[=         ]  10 %");
  assert.equal(totalLine(STATE, 8), " 10 %");
  const slow = { ...STATE, bytesPerSecond: null };
  assert(totalLine(slow, 80).endsWith("  12.0 MB of 120 MB  ETA -  3/10 files"), totalLine(slow, 80));
});

Deno.test("fileLine() has the end of a name that is too long, and nothing before there is a file", () => {
  assert.equal(fileLine(STATE, 80), "[=========           ]  45 %  1.0 MB  photos/beach.jpg");
  assert.equal(fileLine(STATE, 48), "[====      ]  45 %  1.0 MB  photos/beach.jpg");
  assert.equal(fileLine({ ...STATE, current: null }, 80), "");
  const evil = fileLine({ ...STATE, current: { name: "\x1b[2J", doneBytes: 0, sizeBytes: 0 } }, 80);
  assert(!evil.includes("\x1b"), evil);
});

/** What a terminal makes of a text at most: no character takes more than two columns. */
function mostColumns(text: string): number {
  return [...text].reduce((sum, each) => sum + (/^[\x20-\x7e]$/.test(each) ? 1 : 2), 0);
}

Deno.test("no line is as wide as the terminal, whatever the name and the amounts", () => {
  const amount = fc.integer({ min: 0, max: 2 ** 53 - 1 });
  const state = fc.record({
    doneBytes: amount,
    totalBytes: amount,
    doneFiles: fc.nat(100_000),
    files: fc.nat(100_000),
    bytesPerSecond: fc.option(fc.double({ min: 1e-3, max: 1e12, noNaN: true })),
    current: fc.record({
      name: fc.string({ unit: "grapheme", maxLength: 300 }),
      doneBytes: amount,
      sizeBytes: amount,
    }),
  });
  holds(fc.property(state, fc.integer({ min: 1, max: 200 }), (snapshot, columns) => {
    return [totalLine(snapshot, columns), fileLine(snapshot, columns)].every((line) =>
      mostColumns(line) < columns
    );
  }));
});

Deno.test("cutName() keeps what fits and the end of what does not", () => {
  assert.equal(cutName("beach.jpg", 9), "beach.jpg");
  assert.equal(cutName("beach.jpg", 8), "...h.jpg");
  assert.equal(cutName("海海海海", 8), "海海海海");
  assert.equal(cutName("海海海海", 7), "...海海");
});

Deno.test("PlainProgress prints a line each 10 % or 10 seconds, and none at the end", () => {
  let nowMs = 0;
  const lines: string[] = [];
  const view = new PlainProgress(() => nowMs, (line) => lines.push(line));
  const at = (doneBytes: number): void => view.changed(() => ({ ...STATE, doneBytes, totalBytes: 1000 }));
  for (let done = 0; done <= 1000; done++) at(done);
  assert.deepEqual(lines.map((line) => line.split(":")[0]), [
    "10 %",
    "20 %",
    "30 %",
    "40 %",
    "50 %",
    "60 %",
    "70 %",
    "80 %",
    "90 %",
  ]);
  assert.equal(lines[0], "10 %: 100 B of 1.0 kB, 3 of 10 files, 3.1 MB/s, 1 s left");

  lines.length = 0;
  const slow = new PlainProgress(() => nowMs, (line) => lines.push(line));
  for (nowMs = 0; nowMs <= 25_000; nowMs += 100) {
    slow.changed(() => ({ ...STATE, doneBytes: 5, totalBytes: 1000 }));
  }
  assert.equal(lines.length, 2);
});
