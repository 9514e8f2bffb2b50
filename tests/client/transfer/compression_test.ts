import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { ZstdCompression } from "../../../src/client/transfer/compression.ts";
import { looksRandom } from "../../../src/client/transfer/compression_sample.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { holds } from "../../property.ts";
import { oddBytes, randomBytes, textBytes } from "./sample_bytes.ts";

const TEXT = textBytes(CHUNK_BYTES);

function isTransferError(code: TransferErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof TransferError && error.code === code;
}

async function frameOf(
  compression: ZstdCompression,
  chunk: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const frame = await compression.compress(chunk.slice());
  assert.ok(frame.length < chunk.length, "it should have paid");
  return frame;
}

const COMPRESSION_URL = new URL("../../../src/client/transfer/compression.ts", import.meta.url).href;

Deno.test("ZstdCompression gives every chunk back that it made smaller", async () => {
  const compression = new ZstdCompression();
  for (const length of [512, 513, 4096, 65_537, CHUNK_BYTES - 1, CHUNK_BYTES]) {
    const chunk = TEXT.slice(0, length);
    const frame = await frameOf(compression, chunk);
    assert.ok(frame.length <= length * 15 / 16);
    assert.equal(frame.buffer.byteLength, frame.length, "no memory beyond it waits for the link");
    // RFC 8878, section 3.1.1.1.1: how long the content is stands in it; no checksum, the record has a better one.
    const descriptor = frame[4] ?? 0;
    assert.notEqual(descriptor & 0b1110_0000, 0);
    assert.equal(descriptor & 0b0000_0100, 0);
    assert.deepEqual(new Uint8Array(await compression.decompress(frame, length)), chunk);
  }
});

Deno.test("ZstdCompression.compress() takes the memory of a chunk, but not where more lies in it", async () => {
  const compression = new ZstdCompression();
  const chunk = TEXT.slice(), whole = TEXT.slice();
  await compression.compress(chunk);
  assert.equal(chunk.length, 0);
  const part = whole.subarray(1);
  assert.ok((await compression.compress(part)).length < part.length);
  assert.deepEqual(whole, TEXT);
});

Deno.test("ZstdCompression keeps chunks apart that are under way at once", async () => {
  const compression = new ZstdCompression();
  const chunks = Array.from({ length: 7 }, (_, at) => TEXT.map((byte) => byte ^ at));
  const frames = await Promise.all(chunks.map((chunk) => frameOf(compression, chunk)));
  const again = await Promise.all(frames.map((frame) => compression.decompress(frame, CHUNK_BYTES)));
  assert.deepEqual(again.map((each) => new Uint8Array(each)), chunks);
});

Deno.test("ZstdCompression.compress() loads nothing for what looks random or is short", async () => {
  const compression = new ZstdCompression();
  for (const chunk of [randomBytes(CHUNK_BYTES), TEXT.slice(0, 511)]) {
    assert.equal(await isDoneAtOnce(compression.compress(chunk)), true);
    assert.equal(await compression.compress(chunk), chunk);
  }
  assert.equal(await isDoneAtOnce(compression.compress(TEXT.slice())), false);
});

/** Whether it is without having waited for anything: not for the library either, which may have been loaded already. */
async function isDoneAtOnce(work: Promise<unknown>): Promise<boolean> {
  let isDone = false;
  const done = work.then(() => {
    isDone = true;
  });
  await Promise.resolve();
  const wasDone = isDone;
  await done;
  return wasDone;
}

for (const [how, areAtOnce] of [["at once", true], ["one after the other", false]] as const) {
  Deno.test(`ZstdCompression.compress() of 64 chunks ${how} lets timers fire between any two`, async () => {
    const compression = new ZstdCompression();
    await frameOf(compression, TEXT); // the library is there
    let sinceTimer = 0, mostSinceTimer = 0;
    const timer = setInterval(() => sinceTimer = 0, 1);
    const one = async (): Promise<void> => {
      await frameOf(compression, TEXT);
      mostSinceTimer = Math.max(mostSinceTimer, ++sinceTimer);
    };
    const underway: Promise<void>[] = [];
    for (let at = 0; at < 64; at++) {
      underway.push(one());
      if (!areAtOnce) await underway.at(-1);
    }
    await Promise.all(underway);
    clearInterval(timer);
    assert.ok(mostSinceTimer <= 4, `${mostSinceTimer} chunks without a turn of a timer`);
  });
}

