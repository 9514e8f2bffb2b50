import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeFrame,
  type Frame,
  FRAME_TYPES,
  FrameReader,
  LinkError,
  MAX_FRAME_DATA_BYTES,
} from "../../../src/protocol/manage/frame.ts";
import { holds } from "../../property.ts";

const hex = Uint8Array.fromHex;

/** Written out by hand: version, type, flow, length, data. */
const VECTORS = [
  { bytes: "01 00 00 0000", type: FRAME_TYPES.heartbeat, flow: 0, data: "" },
  { bytes: "01 01 01 0005 01 00010000", type: FRAME_TYPES.open, flow: 1, data: "0100010000" },
  { bytes: "01 01 80 0007 02 00100000 6869", type: FRAME_TYPES.open, flow: 128, data: "02001000006869" },
  { bytes: "01 02 7f 0004 ffffffff", type: FRAME_TYPES.opened, flow: 127, data: "ffffffff" },
  { bytes: "01 03 ff 0003 000102", type: FRAME_TYPES.data, flow: 255, data: "000102" },
  { bytes: "01 04 02 0004 00000001", type: FRAME_TYPES.credit, flow: 2, data: "00000001" },
  { bytes: "01 05 02 0000", type: FRAME_TYPES.end, flow: 2, data: "" },
  { bytes: "01 06 02 0002 0000", type: FRAME_TYPES.reset, flow: 2, data: "0000" },
  { bytes: "01 06 00 0005 000d 627965", type: FRAME_TYPES.reset, flow: 0, data: "000d627965" },
  { bytes: "01 10 00 0001 01", type: FRAME_TYPES.hello, flow: 0, data: "01" },
  { bytes: "01 11 00 0002 abcd", type: FRAME_TYPES.prove, flow: 0, data: "abcd" },
] as const;

function bytesOf(spaced: string): Uint8Array<ArrayBuffer> {
  return hex(spaced.replaceAll(" ", ""));
}

/** Frames with data that does not change when the reader goes on. */
function kept(frames: readonly Frame[]): readonly unknown[] {
  return frames.map(({ type, flow, data }) => ({ type, flow, data: data.toHex() }));
}

function reasonOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    assert(error instanceof LinkError, String(error));
    return error.reason;
  }
  return "accepted";
}

Deno.test("encodeFrame() writes the bytes of each type as they are written out by hand", () => {
  for (const { bytes, type, flow, data } of VECTORS) {
    assert.equal(encodeFrame(type, flow, hex(data)).toHex(), bytesOf(bytes).toHex());
  }
});

Deno.test("FrameReader.push() reads the bytes of each type as they are written out by hand", () => {
  for (const { bytes, type, flow, data } of VECTORS) {
    assert.deepEqual(kept(new FrameReader().push(bytesOf(bytes))), [{ type, flow, data }]);
  }
});

Deno.test("encodeFrame() refuses data that no length can say and flows that are no byte", () => {
  assert.equal(encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(MAX_FRAME_DATA_BYTES)).length, 5 + 65_535);
  assert.throws(() => encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(MAX_FRAME_DATA_BYTES + 1)), RangeError);
  for (const flow of [-1, 256, 1.5, NaN]) {
    assert.throws(() => encodeFrame(FRAME_TYPES.data, flow, hex("00")), RangeError);
  }
});

Deno.test("FrameReader.push() gives the same frames however the bytes are cut", () => {
  const stream = bytesOf(VECTORS.map(({ bytes }) => bytes).join(""));
  const expected = VECTORS.map(({ type, flow, data }) => ({ type, flow, data }));
  holds(fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), (cuts) => {
    const reader = new FrameReader(), frames: unknown[] = [];
    const places = [0, ...cuts.sort((a, b) => a - b), stream.length];
    for (const [index, at] of places.entries()) {
      frames.push(...kept(reader.push(stream.slice(at, places[index + 1] ?? stream.length))));
    }
    assert.deepEqual(frames, expected);
    assert.equal(reader.rest().length, 0);
  }));
});

