import assert from "node:assert/strict";
import fc from "fast-check";
import { BodyPool } from "../../../src/protocol/rpc/body_pool.ts";
import { FRAME_KINDS, FrameError, HEADER_BYTES } from "../../../src/protocol/rpc/frame.ts";
import { FrameReader } from "../../../src/protocol/rpc/frame_reader.ts";
import { frameBodyLimit, frameFields } from "../../../src/protocol/rpc/frame_rules.ts";
import { holds } from "../../property.ts";
import vectors from "../../vectors/rpc-frames.json" with { type: "json" };
import { joined, plain, type PlainFrame, readAll, written } from "./byte_stream.ts";

const hex = Uint8Array.fromHex;
const LONG = 16 * 1024;
const MAX_BODY_BYTES = 65536;

/** Sizes around every border there is: padding, short and long, the two blocks. */
const bodySize = fc.oneof(
  { weight: 6, arbitrary: fc.nat(40) },
  { weight: 2, arbitrary: fc.constantFrom(LONG - 24, LONG - 17, LONG - 16, LONG - 1, LONG, LONG + 1) },
  { weight: 1, arbitrary: fc.constantFrom(4 * LONG - 17, 4 * LONG - 16, 4 * LONG - 1, 4 * LONG) },
);
const anyFrame: fc.Arbitrary<PlainFrame> = fc.record({
  kind: fc.constantFrom(...Object.values(FRAME_KINDS)),
  method: fc.nat(0xffff),
  id: fc.nat(0xffffffff),
  value: fc.nat(0xffffffff),
  size: bodySize,
  fill: fc.nat(255),
}).map(({ kind, method, id, value, size, fill }) => {
  const fields = frameFields(kind);
  const length = Math.min(size, frameBodyLimit(kind, MAX_BODY_BYTES));
  return {
    kind,
    method: fields & 1 ? method : 0,
    id: fields & 2 ? id : 0,
    value: fields & 4 ? value : 0,
    body: Uint8Array.from({ length }, (_, i) => fill + i * 7).toHex(),
  };
});
const cutsOf = fc.array(
  fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 70_000 })),
  { minLength: 1, maxLength: 8 },
);

Deno.test("FrameReader gives the frames of the vectors, and FrameWriter their bytes", () => {
  assert(vectors.frames.length >= Object.keys(FRAME_KINDS).length);
  for (const { comment, bytes, ...frame } of vectors.frames) {
    for (const cut of [1, 7, 16, 65536]) {
      assert.deepEqual(readAll(hex(bytes), [cut]), {
        frames: [{ ...frame }],
        refusal: null,
      }, comment);
    }
    assert.equal(written([frame]).toHex(), bytes, comment);
  }
});

Deno.test("FrameReader refuses what the vectors say, for the reason they say, however it is cut", () => {
  assert(vectors.refusals.length >= 20);
  for (const { comment, reason, max_body_bytes, bytes } of vectors.refusals) {
    for (const cut of [1, 15, 65536]) {
      const outcome = readAll(hex(bytes), [cut], { maxBodyBytes: max_body_bytes });
      assert.deepEqual(outcome, { frames: [], refusal: reason }, comment);
    }
  }
});

Deno.test("FrameReader gives the same frames for any splits and joins of the stream", () => {
  holds(
    fc.property(fc.array(anyFrame, { maxLength: 12 }), cutsOf, fc.boolean(), (frames, cuts, exactly) => {
      const outcome = readAll(written(frames), cuts, { maxBodyBytes: MAX_BODY_BYTES, exactly });
      assert.deepEqual(outcome, { frames, refusal: null });
    }),
    { numRuns: 200 },
  );
});

Deno.test("FrameReader accepts and refuses the same of damaged streams, however they are cut, and what it accepts is written alike", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  let refused = 0;
  holds(
    fc.property(
      fc.array(anyFrame, { minLength: 1, maxLength: 6 }),
      damage,
      cutsOf,
      fc.boolean(),
      (frames, faults, cuts, exactly) => {
        const bytes = written(frames);
        // Most faults into the first header, where they matter.
        for (const [at, byte] of faults) bytes[at % (at % 3 === 0 ? bytes.length : HEADER_BYTES)] = byte;
        const whole = readAll(bytes, [bytes.length]);
        assert.deepEqual(readAll(bytes, cuts, { maxBodyBytes: MAX_BODY_BYTES, exactly }), whole);
        assert.deepEqual(readAll(bytes, [1]), whole);
        const again = written(whole.frames);
        assert.deepEqual(again, bytes.subarray(0, again.length));
        refused += whole.refusal === null ? 0 : 1;
      },
    ),
    { numRuns: 150 },
  );
  assert(refused > 0);
});

