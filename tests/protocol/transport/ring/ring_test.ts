import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkRingBytes,
  isRingBytes,
  MAX_RING_BYTES,
  MIN_RING_BYTES,
  pairBytes,
  READER_SLEEPS,
  type Ring,
  RingReader,
  ringsIn,
  RingWriter,
  WRITER_SLEEPS,
} from "../../../../src/protocol/transport/ring/ring.ts";
import { TransportError } from "../../../../src/protocol/transport/transport.ts";
import { holds } from "../../../property.ts";

const RING_BYTES = MIN_RING_BYTES;
/** Where the words of a ring lie; see the head of ring.ts. */
const HEAD = 0, WRITER_STATE = 1, TAIL = 16, READER_STATE = 17;

function freshRing(ringBytes = RING_BYTES): Ring {
  return ringsIn(new SharedArrayBuffer(pairBytes(ringBytes)), 0, ringBytes)[0];
}

function isTampered(error: unknown): boolean {
  return error instanceof TransportError && error.code === "tampered";
}

Deno.test("ringsIn() puts two rings into one memory, without overlap and without a gap", () => {
  const memory = new ArrayBuffer(64 + pairBytes(RING_BYTES));
  const rings = ringsIn(memory, 64, RING_BYTES);
  const owner = new Array<number>(memory.byteLength).fill(0);
  for (const { words, bytes } of rings) {
    for (const part of [words, bytes]) {
      for (let at = part.byteOffset; at < part.byteOffset + part.byteLength; at++) {
        owner[at] = (owner[at] ?? 0) + 1;
      }
    }
    assert.equal(words.byteLength, 256);
    assert.equal(bytes.length, RING_BYTES);
  }
  assert.deepEqual(owner.slice(0, 64), new Array(64).fill(0));
  assert.deepEqual(owner.slice(64), new Array(pairBytes(RING_BYTES)).fill(1));
  assert.ok(READER_SLEEPS < 64 && WRITER_SLEEPS < 64 && READER_SLEEPS !== WRITER_SLEEPS);
});

Deno.test("isRingBytes() takes powers of two between the smallest and the largest", () => {
  for (const good of [MIN_RING_BYTES, 8192, 262_144, MAX_RING_BYTES]) assert.equal(isRingBytes(good), true);
  const bad = [0, 1, 2048, 4095, 4097, 12_288, 2 * MAX_RING_BYTES, 2 ** 32, 2 ** 31, -4096, 4096.5, NaN];
  for (const each of bad) {
    assert.equal(isRingBytes(each), false, String(each));
    assert.throws(() => checkRingBytes(each), RangeError);
  }
});

Deno.test("a ring puts its first bytes and its index where the layout says", () => {
  const ring = freshRing();
  const writer = new RingWriter(ring), reader = new RingReader(ring);
  assert.equal(writer.write(Uint8Array.of(7, 8, 9)), 3);
  assert.deepEqual([...ring.bytes.subarray(0, 4)], [7, 8, 9, 0]);
  assert.equal(ring.words[HEAD], 3);
  assert.equal(reader.read(new Uint8Array(2)), 2);
  assert.equal(ring.words[TAIL], 2);
  writer.end();
  assert.equal(ring.words[WRITER_STATE], 1);
  writer.leave();
  reader.leave();
  assert.deepEqual([ring.words[WRITER_STATE], ring.words[READER_STATE]], [2, 2]);
  assert.deepEqual([reader.writerState(), writer.readerState()], ["left", "left"]);
});

Deno.test("a ring does what a plain queue of bytes does, for any order of writes and reads", () => {
  const size = fc.oneof(
    fc.integer({ min: 0, max: 2 * RING_BYTES }),
    fc.constantFrom(1, RING_BYTES - 1, RING_BYTES),
  );
  const act = fc.record({ isWrite: fc.boolean(), size });
  holds(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const ring = freshRing();
      const writer = new RingWriter(ring), reader = new RingReader(ring);
      const queue: number[] = [];
      let next = 0;
      for (const { isWrite, size } of acts) {
        if (isWrite) {
          const bytes = Uint8Array.from({ length: size }, () => next++ & 0xff);
          const fits = Math.min(size, RING_BYTES - queue.length);
          assert.equal(writer.room(), RING_BYTES - queue.length);
          assert.equal(writer.write(bytes), fits);
          queue.push(...bytes.subarray(0, fits));
          next -= size - fits;
        } else {
          const into = new Uint8Array(size + 1).fill(0xaa);
          const expected = queue.splice(0, size);
          assert.equal(reader.read(into.subarray(0, size)), expected.length);
          assert.deepEqual([...into.subarray(0, expected.length)], expected);
          assert.ok(into.subarray(expected.length).every((byte) => byte === 0xaa));
        }
        assert.equal(reader.unread(), queue.length);
      }
    }),
  );
});