Deno.test("ZstdCompression.compress() sends bytes as they are that only look as if, and seldom tries again", async () => {
  const compression = new ZstdCompression();
  const odd = oddBytes(CHUNK_BYTES);
  assert.equal(looksRandom(odd), false);
  const tried = await countTried(compression, odd, 200);
  // 1, 3, 7, 15 and then 31 are left alone between two tries.
  assert.equal(tried, 10);
});

/** How many of so many chunks were tried. */
async function countTried(
  compression: ZstdCompression,
  chunk: Uint8Array<ArrayBuffer>,
  count: number,
): Promise<number> {
  let tried = 0;
  for (let at = 0; at < count; at++) {
    const given = chunk.slice(), compressing = compression.compress(given);
    if (!await isDoneAtOnce(compressing)) tried++;
    assert.equal(await compressing, given);
    assert.deepEqual(given, chunk, "it comes back as it was");
  }
  return tried;
}

Deno.test("ZstdCompression.compress() finds the text behind what did not pay", async () => {
  const compression = new ZstdCompression();
  const odd = oddBytes(CHUNK_BYTES);
  for (let at = 0; at < 100; at++) await compression.compress(odd.slice());
  let skipped = 0;
  while ((await compression.compress(TEXT.slice())).length === TEXT.length) assert.ok(++skipped <= 31);
  for (let at = 0; at < 10; at++) await frameOf(compression, TEXT);
});

Deno.test("looksRandom() knows random bytes of any length from text, base64 and numbers", () => {
  holds(
    fc.property(fc.integer({ min: 1000, max: 100_000 }), (length) => {
      const random = randomBytes(length);
      assert.equal(looksRandom(random), true);
      assert.equal(looksRandom(new TextEncoder().encode(random.toBase64())), false);
      assert.equal(looksRandom(textBytes(length)), false);
      assert.equal(looksRandom(new Uint8Array(length)), false);
      const floats = Float64Array.from({ length: Math.ceil(length / 8) }, () => Math.random());
      assert.equal(looksRandom(new Uint8Array(floats.buffer)), false);
    }),
    { numRuns: 20 },
  );
});

Deno.test("looksRandom() sees that a part of the chunk is of another kind", () => {
  const half = randomBytes(CHUNK_BYTES);
  half.set(TEXT.subarray(0, CHUNK_BYTES / 2));
  assert.equal(looksRandom(half), false);
  half.set(randomBytes(CHUNK_BYTES / 2));
  half.set(TEXT.subarray(0, CHUNK_BYTES / 2), CHUNK_BYTES / 2);
  assert.equal(looksRandom(half), false);
});

Deno.test("ZstdCompression.decompress() refuses a frame of any other length than that of its chunk", async () => {
  const compression = new ZstdCompression();
  const refused = async (frame: Uint8Array<ArrayBuffer>, sizeBytes: number): Promise<void> => {
    await assert.rejects(compression.decompress(frame, sizeBytes), isTransferError("malformed"));
  };
  for (const sizeBytes of [1, 1000, CHUNK_BYTES - 1]) {
    await refused(await frameOf(compression, TEXT), sizeBytes);
  }
  await refused(await frameOf(compression, TEXT.slice(0, 5000)), 5001);
  await refused(await frameOf(compression, TEXT.slice(0, 5000)), CHUNK_BYTES);
  await refused(new Uint8Array(zstdCompressSync(new Uint8Array(0))), 1);
  await refused(new Uint8Array(0), 1);
  // It still works.
  const { length } = await compression.decompress(await frameOf(compression, TEXT), CHUNK_BYTES);
  assert.equal(length, CHUNK_BYTES);
});

Deno.test("ZstdCompression.decompress() refuses two frames, and what stands behind one", async () => {
  const compression = new ZstdCompression();
  const frame = await frameOf(compression, TEXT);
  const skippable = Uint8Array.of(0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4);
  for (
    const joined of [[frame, frame], [frame, Uint8Array.of(1)], [skippable], [TEXT.subarray(0, 100)]]
  ) {
    const bytes = new Uint8Array(await new Blob(joined).arrayBuffer());
    await assert.rejects(compression.decompress(bytes, CHUNK_BYTES), isTransferError("malformed"));
  }
});