Deno.test("FrameReader asks for nothing beyond the frame when told to read exactly", () => {
  const frames = [1, 0, 40, 512, 20_000].map((length) => ({
    kind: length <= 512 ? FRAME_KINDS.hello : FRAME_KINDS.item,
    method: 0,
    id: 0,
    value: 0,
    body: new Uint8Array(length).fill(7).toHex(),
  }));
  const bytes = written(frames);
  const reader = new FrameReader({ maxBodyBytes: MAX_BODY_BYTES, exactly: true });
  let at = 0;
  for (const frame of frames) {
    let given = reader.next();
    for (; given === null; given = reader.next()) {
      const space = reader.space();
      assert(space.length > 0);
      space.set(bytes.subarray(at, at + space.length));
      reader.filled(space.length);
      at += space.length;
    }
    assert.deepEqual(plain(given), frame);
    assert.equal(at % 8, 0);
    assert.equal(reader.pendingBytes, 0);
  }
  assert.equal(at, bytes.length);
});

Deno.test("FrameReader refuses kinds that are not allowed where it reads", () => {
  const bytes = written([{ kind: FRAME_KINDS.call, method: 0, id: 1, value: 0, body: "" }]);
  const allowed = [FRAME_KINDS.hello, FRAME_KINDS.close];
  assert.equal(readAll(bytes, [16], { maxBodyBytes: 512, allowed }).refusal, "malformed");
  assert.equal(readAll(bytes, [16], { maxBodyBytes: 512, allowed: [FRAME_KINDS.call] }).refusal, null);
});

Deno.test("FrameReader refuses again after it has refused, though good frames follow", () => {
  const reader = new FrameReader({ maxBodyBytes: 100 });
  const bad = new Uint8Array(HEADER_BYTES);
  reader.space().set(
    joined([bad, written([{ kind: FRAME_KINDS.drain, method: 0, id: 0, value: 0, body: "" }])]),
  );
  reader.filled(2 * HEADER_BYTES);
  const errors = [1, 2].map(() => {
    try {
      return reader.next();
    } catch (error) {
      return error;
    }
  });
  assert(errors[0] instanceof FrameError);
  assert.equal(errors[0], errors[1]);
});

Deno.test("FrameReader sets nothing aside for a body that is too long", () => {
  const pool = new BodyPool();
  let taken = 0;
  pool.take = (bytes): Uint8Array<ArrayBuffer> => {
    taken += bytes;
    return new Uint8Array(bytes);
  };
  const header = written([{ kind: FRAME_KINDS.call, method: 0, id: 1, value: 0, body: "" }]);
  header.set([0xff, 0xff, 0xff, 0xff]);
  assert.equal(readAll(header, [16], { maxBodyBytes: MAX_BODY_BYTES, pool }).refusal, "too_large");
  assert.equal(taken, 0);
});

Deno.test("FrameReader.hold() keeps bodies as they are while frames go on, and they are empty as soon as released", () => {
  const sizes = [0, 1, 64, 100, LONG - 1, LONG, 40_000, 64, 40_000];
  const frames = sizes.map((size, id) => ({
    kind: FRAME_KINDS.call,
    method: 0,
    id,
    value: 0,
    body: new Uint8Array(size).fill(id + 1).toHex(),
  }));
  for (const cut of [1000, 65536]) {
    const pool = new BodyPool();
    const held: { body: Uint8Array<ArrayBuffer>; release(): void }[] = [];
    for (let round = 0; round < 2; round++) {
      readAll(written(frames), [cut], { maxBodyBytes: MAX_BODY_BYTES, pool }, (frame, reader) => {
        held.push(reader.hold());
        return plain(frame);
      });
    }
    assert.equal(held.length, 2 * frames.length);
    for (const [i, { body }] of held.entries()) {
      assert.equal(body.toHex(), frames[i % frames.length]?.body);
      assert.equal(body.byteOffset, 0);
      assert.equal(body.buffer.byteLength, Math.ceil(body.length / 8) * 8, "nothing else lies in its buffer");
      assert(new Uint8Array(body.buffer).subarray(body.length).every((byte) => byte === 0));
    }
    for (const each of held) {
      each.release();
      each.release();
      assert.equal(each.body.length, 0);
    }
    assert(pool.keptBytes > 0);
    assert.equal(
      pool.keptBytes,
      2 * frames.reduce((sum, { body }) => sum + Math.ceil(body.length / 16) * 8, 0),
    );
  }
});