Deno.test("a ring goes on when its counts pass 2^31 and 2^32", () => {
  const ringBytes = 4 * 1024 * 1024, step = ringBytes - 4096;
  const ring = freshRing(ringBytes);
  const writer = new RingWriter(ring), reader = new RingReader(ring);
  const bytes = new Uint8Array(step), into = new Uint8Array(step);
  let moved = 0;
  for (; moved < 2 ** 32 + 2 * step; moved += step) {
    bytes[0] = bytes[step - 1] = moved / step & 0xff;
    assert.equal(writer.write(bytes), step);
    assert.equal(reader.read(into), step);
    assert.equal(into[0], bytes[0]);
    assert.equal(into[step - 1], bytes[0]);
  }
  assert.equal(ring.words[HEAD], moved | 0);
  assert.equal(ring.words[TAIL], moved | 0);
});

Deno.test("RingReader refuses an index of the writer that cannot be", () => {
  for (const head of [99, -1, 101 + RING_BYTES, 0x7fff_ffff, -0x8000_0000]) {
    const ring = freshRing();
    const reader = new RingReader(ring);
    new RingWriter(ring).write(new Uint8Array(200));
    assert.equal(reader.read(new Uint8Array(100)), 100);
    Atomics.store(ring.words, HEAD, head);
    assert.throws(() => reader.unread(), isTampered, `head ${head}`);
    assert.throws(() => reader.read(new Uint8Array(1)), isTampered, `head ${head}`);
  }
});

Deno.test("RingReader refuses a writer who takes back what was seen", () => {
  const ring = freshRing();
  const reader = new RingReader(ring);
  new RingWriter(ring).write(new Uint8Array(200));
  assert.equal(reader.unread(), 200);
  Atomics.store(ring.words, HEAD, 199);
  assert.throws(() => reader.read(new Uint8Array(1)), isTampered);
});

Deno.test("RingWriter refuses an index of the reader that cannot be", () => {
  for (const tail of [49, -1, 201, 0x7fff_ffff, -0x8000_0000]) {
    const ring = freshRing();
    const writer = new RingWriter(ring);
    writer.write(new Uint8Array(200));
    Atomics.store(ring.words, TAIL, 50);
    assert.equal(writer.room(), RING_BYTES - 150);
    Atomics.store(ring.words, TAIL, tail);
    assert.throws(() => writer.room(), isTampered, `tail ${tail}`);
    assert.throws(() => writer.write(new Uint8Array(1)), isTampered, `tail ${tail}`);
  }
});

Deno.test("a side of a ring refuses a state that nobody has", () => {
  for (const state of [3, -1, 0x100, 0x7fff_ffff]) {
    const ring = freshRing();
    Atomics.store(ring.words, WRITER_STATE, state);
    Atomics.store(ring.words, READER_STATE, state);
    assert.throws(() => new RingReader(ring).writerState(), isTampered);
    assert.throws(() => new RingWriter(ring).readerState(), isTampered);
  }
});

Deno.test("no words that the other side may write make a side read or write outside of the ring, or fail otherwise", () => {
  const word = fc.oneof(fc.integer(), fc.integer({ min: 0, max: 2 * RING_BYTES }));
  const act = fc.record({ at: fc.nat({ max: 63 }), word, size: fc.nat({ max: RING_BYTES + 9 }) });
  holds(
    fc.property(fc.array(act, { maxLength: 30 }), (acts) => {
      const memory = new SharedArrayBuffer(pairBytes(RING_BYTES));
      const [attacked, neighbour] = ringsIn(memory, 0, RING_BYTES);
      const writer = new RingWriter(attacked), reader = new RingReader(attacked);
      let written = 0, read = 0;
      for (const { at, word, size } of acts) {
        Atomics.store(attacked.words, at, word);
        try {
          written += writer.write(new Uint8Array(size).fill(1));
        } catch (error) {
          assert.ok(isTampered(error));
        }
        const into = new Uint8Array(size);
        try {
          const count = reader.read(into);
          assert.ok(count <= size && count <= RING_BYTES);
          read += count;
        } catch (error) {
          assert.ok(isTampered(error));
        }
      }
      // Whatever was claimed, no more than the honest indexes allow was ever taken as room for one round each.
      assert.ok(written <= RING_BYTES * (acts.length + 1) && read <= RING_BYTES * (acts.length + 1));
      assert.ok(neighbour.bytes.every((byte) => byte === 0));
      assert.ok(neighbour.words.every((each) => each === 0));
    }),
  );
});