Deno.test("FrameReader.push() refuses a header as soon as it is there, before any data", () => {
  const refused = [
    ["00 03 01 0001", "version"],
    ["02 03 01 0001", "version"],
    ["01 07 01 0001", "malformed"],
    ["01 12 00 0001", "malformed"],
    ["01 ff 01 0001", "malformed"],
    // Lengths.
    ["01 00 00 0001", "malformed"],
    ["01 01 01 0004", "malformed"],
    ["01 01 01 1006", "malformed"],
    ["01 02 01 0003", "malformed"],
    ["01 02 01 1005", "malformed"],
    ["01 03 01 0000", "malformed"],
    ["01 04 01 0003", "malformed"],
    ["01 04 01 0005", "malformed"],
    ["01 05 01 0001", "malformed"],
    ["01 06 01 0001", "malformed"],
    ["01 06 01 0203", "malformed"],
    ["01 10 00 0000", "malformed"],
    ["01 11 00 0101", "malformed"],
    // Places.
    ["01 00 01 0000", "malformed"],
    ["01 03 00 0001", "malformed"],
    ["01 01 00 0005", "malformed"],
    ["01 02 00 0004", "malformed"],
    ["01 04 00 0004", "malformed"],
    ["01 05 00 0000", "malformed"],
    ["01 10 01 0001", "malformed"],
    ["01 11 80 0001", "malformed"],
  ] as const;
  for (const [header, reason] of refused) {
    const reader = new FrameReader(), bytes = bytesOf(header);
    assert.deepEqual(reader.push(bytes.subarray(0, 4)), [], header);
    assert.equal(reasonOf(() => reader.push(bytes.subarray(4))), reason, header);
    assert.equal(reasonOf(() => reader.push(bytesOf("01 00 00 0000"))), reason, "it stays refused");
    assert.equal(reasonOf(() => new FrameReader().push(bytes)), reason, header);
  }
});

Deno.test("FrameReader.push() takes the longest data of each type", () => {
  const longest = [["01 01 01 1005", 4101], ["01 02 01 1004", 4100], ["01 03 01 ffff", 65_535], [
    "01 06 01 0202",
    514,
  ]] as const;
  for (const [header, bytes] of longest) {
    const frames = new FrameReader().push(new Uint8Array([...bytesOf(header), ...new Uint8Array(bytes)]));
    assert.equal(frames[0]?.data.length, bytes, header);
  }
});

Deno.test("FrameReader.push() keeps to maxDataBytes where that is less", () => {
  const reader = new FrameReader({ maxDataBytes: 67 });
  assert.equal(reader.push(encodeFrame(FRAME_TYPES.hello, 0, new Uint8Array(67))).length, 1);
  assert.equal(reasonOf(() => reader.push(bytesOf("01 10 00 0044"))), "malformed");
});

Deno.test("FrameReader.push() gives the frames before a fault, and tells the fault next", () => {
  const reader = new FrameReader();
  assert.equal(reader.push(bytesOf("01 05 01 0000 01 05 02 0000 02")).length, 2);
  assert.equal(reader.push(bytesOf("00 00")).length, 0);
  assert.equal(reasonOf(() => reader.push(bytesOf("00 00"))), "version");
  const whole = new FrameReader();
  assert.equal(whole.push(bytesOf("01 05 01 0000 02 00 00 0000")).length, 1);
  assert.equal(reasonOf(() => whole.push(new Uint8Array(0))), "version");
});

Deno.test("FrameReader.rest() gives every byte behind the frames that came out, to be read by somebody else", () => {
  const stream = bytesOf("01 11 00 0002 abcd 01 01 01 0005 01 00010000 01 00");
  for (let cut = 0; cut <= stream.length; cut++) {
    const reader = new FrameReader(), frames: Frame[] = [];
    frames.push(...reader.push(stream.slice(0, cut), 1));
    frames.push(...reader.push(stream.slice(cut), 1 - frames.length));
    assert.equal(frames.length, 1);
    assert.equal(reader.rest().toHex(), stream.slice(7).toHex(), `cut at ${cut}`);
  }
});
