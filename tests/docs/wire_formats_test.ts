import { sha256 } from "@noble/hashes/sha2.js";
import assert from "node:assert/strict";
import { RecordOpener, RecordSealer } from "../../src/protocol/record/record.ts";
import { call, contract, stream } from "../../src/protocol/rpc/contract.ts";
import { encodeCallError } from "../../src/protocol/rpc/error_body.ts";
import { ApplicationError, CALL_ERROR_NUMBERS, CLOSE_REASON_NUMBERS } from "../../src/protocol/rpc/errors.ts";
import { FRAME_KINDS, type FrameKind } from "../../src/protocol/rpc/frame.ts";
import { frameBodyLimit, frameFields } from "../../src/protocol/rpc/frame_rules.ts";
import { FrameWriter } from "../../src/protocol/rpc/frame_writer.ts";
import { encodeHello, parseHello } from "../../src/protocol/rpc/hello.ts";
import { view } from "../../src/protocol/rpc/view_codec.ts";
import { ARRAY_TYPES, VIEW_TYPES } from "../../src/protocol/rpc/view_format.ts";
import { joined, readAll } from "../protocol/rpc/byte_stream.ts";
import { byHand, table, wireFormats } from "./wire_formats_page.ts";

const math = contract({ add: call(), ticks: stream() });

function sameNames(rows: readonly string[][], numbers: Readonly<Record<string, number>>): void {
  assert.deepEqual(rows.map(([number, name]) => [name, Number(number)]), Object.entries(numbers));
}

Deno.test("docs/wire-formats.md shows frames that are written and read as it says", () => {
  const bytes = byHand("frames");
  const writer = new FrameWriter({ maxBodyBytes: 100 });
  writer.add(FRAME_KINDS.call, 2, 1, 500, JSON.stringify({ a: 1, b: 2 }));
  writer.add(FRAME_KINDS.reply, 0, 1, 0, "3");
  writer.add(FRAME_KINDS.close, 0, 0, CLOSE_REASON_NUMBERS.normal, null);
  assert.equal(joined(writer.take()).toHex(), bytes.toHex());
  const { frames, refusal } = readAll(bytes, [5]);
  assert.deepEqual(frames.map(({ kind }) => kind), [FRAME_KINDS.call, FRAME_KINDS.reply, FRAME_KINDS.close]);
  assert.equal(refusal, null);
});

Deno.test("docs/wire-formats.md names every kind of frame with its fields and limit", () => {
  const rows = table("RPC: frame", "kind");
  sameNames(rows, FRAME_KINDS);
  for (const [kind = "", name = "", , fields = "", limit = ""] of rows) {
    const bits = ["method", "id", "value"].map((field, i) => fields.split(", ").includes(field) ? 1 << i : 0);
    assert.equal(frameFields(Number(kind)), bits.reduce((sum, bit) => sum + bit), name);
    const expected = limit === "what the side told" ? 12_345 : Number(limit);
    assert.equal(frameBodyLimit(FRAME_KINDS[name as FrameKind], 12_345), expected, name);
  }
});

Deno.test("docs/wire-formats.md shows an error frame, and names every code and reason", () => {
  const { value, body } = encodeCallError(new ApplicationError("out_of_stock", "nothing left"));
  const writer = new FrameWriter({ maxBodyBytes: 100 });
  writer.add(FRAME_KINDS.error, 0, 3, value, body);
  assert.equal(joined(writer.take()).toHex(), byHand("error").toHex());
  sameNames(table("RPC: errors", "number"), CALL_ERROR_NUMBERS);
  sameNames(table("RPC: reasons for closing", "number"), CLOSE_REASON_NUMBERS);
});

Deno.test("docs/wire-formats.md shows a contract's hash and a hello", () => {
  const hash = math.hash.toHex();
  assert.equal(sha256(byHand("contract")).toHex(), hash);
  assert(wireFormats.includes(`\`${hash}\``));
  const hello = byHand("hello");
  const [frame] = readAll(hello, [280]).frames;
  assert(frame !== undefined);
  const parsed = parseHello(Uint8Array.fromHex(frame.body));
  assert.equal(parsed.calls?.toHex(), hash);
  assert.deepEqual([parsed.mode, parsed.role, parsed.codecId], ["none", "dialler", "json"]);
  assert.equal(encodeHello(parsed).toHex(), frame.body);
});

Deno.test("docs/wire-formats.md shows a view, and names every type", () => {
  const bytes = byHand("view");
  const value = { width: 2, name: "a", pixels: Uint16Array.of(1, 2, 3) };
  assert.deepEqual(view.decode(bytes), value);
  assert.equal(joined(view.encode(value) as readonly Uint8Array[]).toHex(), bytes.toHex());
  const rows = table("RPC: codec `view`", "type");
  const numbers = [...Object.values(VIEW_TYPES), ...Object.values(ARRAY_TYPES).map(({ number }) => number)];
  assert.deepEqual(rows.map(([number]) => Number(number)), numbers);
  assert.deepEqual(
    rows.slice(Object.keys(VIEW_TYPES).length).map(([, name]) => name),
    Object.keys(ARRAY_TYPES),
  );
});

Deno.test("docs/wire-formats.md shows records that are sealed and opened as it says", async () => {
  const key = Uint8Array.from({ length: 32 }, (_, i) => i);
  const sealer = new RecordSealer(key), opener = new RecordOpener(key);
  const records = [
    await sealer.seal(new TextEncoder().encode("hello")),
    await sealer.seal(new Uint8Array(1)),
    await sealer.sealEnd(),
  ];
  assert.equal(joined(records).toHex(), byHand("records").toHex());
  for (const record of records) await opener.open(record);
  assert(opener.hasEnded);
});
