import assert from "node:assert/strict";
import fc from "fast-check";
import { FRAME_KINDS, FrameError, HEADER_BYTES } from "../../../src/protocol/rpc/frame.ts";
import { FrameWriter } from "../../../src/protocol/rpc/frame_writer.ts";
import { isLent } from "../../../src/protocol/rpc/lent_memory.ts";
import { holds } from "../../property.ts";
import { joined, type PlainFrame, readAll } from "./byte_stream.ts";

const LONG = 16 * 1024;
/** Of parts that the writer hands on as they are. */
const UNCOPIED = 32 * 1024;

Deno.test("FrameWriter.add() queues nothing of a body that is too long, in whatever form", () => {
  const writer = new FrameWriter({ maxBodyBytes: 40_000 });
  const tooLong = [
    "x".repeat(40_001),
    "é".repeat(16_000) + "é".repeat(4_001),
    new Uint8Array(40_001),
    [new Uint8Array(40_000), new Uint8Array(1)],
    [new Uint8Array(1), new Uint8Array(20_000), new Uint8Array(20_000)],
  ];
  for (const body of tooLong) {
    assert.throws(
      () => writer.add(FRAME_KINDS.call, 0, 1, 0, body),
      (error) => error instanceof FrameError && error.reason === "too_large",
    );
    assert.equal(writer.queuedBytes, 0);
  }
  const short = new FrameWriter({ maxBodyBytes: 9 });
  assert.throws(() => short.add(FRAME_KINDS.call, 0, 1, 0, "ééééé"), FrameError);
  assert.deepEqual(short.take(), []);
  assert.equal(short.add(FRAME_KINDS.call, 0, 1, 0, "éééé€".slice(0, 4)), 8);
});

Deno.test("FrameWriter.add() takes errors and the reason of closing where the other side takes no bodies", () => {
  const writer = new FrameWriter({ maxBodyBytes: 0 });
  assert.equal(writer.add(FRAME_KINDS.error, 0, 1, 2, new Uint8Array(1024)), 1024);
  assert.equal(writer.add(FRAME_KINDS.close, 0, 0, 2, new Uint8Array(256)), 256);
  assert.throws(() => writer.add(FRAME_KINDS.close, 0, 0, 2, new Uint8Array(257)), FrameError);
  assert.throws(() => writer.add(FRAME_KINDS.reply, 0, 1, 0, new Uint8Array(1)), FrameError);
});

