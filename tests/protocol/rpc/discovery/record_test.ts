import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatRecord,
  type LeasedRecord,
  MAX_RECORD_CHARACTERS,
  parseRecord,
  serviceName,
} from "../../../../src/protocol/rpc/discovery/record.ts";
import { holds } from "../../../property.ts";

const LEASED: LeasedRecord = {
  record: {
    name: "MATH",
    instance: "00112233445566778899aabbccddeeff",
    transport: "tcp",
    codec: "json",
    addresses: ["127.0.0.1:1337"],
    pid: 42,
    startTimeMs: 1_700_000_000_000,
  },
  leaseMs: 10_000,
  beat: 3,
  renewedAtMs: 1_700_000_005_000,
};
const TEXT = '{"version":1,"name":"MATH","instance":"00112233445566778899aabbccddeeff","transport":"tcp",' +
  '"codec":"json","addresses":["127.0.0.1:1337"],"pid":42,"startTimeMs":1700000000000,"leaseMs":10000,"beat":3,' +
  '"renewedAtMs":1700000005000}';

Deno.test("formatRecord() writes the documented text and parseRecord() reads it back", () => {
  assert.equal(formatRecord(LEASED), TEXT);
  assert.deepEqual(parseRecord(TEXT), LEASED);
});

Deno.test("parseRecord() refuses every field that is missing, of another type or out of bounds", () => {
  const fields: Record<string, unknown> = JSON.parse(TEXT);
  const wrong: Record<string, readonly unknown[]> = {
    version: [0, 2, "1"],
    name: ["", "../x", "a b", "a@b", "-a", ".a", "x".repeat(65), 7],
    instance: ["", "00", "0".repeat(33), "G".repeat(32), "../../../../../../etc/passwd0000"],
    transport: ["", "t p", 1, null],
    codec: ["", "a/b", "x".repeat(33)],
    addresses: [[], ["a\n"], [""], [1], "127.0.0.1:1", ["x".repeat(513)], Array(17).fill("a")],
    pid: [-1, 1.5, "1", null],
    startTimeMs: [-1, Number.MAX_VALUE, "x"],
    leaseMs: [0, -1, 3_600_001, 0.5],
    beat: [-1, 0.5, null],
    renewedAtMs: [-1, "0"],
  };
  assert.deepEqual(Object.keys(wrong), Object.keys(fields), "every field has its bad values");
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of [undefined, ...values]) {
      assert.equal(parseRecord(JSON.stringify({ ...fields, [field]: value })), null, `${field}: ${value}`);
    }
  }
});

Deno.test("parseRecord() gives null and never throws whatever the text", () => {
  holds(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    assert.equal(parseRecord(text), null);
  }));
  assert.equal(parseRecord(`${" ".repeat(MAX_RECORD_CHARACTERS)}${TEXT}`), null);
  assert.equal(parseRecord("[]"), null);
  assert.equal(parseRecord("null"), null);
});

Deno.test("formatRecord() refuses what parseRecord() would not read", () => {
  const record = { ...LEASED.record, addresses: [] };
  assert.throws(() => formatRecord({ ...LEASED, record }), TypeError);
  assert.throws(() => formatRecord({ ...LEASED, leaseMs: 0 }), TypeError);
});

Deno.test("serviceName() gives a name back as it is, or refuses it: it rewrites nothing", () => {
  for (const name of ["MATH", "math", "a", "0", "a.b-c_d", "CON", "x".repeat(64)]) {
    assert.equal(serviceName(name), name);
  }
  for (const name of ["", " MATH", "MATH ", "a/b", "a\\b", "..", ".a", "a@b", "ä", "a\0", "x".repeat(65)]) {
    assert.throws(() => serviceName(name), TypeError, JSON.stringify(name));
  }
});
