/** Cases about the bytes themselves: in order, nothing lost, nothing doubled, nobody's buffer touched. */
import type { Connection } from "../transport.ts";
import {
  bothWays,
  type ConformanceCase,
  ConformanceError,
  type Ends,
  type OpenPair,
  pause,
  type Settings,
} from "./case.ts";
import { checkPattern, readPattern, readSome } from "./expect.ts";
import { fillPattern, mismatchAt, patternBytes } from "./pattern.ts";

const KIB = 1024, MIB = 1024 * KIB;
const NEAR = 1, FAR = 2;
const TINY_WRITES = 10_000;
const LARGEST_POWER = 20;
/** What stands around a buffer, to see whether somebody writes beyond it. */
const GUARD = 0xa5;

/** All of them. */
export function byteCases(open: OpenPair, settings: Settings): readonly ConformanceCase[] {
  const each = (name: string, act: (ends: Ends) => Promise<void>): ConformanceCase =>
    bothWays(name, open, settings, act);
  return [
    each("carries bytes to the other end and back", answersAQuestion),
    each("keeps the order of writes of any size", keepsOrder),
    each("carries bytes both ways at once", bothAtOnce),
    each("does not hold up writes while a read waits", writesWhileReadWaits),
    each(`carries ${TINY_WRITES} writes of one byte`, tinyWrites),
    each("carries writes of sizes around powers of two", aroundPowersOfTwo),
    each(`carries one write of ${settings.largeWriteBytes} bytes`, oneLargeWrite),
    each("carries nothing for an empty write", emptyWrite),
    each("reads into small buffers and leaves what is around them alone", smallBuffers),
    each("leaves a read buffer alone after the read", readBufferIsGivenBack),
    each("lets a buffer be used again after its write", writeBufferIsGivenBack),
    each("writes a part of a larger buffer and nothing else of it", writesPart),
  ];
}

async function send(to: Connection, seed: number, sizes: Iterable<number>): Promise<void> {
  let offset = 0;
  for (const size of sizes) {
    await to.write(patternBytes(size, seed, offset));
    offset += size;
  }
}

async function carry({ near, far, within }: Ends, sizes: readonly number[], what: string): Promise<void> {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  await within(Promise.all([send(near, NEAR, sizes), readPattern(far, NEAR, bytes)]), what);
}

async function answersAQuestion(ends: Ends): Promise<void> {
  const back: Ends = { ...ends, near: ends.far, far: ends.near };
  for (let turn = 0; turn < 10; turn++) {
    await carryOne(ends, turn * 100, 100, "100 bytes to arrive");
    await carryOne(back, turn * 100, 100, "100 bytes to arrive as the answer");
  }
}

/** One write, and reads that begin at the same time: a transport need not hold anything for a reader to come. */
async function carryOne(
  { near, far, within }: Ends,
  startAt: number,
  bytes: number,
  what: string,
): Promise<void> {
  await within(
    Promise.all([near.write(patternBytes(bytes, NEAR, startAt)), readPattern(far, NEAR, bytes, { startAt })]),
    what,
  );
}

function keepsOrder(ends: Ends): Promise<void> {
  const sizes: number[] = [];
  let size = 1;
  for (let bytes = 0; bytes < 4 * MIB; bytes += size) {
    size = (size * 48_271) % 30_011;
    sizes.push(size);
  }
  return carry(ends, sizes, "4 MiB in writes of 1 to 30,010 bytes to arrive");
}

async function bothAtOnce({ near, far, within }: Ends): Promise<void> {
  const sizes = Array.from({ length: 128 }, () => 64 * KIB + 1);
  const bytes = 128 * (64 * KIB + 1);
  await within(
    Promise.all([
      send(near, NEAR, sizes),
      send(far, FAR, sizes),
      readPattern(near, FAR, bytes),
      readPattern(far, NEAR, bytes),
    ]),
    "8 MiB to arrive at each end while both write",
  );
}

async function writesWhileReadWaits(ends: Ends): Promise<void> {
  const { near, far, within } = ends;
  const answer = readPattern(near, FAR, 4);
  answer.catch(() => {});
  await carryOne(ends, 0, 4, "bytes to arrive that are written while a read of the same end waits");
  await within(
    Promise.all([far.write(patternBytes(4, FAR)), answer]),
    "the read that waited meanwhile to get the answer",
  );
}

function tinyWrites(ends: Ends): Promise<void> {
  return carry(
    ends,
    Array.from({ length: TINY_WRITES }, () => 1),
    `${TINY_WRITES} writes of one byte to arrive`,
  );
}