Deno.test("FrameWriter writes texts, bytes and parts alike, in batches whose memory is used again", () => {
  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 100 }),
    fc.nat(30_000).map((length) => "a€".repeat(length / 2)),
  );
  holds(
    fc.property(
      fc.array(fc.array(fc.tuple(text, fc.array(fc.nat(30_000), { maxLength: 3 })), { maxLength: 5 }), {
        maxLength: 4,
      }),
      (batches) => {
        const writer = new FrameWriter({ maxBodyBytes: 200_000 });
        for (const batch of batches) {
          const expected: PlainFrame[] = [];
          let queued = 0;
          for (const [i, [content, cuts]] of batch.entries()) {
            const bytes = new TextEncoder().encode(content);
            const places = [
              0,
              ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b),
              bytes.length,
            ];
            const parts = places.slice(1).map((end, k) => bytes.subarray(places[k], end));
            for (const [k, body] of [content, bytes, parts].entries()) {
              const length = writer.add(FRAME_KINDS.call, k, i, k, body);
              assert.equal(length, bytes.length);
              queued += HEADER_BYTES + Math.ceil(length / 8) * 8;
              assert.equal(writer.queuedBytes, queued);
              expected.push({ kind: FRAME_KINDS.call, method: k, id: i, value: k, body: bytes.toHex() });
            }
          }
          const chunks = writer.take();
          assert.equal(writer.queuedBytes, 0);
          assert.equal(writer.unwrittenBytes, queued);
          assert(chunks.every((chunk) => chunk.length > 0));
          assert.deepEqual(readAll(joined(chunks), [65536], { maxBodyBytes: 200_000 }).frames, expected);
          writer.release();
          assert.equal(writer.unwrittenBytes, 0);
        }
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("FrameWriter.add() copies short bodies at once and does not copy long ones", () => {
  const writer = new FrameWriter({ maxBodyBytes: 200_000 });
  const short = new Uint8Array(100).fill(1), long = new Uint8Array(UNCOPIED).fill(1);
  writer.add(FRAME_KINDS.item, 0, 1, 0, short);
  writer.add(FRAME_KINDS.item, 0, 1, 0, [short, long, short]);
  short.fill(2);
  const chunks = writer.take();
  assert.equal(chunks.filter((chunk) => chunk.buffer === long.buffer).length, 1);
  assert(!joined(chunks).includes(2));
});

Deno.test("FrameWriter leaves a batch that is being written alone until it is released", () => {
  const writer = new FrameWriter({ maxBodyBytes: 1000 });
  writer.add(FRAME_KINDS.item, 0, 1, 0, new Uint8Array(1000).fill(1));
  const first = writer.take();
  const before = joined(first);
  const others = [1, 2, 3].map(() => new FrameWriter({ maxBodyBytes: 1000 }));
  for (const each of [writer, ...others]) each.add(FRAME_KINDS.item, 0, 2, 0, new Uint8Array(1000).fill(9));
  assert.deepEqual(joined(first), before);
  assert.equal(writer.unwrittenBytes, 2 * (HEADER_BYTES + 1000));
  writer.release();
  assert.equal(writer.unwrittenBytes, HEADER_BYTES + 1000);
  assert.equal(joined(writer.take()).at(-1), 9);
});

Deno.test("FrameWriter.abandon() forgets what is queued and what is being written, and leaves its memory alone", () => {
  const writer = new FrameWriter({ maxBodyBytes: 1000 });
  writer.add(FRAME_KINDS.item, 0, 1, 0, new Uint8Array(1000).fill(1));
  const [beingWritten] = writer.take();
  assert(beingWritten !== undefined);
  const before = beingWritten.slice();
  writer.add(FRAME_KINDS.item, 0, 1, 0, "more");
  writer.abandon();
  writer.release();
  assert.equal(writer.unwrittenBytes, 0);
  for (let i = 0; i < 3; i++) {
    new FrameWriter({ maxBodyBytes: 1000 }).add(FRAME_KINDS.item, 0, 1, 0, new Uint8Array(1000).fill(9));
  }
  assert.deepEqual(beingWritten, before);
});

Deno.test("FrameWriter sends the beginning of a long part with its header, and copies no more of it", () => {
  for (const length of [UNCOPIED, UNCOPIED + 1, 100_003]) {
    const writer = new FrameWriter({ maxBodyBytes: 200_000 });
    const part = Uint8Array.from({ length }, (_, at) => at % 251);
    writer.add(FRAME_KINDS.item, 0, 1, 0, part);
    assert.equal(writer.queuedBytes, HEADER_BYTES + length + (-length & 7));
    const [head, rest, padding, ...more] = writer.take();
    assert.equal(head?.length, HEADER_BYTES + LONG);
    assert.equal(rest?.buffer, part.buffer);
    assert.equal(padding?.length ?? 0, -length & 7);
    assert.deepEqual(more, []);
    assert.deepEqual(joined([head, rest]).subarray(HEADER_BYTES), part);
  }
});

Deno.test("FrameWriter with longer blocks copies parts up to half of one at once, and hands on longer ones", () => {
  const blockBytes = 256 * 1024, writer = new FrameWriter({ maxBodyBytes: 1_000_000, blockBytes });
  const part = new Uint8Array(blockBytes / 2 - 1).fill(1);
  writer.add(FRAME_KINDS.item, 0, 1, 0, [Uint8Array.of(9), part]);
  part.fill(2);
  writer.add(FRAME_KINDS.item, 0, 1, 0, new Uint8Array(100_000).fill(3));
  assert.equal(isLent(part.buffer), false);
  const [run, ...others] = writer.take();
  assert.deepEqual(others, []);
  assert.deepEqual(run?.subarray(HEADER_BYTES, HEADER_BYTES + 2), Uint8Array.of(9, 1));
  assert.equal(run?.indexOf(2, HEADER_BYTES), -1);
  writer.release();
  const long = new Uint8Array(blockBytes / 2);
  writer.add(FRAME_KINDS.item, 0, 1, 0, long);
  assert.equal(isLent(long.buffer), true);
  writer.take();
  writer.release();
  assert.equal(isLent(long.buffer), false);
});

Deno.test("FrameWriter keeps blocks of each length apart", () => {
  const usual = new FrameWriter({ maxBodyBytes: 100_000 });
  const longer = new FrameWriter({ maxBodyBytes: 100_000, blockBytes: 256 * 1024 });
  for (let turn = 0; turn < 3; turn++) {
    for (const [writer, bytes] of [[usual, 64 * 1024], [longer, 256 * 1024]] as const) {
      writer.add(FRAME_KINDS.item, 0, 1, 0, new Uint8Array(10));
      assert.equal(writer.take()[0]?.buffer.byteLength, bytes);
      writer.release();
    }
  }
});

Deno.test("FrameWriter lends the memory of long parts from add() to release(), each as often as it is sent", () => {
  const writer = new FrameWriter({ maxBodyBytes: 200_000 });
  const long = new Uint8Array(UNCOPIED),
    other = new Uint8Array(UNCOPIED),
    short = new Uint8Array(UNCOPIED - 1);
  writer.add(FRAME_KINDS.item, 0, 1, 0, [long, short]);
  assert(isLent(long.buffer) && !isLent(short.buffer));
  writer.take();
  writer.add(FRAME_KINDS.item, 0, 1, 0, [long, other]);
  writer.release();
  assert(isLent(long.buffer) && isLent(other.buffer), "the second time is not written");
  writer.take();
  writer.release();
  assert(!isLent(long.buffer) && !isLent(other.buffer));
});

Deno.test("FrameWriter.abandon() leaves lent what a write may still be looking at", () => {
  const writer = new FrameWriter({ maxBodyBytes: 200_000 });
  const long = new Uint8Array(UNCOPIED);
  writer.add(FRAME_KINDS.item, 0, 1, 0, long);
  writer.take();
  writer.abandon();
  writer.release();
  assert(isLent(long.buffer));
});
