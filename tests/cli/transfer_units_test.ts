/** Sizes and times as people say them. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatBytes,
  formatCount,
  formatSpeed,
  formatTime,
  percentOf,
} from "../../src/cli/transfer_units.ts";
import { parse } from "../../src/cli/parse.ts";
import { holds } from "../property.ts";

Deno.test("formatBytes() has three digits that count and the unit that fits", () => {
  const cases: readonly [number, string][] = [
    [0, "0 B"],
    [1, "1 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [12_345, "12.3 kB"],
    [99_949, "99.9 kB"],
    [123_456, "123 kB"],
    [999_499, "999 kB"],
    [999_500, "1.0 MB"],
    [4_294_967_296, "4.3 GB"],
    [2 ** 50, "1.1 PB"],
    [-1, "0 B"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
  assert.equal(formatSpeed(3_140_000), "3.1 MB/s");
});

Deno.test("formatBytes() is never longer than 8 characters, nor more than 6 % off", () => {
  const factor: Record<string, number> = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15 };
  holds(fc.property(fc.maxSafeNat(), (bytes) => {
    const text = formatBytes(bytes);
    const [amount = "", unit = ""] = text.split(" ");
    const said = Number(amount) * (factor[unit] ?? NaN);
    return text.length <= 8 && Math.abs(said - bytes) <= 0.06 * bytes;
  }));
});

Deno.test("formatTime() says what matters", () => {
  const cases: readonly [number, string][] = [
    [0, "0 s"],
    [420, "0.4 s"],
    [2000, "2 s"],
    [9960, "10 s"],
    [12_300, "12 s"],
    [60_000, "1 min"],
    [200_000, "3 min 20 s"],
    [3_600_000, "60 min"],
    [7_500_000, "2 h 5 min"],
    [-5, "0 s"],
  ];
  for (const [ms, text] of cases) assert.equal(formatTime(ms), text);
});

Deno.test("--wait and --grace take hours, as people type them", async () => {
  const request = await parse("client share a --relay h:1 --wait 8h --grace 2m".split(" "));
  assert(request.kind === "command");
  assert.equal(request.values.number("wait"), 8 * 3_600_000);
  assert.equal(request.values.number("grace"), 120_000);
  await assert.rejects(parse("client share a --wait 25h".split(" ")), /found "25h", accepted: .* to 24h/);
});

Deno.test("formatCount() knows one from many, and percentOf() says 100 only at the end", () => {
  assert.equal(formatCount(1, "file"), "1 file");
  assert.equal(formatCount(0, "file"), "0 files");
  assert.equal(formatCount(1000, "file"), "1,000 files");
  assert.equal(percentOf(999_999, 1_000_000), 99);
  assert.equal(percentOf(1_000_000, 1_000_000), 100);
  assert.equal(percentOf(0, 0), 100);
});
