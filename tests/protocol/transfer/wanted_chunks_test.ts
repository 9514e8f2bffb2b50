import assert from "node:assert/strict";
import fc from "fast-check";
import {
  CHUNK_BYTES,
  chunkCount,
  chunkLength,
  type ChunkRange,
  type Offer,
} from "../../../src/protocol/transfer/offer.ts";
import { WantedChunks } from "../../../src/protocol/transfer/wanted_chunks.ts";
import { holds } from "../../property.ts";
import { fileEntry, folderEntry } from "./memory_source.ts";

function offerOfSizes(sizes: readonly (number | null)[]): Offer {
  const entries = sizes.map((size, at) => size === null ? folderEntry(`${at}`) : fileEntry(`${at}`, size));
  return { kind: "files", entries, totalBytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

/** Sizes, and for each chunk of each file whether it is wanted. */
const wishes = fc.array(
  fc.oneof(
    fc.constant({ size: null, wanted: [] }),
    fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: CHUNK_BYTES - 1 })).chain(
      ([whole, rest]) => {
        const size = whole * CHUNK_BYTES + rest, chunks = chunkCount(size);
        return fc.array(fc.boolean(), { minLength: chunks, maxLength: chunks }).map((wanted) => ({
          size,
          wanted,
        }));
      },
    ),
  ),
  { maxLength: 8 },
);

/** As many ranges as there are chunks, or as few as hold them. */
function rangesOf(wanted: readonly (readonly boolean[])[], areJoined: boolean): ChunkRange[] {
  const ranges: ChunkRange[] = [];
  for (const [file, chunks] of wanted.entries()) {
    for (const [chunk, isWanted] of chunks.entries()) {
      if (!isWanted) continue;
      const last = ranges.at(-1);
      if (areJoined && last?.file === file && last.first + last.count === chunk) {
        ranges.splice(-1, 1, { ...last, count: last.count + 1 });
      } else {
        ranges.push({ file, first: chunk, count: 1 });
      }
    }
  }
  return ranges;
}

Deno.test("WantedChunks gives back exactly the chunks that were asked for, in order", () => {
  holds(fc.property(wishes, fc.boolean(), (wishes, areJoined) => {
    const offer = offerOfSizes(wishes.map(({ size }) => size)), chunks = new WantedChunks(offer);
    for (const range of rangesOf(wishes.map(({ wanted }) => wanted), areJoined)) chunks.add([range]);
    let totalBytes = 0;
    for (const [file, { size, wanted }] of wishes.entries()) {
      const numbers = [...wanted.keys()].filter((chunk) => wanted[chunk]);
      const bytes = numbers.reduce((sum, chunk) => sum + chunkLength(size ?? 0, chunk), 0);
      assert.deepEqual([...chunks.chunksOf(file)], numbers);
      assert.deepEqual(wanted.map((_, chunk) => chunks.has(file, chunk)), wanted);
      assert.equal(chunks.bytesOf(file), bytes);
      totalBytes += bytes;
    }
    assert.equal(chunks.totalBytes, totalBytes);
  }));
});

Deno.test("WantedChunks.add() refuses whatever is not behind what was asked for before", () => {
  const sizes = [3 * CHUNK_BYTES, null, 2 * CHUNK_BYTES];
  const anyRange = fc.record({
    file: fc.integer({ min: -1, max: 3 }),
    first: fc.integer({ min: -1, max: 4 }),
    count: fc.integer({ min: -1, max: 4 }),
  });
  holds(fc.property(fc.array(anyRange, { minLength: 1, maxLength: 4 }), (ranges) => {
    const chunks = new WantedChunks(offerOfSizes(sizes)), seen = new Set<string>();
    let isRefused = false, last = -1;
    for (const { file, first, count } of ranges) {
      const size = sizes[file] ?? null;
      const isInside = size !== null && first >= 0 && count >= 1 && first + count <= chunkCount(size);
      if (!isInside || file * 10 + first <= last) {
        isRefused = true;
        break;
      }
      for (let chunk = first; chunk < first + count; chunk++) seen.add(`${file}:${chunk}`);
      last = file * 10 + first + count - 1;
    }
    if (isRefused) assert.throws(() => chunks.add(ranges), { name: "TransferError", code: "malformed" });
    else chunks.add(ranges);
    const found = [0, 1, 2].flatMap((file) => [...chunks.chunksOf(file)].map((chunk) => `${file}:${chunk}`));
    assert.deepEqual(new Set(found), seen);
  }));
});

Deno.test("WantedChunks holds two mebibytes for sixteen tebibytes, however they are asked for", () => {
  const chunks = 2 ** 24, wanted = new WantedChunks(offerOfSizes([chunks * CHUNK_BYTES]));
  wanted.add([{ file: 0, first: 0, count: 1 }, { file: 0, first: chunks - 3, count: 3 }]);
  assert.deepEqual([...wanted.chunksOf(0)], [0, chunks - 3, chunks - 2, chunks - 1]);
  assert.equal(wanted.totalBytes, 4 * CHUNK_BYTES);
});
