/**
 * One direction of a staple: what one side says, in order, to the other.
 *
 * At rest a direction has a small buffer, which is in its next read. What fills it comes fast, and gets a big one for the
 * next reads, out of the few there are; the first read that does not fill as much as the small one gives it back. A big
 * buffer makes it fast, not right: without one the same bytes go in smaller pieces, three quarters as fast.
 *
 * Nothing is read while something is being written, so a slow reader holds back who writes to it, by way of the kernel's
 * buffers, and nobody else.
 */
import { BufferPool } from "./buffer_pool.ts";
import type { ByteRate } from "./byte_rate.ts";
import type { EarlyBytes, RelayConnection } from "./caller.ts";

/** Length of the buffer of a direction at rest. */
export const SMALL_BUFFER_BYTES = 16 * 1024;
/** Length of a buffer of the pool. More than twice as many bytes gain nothing, half as many lose a sixth of the speed. */
export const BIG_BUFFER_BYTES = 512 * 1024;
/** 16 MiB in all. */
const BIG_BUFFERS = 32;
/** 4 MiB in all. */
const SMALL_BUFFERS_KEPT = 256;

/** Where the buffers of all directions come from. */
export interface Buffers {
  /** As many as there are directions. */
  readonly small: BufferPool;
  /** Few. */
  readonly big: BufferPool;
}

/** Buffers of `SMALL_BUFFER_BYTES` and `BIG_BUFFER_BYTES`. */
export function relayBuffers(): Buffers {
  return {
    small: new BufferPool({
      bufferBytes: SMALL_BUFFER_BYTES,
      maxLent: Infinity,
      maxKept: SMALL_BUFFERS_KEPT,
    }),
    big: new BufferPool({ bufferBytes: BIG_BUFFER_BYTES, maxLent: BIG_BUFFERS, maxKept: BIG_BUFFERS }),
  };
}

/** What a direction of a staple is made of. */
export interface Direction {
  readonly from: RelayConnection;
  readonly to: RelayConnection;
  /** What was said before there was a staple. */
  readonly early: EarlyBytes;
  readonly buffers: Buffers;
  readonly rate: ByteRate | null;
  /** Told of each piece that the other side's socket has taken. */
  readonly moved: (bytes: number) => void;
}

/**
 * Copies until the one side ends.
 *
 * @throws whatever a read or a write throws
 */
export async function copy(direction: Direction): Promise<void> {
  const { early: { said, reading, rest } } = direction;
  await pass(direction, said, said.length);
  if (reading !== null) {
    const bytes = await reading;
    if (bytes === null) return;
    await pass(direction, rest, bytes);
  }
  await copyOn(direction);
}

async function copyOn(direction: Direction): Promise<void> {
  const { from, buffers, rate } = direction;
  const small = buffers.small.lend() ?? new Uint8Array(SMALL_BUFFER_BYTES);
  let big: Uint8Array<ArrayBuffer> | null = null;
  try {
    for (;;) {
      const buffer: Uint8Array<ArrayBuffer> = big ?? small;
      const bytes = await from.read(rate === null ? buffer : buffer.subarray(0, await rate.room()));
      if (bytes === null) return;
      await pass(direction, buffer, bytes);
      if (big === null) {
        if (bytes === small.length) big = buffers.big.lend();
      } else if (bytes < small.length) {
        buffers.big.takeBack(big);
        big = null;
      }
    }
  } finally {
    if (big !== null) buffers.big.takeBack(big);
    buffers.small.takeBack(small);
  }
}

/** Writes the first `bytes` of a buffer. */
async function pass({ to, rate, moved }: Direction, buffer: Uint8Array, bytes: number): Promise<void> {
  rate?.spend(bytes);
  for (let at = 0; at < bytes;) {
    const written = await to.write(buffer.subarray(at, bytes));
    at += written;
    moved(written);
  }
}