Deno.test("FrameReader.hold() gives bodies that the program can keep, or send away, without harm to what follows", () => {
  for (const size of [64, 40_000]) {
    const pool = new BodyPool();
    const frames = [1, 2, 3].map((id) => ({
      kind: FRAME_KINDS.call,
      method: 0,
      id,
      value: 0,
      body: new Uint8Array(size).fill(id).toHex(),
    }));
    const kept: Uint8Array[] = [];
    const outcome = readAll(
      written(frames),
      [777],
      { maxBodyBytes: MAX_BODY_BYTES, pool },
      (frame, reader) => {
        const before = plain(frame);
        const held = reader.hold();
        if (before.id === 1) kept.push(held.keep());
        else structuredClone(held.body, { transfer: [held.body.buffer] });
        held.release();
        return before;
      },
    );
    assert.deepEqual(outcome.frames, frames);
    assert.equal(kept[0]?.toHex(), frames[0]?.body);
    assert.equal(pool.keptBytes, 0);
  }
});

Deno.test("HeldBody.keep() refuses a body that was released", () => {
  const reader = new FrameReader({ maxBodyBytes: 100 });
  const bytes = written([{ kind: FRAME_KINDS.reply, method: 0, id: 1, value: 0, body: "01" }]);
  reader.space().set(bytes);
  reader.filled(bytes.length);
  reader.next();
  const held = reader.hold();
  held.release();
  assert.throws(() => held.keep(), TypeError);
});

Deno.test("FrameReader refuses padding that is not zero behind a long body as behind a short one", () => {
  for (const size of [1, LONG - 1, LONG + 1, 40_001]) {
    const bytes = written([{
      kind: FRAME_KINDS.item,
      method: 0,
      id: 1,
      value: 0,
      body: new Uint8Array(size).toHex(),
    }]);
    for (const place of [bytes.length - 1, HEADER_BYTES + size]) {
      const damaged = bytes.with(place, 1);
      assert.deepEqual(readAll(damaged, [1000]), { frames: [], refusal: "malformed" });
      assert.deepEqual(readAll(damaged, [65536]), { frames: [], refusal: "malformed" });
    }
  }
});

Deno.test("FrameReader uses the memory of long bodies that nobody held again, and empties what points into it", () => {
  const pool = new BodyPool();
  const bodies: Uint8Array[] = [];
  const frames = [1, 2, 3].map((id) => ({
    kind: FRAME_KINDS.call,
    method: 0,
    id,
    value: 0,
    body: new Uint8Array(40_000).fill(id).toHex(),
  }));
  const outcome = readAll(written(frames), [777], { maxBodyBytes: MAX_BODY_BYTES, pool }, (frame) => {
    bodies.push(frame.body);
    return plain(frame);
  });
  assert.deepEqual(outcome.frames, frames);
  assert.deepEqual(bodies.map(({ length }) => length), [0, 0, 0]);
  assert.equal(pool.keptBytes, 40_000);
});

Deno.test("FrameReader.hold() shows nothing of an earlier body behind a shorter one", () => {
  const pool = new BodyPool();
  const frames = ["ffffffffffffffff", "01"].map((body) => ({
    kind: FRAME_KINDS.call,
    method: 0,
    id: 1,
    value: 0,
    body,
  }));
  const shown: string[] = [];
  readAll(written(frames), [65536], { maxBodyBytes: MAX_BODY_BYTES, pool }, (frame, reader) => {
    const held = reader.hold();
    shown.push(new Uint8Array(held.body.buffer).toHex());
    held.release();
    return { ...frame, body: "" };
  });
  assert.deepEqual(shown, ["ffffffffffffffff", "0100000000000000"]);
});