async function aroundPowersOfTwo(ends: Ends): Promise<void> {
  let startAt = 0;
  for (let power = 0; power <= LARGEST_POWER; power++) {
    for (const size of [2 ** power - 1, 2 ** power, 2 ** power + 1]) {
      if (size === 0) continue;
      await carryOne(ends, startAt, size, `a write of ${size} bytes to arrive`);
      startAt += size;
    }
  }
}

function oneLargeWrite(ends: Ends): Promise<void> {
  const size = ends.settings.largeWriteBytes;
  return carry(ends, [size], `one write of ${size} bytes to settle and to arrive`);
}

async function emptyWrite(ends: Ends): Promise<void> {
  const { near, within } = ends;
  await within(near.write(new Uint8Array(0)), "a write of no bytes to settle");
  await carryOne(ends, 0, 1, "one byte, written after an empty write, to arrive");
  await within(near.write(new Uint8Array(0)), "a second write of no bytes to settle");
  await carryOne(ends, 1, 1, "one byte more to arrive");
}

async function smallBuffers({ near, far, within }: Ends): Promise<void> {
  const bytes = 2000;
  const written = near.write(patternBytes(bytes, NEAR));
  written.catch(() => {});
  const around = new Uint8Array(64);
  for (let got = 0, size = 1; got < bytes; size = size % 13 + 1) {
    around.fill(GUARD);
    const buffer = around.subarray(20, 20 + Math.min(size, bytes - got));
    const count = await within(
      readSome(far, buffer),
      `a read into ${buffer.length} bytes to give what is there`,
    );
    if (count === null) throw new ConformanceError(`expected ${bytes} bytes, the end came after ${got}`);
    checkPattern(buffer.subarray(0, count), NEAR, got);
    checkUntouched(around.subarray(0, 20), "in front of the buffer");
    checkUntouched(around.subarray(20 + buffer.length), "behind the buffer");
    got += count;
  }
  await within(written, "the write of what was read to settle");
}

async function readBufferIsGivenBack({ near, far, within }: Ends): Promise<void> {
  const first = new Uint8Array(1000);
  const written = near.write(patternBytes(10, NEAR));
  written.catch(() => {});
  const count = await within(readSome(far, first), "10 bytes or some of them to arrive");
  if (count === null) throw new ConformanceError("expected 10 bytes, the end of the stream came");
  first.fill(GUARD);
  const rest = 2000 - count;
  const writeMore = async (): Promise<void> => {
    await written;
    await near.write(patternBytes(1990, NEAR, 10));
  };
  await within(
    Promise.all([writeMore(), readPattern(far, NEAR, rest, { startAt: count })]),
    "1,990 bytes more to arrive in another buffer",
  );
  checkUntouched(first, "of a buffer whose read was over");
}

function checkUntouched(bytes: Uint8Array, where: string): void {
  if (bytes.every((byte) => byte === GUARD)) return;
  throw new ConformanceError(`expected the bytes ${where} to stay as they were, the transport changed them`);
}

async function writeBufferIsGivenBack({ near, far, within, settings }: Ends): Promise<void> {
  const bytes = 256 * KIB;
  const reuse = async (): Promise<void> => {
    const buffer = new Uint8Array(KIB);
    for (let offset = 0; offset < bytes; offset += KIB) {
      fillPattern(buffer, NEAR, offset);
      await near.write(buffer);
      buffer.fill(GUARD);
    }
  };
  const written = reuse();
  written.catch(() => {});
  // The reader begins late, so that what the transport keeps by reference is overwritten before it is read.
  await pause(20, settings);
  await within(
    Promise.all([written, readPattern(far, NEAR, bytes)]),
    "256 KiB to arrive that were written out of one buffer",
  );
}

async function writesPart({ near, far, within }: Ends): Promise<void> {
  const whole = patternBytes(3 * KIB, NEAR);
  const writeParts = async (): Promise<void> => {
    await near.write(whole.subarray(KIB, 2 * KIB));
    await near.write(whole.subarray(2 * KIB, 2 * KIB + 1));
    await near.write(whole.subarray(2 * KIB + 1));
  };
  await within(
    Promise.all([writeParts(), readPattern(far, NEAR, 2 * KIB, { startAt: KIB })]),
    "the last two thirds of a buffer, written in three parts, to arrive",
  );
  if (whole.length !== 3 * KIB || mismatchAt(whole, NEAR, 0) !== -1) {
    throw new ConformanceError(
      "expected what was written to stay as it was, the transport changed or took it",
    );
  }
}
