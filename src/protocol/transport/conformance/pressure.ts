/** Cases about much: a reader who does not read, and a great many connections. */
import type { Connection } from "../transport.ts";
import {
  bothWays,
  closeQuietly,
  type ConformanceCase,
  ConformanceError,
  type Ends,
  type OpenPair,
  openWithin,
  outcomeAfter,
  type Settings,
  waitingWithin,
} from "./case.ts";
import { readEnd, readPattern } from "./expect.ts";
import { patternBytes } from "./pattern.ts";

const PIECE_BYTES = 64 * 1024;
const NEAR = 1, FAR = 2;
const MESSAGE_BYTES = 1000;

/** All of them. */
export function pressureCases(open: OpenPair, settings: Settings): readonly ConformanceCase[] {
  return [
    bothWays(
      "makes a writer wait while the other end does not read, and then loses nothing",
      open,
      settings,
      waits,
    ),
    {
      name: `keeps ${settings.connections} open connections apart`,
      run: () => manyConnections(open, settings),
    },
  ];
}

/**
 * Writes until a write does not settle because nobody reads.
 *
 * @returns the write that waits and how many bytes the stream has with it
 */
export async function fillUntilItWaits(
  { near, settings }: Ends,
): Promise<{ readonly write: Promise<void>; readonly bytes: number }> {
  const { maxBufferedBytes, stallMs, timers } = settings;
  for (let bytes = 0;;) {
    const write = near.write(patternBytes(PIECE_BYTES, NEAR, bytes));
    bytes += PIECE_BYTES;
    const outcome = await outcomeAfter(write, stallMs, timers);
    if (outcome.state === "waiting") return { write, bytes };
    if (outcome.state === "rejected") {
      throw new ConformanceError(
        `expected a write to wait while the other end does not read, it failed: ${String(outcome.error)}`,
        { cause: outcome.error },
      );
    }
    if (bytes > maxBufferedBytes) {
      throw new ConformanceError(
        `expected writes to wait while the other end does not read (backpressure), ${bytes} bytes were taken; ` +
          `at most ${maxBufferedBytes} may be (maxBufferedBytes)`,
      );
    }
  }
}

async function waits(ends: Ends): Promise<void> {
  const { near, far, within } = ends;
  const { write, bytes } = await fillUntilItWaits(ends);
  await within(
    Promise.all([write, readPattern(far, NEAR, bytes)]),
    `the write that waited to settle and all ${bytes} bytes to arrive once the other end reads`,
  );
  await within(near.closeWrite(), "closeWrite to settle");
  await readEnd(far, within, "after everything that had waited");
}

async function manyConnections(open: OpenPair, settings: Settings): Promise<void> {
  const within = waitingWithin(settings);
  const pairs: (readonly [Connection, Connection])[] = [];
  try {
    while (pairs.length < settings.connections) {
      pairs.push(await openWithin(open, within, `connection ${pairs.length + 1} to be opened`));
    }
    await within(Promise.all(pairs.map(talk)), "each connection to carry its own bytes both ways");
    const halves = [pairs.filter((_, index) => index % 2 === 0), pairs.filter((_, index) => index % 2 === 1)];
    for (const [first, second] of halves[0] ?? []) {
      first.close();
      second.close();
    }
    const still = halves[1] ?? [];
    await within(Promise.all(still.map(talk)), "the others to go on when every second connection is closed");
  } finally {
    for (const pair of pairs) closeQuietly(...pair);
  }
}

/** Each connection has bytes of its own, so that bytes on the wrong one are noticed. */
async function talk([first, second]: readonly [Connection, Connection], index: number): Promise<void> {
  const there = NEAR + 2 * index, back = FAR + 2 * index;
  await Promise.all([
    first.write(patternBytes(MESSAGE_BYTES, there)),
    second.write(patternBytes(MESSAGE_BYTES, back)),
    readPattern(second, there, MESSAGE_BYTES),
    readPattern(first, back, MESSAGE_BYTES),
  ]);
}