Deno.test("ZstdCompression.decompress() refuses every frame that was cut off", async () => {
  const compression = new ZstdCompression();
  const chunk = textBytes(20_000);
  const frame = await frameOf(compression, chunk);
  // But for the last block's own end: nothing is missing from the chunk then.
  for (let length = 0; length < frame.length - 3; length += 97) {
    await assert.rejects(
      compression.decompress(frame.slice(0, length), chunk.length),
      isTransferError("malformed"),
      `cut to ${length}`,
    );
  }
});

Deno.test("ZstdCompression.decompress() of a flipped frame gives the length that was asked for, or is refused", async () => {
  const compression = new ZstdCompression();
  const chunk = textBytes(20_000);
  const frame = await frameOf(compression, chunk);
  let refused = 0;
  for (let at = 0; at < frame.length; at += 53) {
    const flipped = frame.slice();
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    try {
      assert.equal((await compression.decompress(flipped, chunk.length)).length, chunk.length);
    } catch (error) {
      assert.ok(isTransferError("malformed")(error));
      refused++;
    }
  }
  assert.ok(refused > 10);
});

Deno.test("ZstdCompression.decompress() of bombs takes no more memory than a chunk has", async () => {
  // In a process of its own: what others need is not counted.
  const program = `
    import { zstdCompressSync } from "node:zlib";
    import { ZstdCompression } from ${JSON.stringify(COMPRESSION_URL)};
    const compression = new ZstdCompression();
    const text = new TextEncoder().encode("some words ".repeat(1000));
    await compression.decompress(new Uint8Array(zstdCompressSync(text)), text.length); // the library is there
    const bomb = new Uint8Array(zstdCompressSync(new Uint8Array(256 * 1024 * 1024)));
    const before = Deno.memoryUsage().rss;
    const codes = [];
    for (let at = 0; at < 8; at++) {
      await compression.decompress(bomb.slice(), 1024 * 1024).catch((error) => codes.push(error.code));
    }
    console.log(JSON.stringify({ codes, grownBytes: Deno.memoryUsage().rss - before, bombBytes: bomb.length }));`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", program],
  }).output();
  const { codes, grownBytes, bombBytes } = JSON.parse(new TextDecoder().decode(stdout) || "{}");
  assert.deepEqual(codes, Array(8).fill("malformed"), new TextDecoder().decode(stderr));
  assert.ok(bombBytes < 100_000);
  assert.ok(grownBytes < 40 * CHUNK_BYTES, `grew by ${grownBytes} bytes`);
});

Deno.test("ZstdCompression.decompress() refuses a frame that wants a window of more than 8 MiB", async () => {
  const compression = new ZstdCompression();
  const { constants } = await import("node:zlib");
  for (const [windowLog, isAccepted] of [[20, true], [23, true], [24, false], [27, false]] as const) {
    const frame = new Uint8Array(
      zstdCompressSync(TEXT, { params: { [constants.ZSTD_c_windowLog]: windowLog } }),
    );
    const decompressed = compression.decompress(frame, CHUNK_BYTES).then(() => true, isTransferErrorFalse);
    assert.equal(await decompressed, isAccepted, `window of 2^${windowLog}`);
  }
});

function isTransferErrorFalse(error: unknown): boolean {
  assert.ok(isTransferError("malformed")(error));
  return false;
}

Deno.test("ZstdCompression.decompress() gives memory that can be freed alone, also of short chunks", async () => {
  const compression = new ZstdCompression();
  const around = randomBytes(30_000);
  for (const length of [1, 100, 4000, 8200, 16_384, CHUNK_BYTES]) {
    const frame = new Uint8Array(zstdCompressSync(TEXT.subarray(0, length)));
    const inside = around.subarray(5, 5 + frame.length);
    const given = length < CHUNK_BYTES ? inside : frame;
    given.set(frame);
    const [first, second] = [
      await compression.decompress(given, length),
      await compression.decompress(given, length),
    ];
    assert.deepEqual(given, frame, "the frame stays the caller's");
    first.buffer.transfer(0);
    assert.deepEqual(second, TEXT.subarray(0, length));
    assert.ok(second.buffer.byteLength <= Math.max(length + 64, 16_384));
  }
});
