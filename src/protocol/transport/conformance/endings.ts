/** Cases about ends: half-closes, closes here and there, and ends that vanish. */
import {
  bothWays,
  type ConformanceCase,
  ConformanceError,
  type Ends,
  type OpenPair,
  outcomeAfter,
  pause,
  type Settings,
} from "./case.ts";
import { checkTransportError, expectFailure, readEnd, readPattern, readSome } from "./expect.ts";
import { patternBytes } from "./pattern.ts";
import { fillUntilItWaits } from "./pressure.ts";

const KIB = 1024, MIB = 1024 * KIB;
const NEAR = 1, FAR = 2;

/** All of them. */
export function endingCases(open: OpenPair, settings: Settings): readonly ConformanceCase[] {
  const each = (name: string, act: (ends: Ends) => Promise<void>): ConformanceCase =>
    bothWays(name, open, settings, act);
  return [
    each("brings everything written before closeWrite, and then the end", endsAfterEverything),
    each("goes on reading after closeWrite", halfClosed),
    each("ends when both ends have called closeWrite, and close after that is quiet", bothHalfClosed),
    each("refuses to write after closeWrite", noWriteAfterCloseWrite),
    each("ends a read that waits when it is closed here", closeEndsRead),
    each("ends a write that waits when it is closed here", closeEndsWrite),
    each("ends a read and a write that wait at both ends when both are closed", closeEndsAll),
    each("ends what the other end reads when it is closed while a write waits", closeReachesOtherEnd),
    each("can be closed twice, and refuses everything afterwards", closedTwice),
    each("ends a read that waits when the other end vanishes", vanishedWhileReading),
    each("fails a write that waits when the other end vanishes", vanishedWhileWriting),
    each("fails to write in the end when the other end has vanished", vanishedBeforeWriting),
  ];
}

async function endsAfterEverything({ near, far, within }: Ends): Promise<void> {
  const ended = async (): Promise<void> => {
    await near.write(patternBytes(MIB, NEAR));
    await near.closeWrite();
  };
  await within(
    Promise.all([ended(), readPattern(far, NEAR, MIB)]),
    "1 MiB and closeWrite to arrive at the other end",
  );
  await readEnd(far, within, "after closeWrite");
  await readEnd(far, within, "a second time, because the end stays the end");
}

async function halfClosed({ near, far, within }: Ends): Promise<void> {
  await within(near.closeWrite(), "closeWrite to settle although the other end does not read");
  await readEnd(far, within, "after closeWrite with nothing written");
  const answered = async (): Promise<void> => {
    await far.write(patternBytes(MIB, FAR));
    await far.closeWrite();
  };
  await within(
    Promise.all([answered(), readPattern(near, FAR, MIB)]),
    "1 MiB to arrive at the end that has called closeWrite (half-close)",
  );
  await readEnd(near, within, "after closeWrite of the end that answered");
}

async function bothHalfClosed({ near, far, within }: Ends): Promise<void> {
  await within(
    Promise.all([near.closeWrite(), far.closeWrite()]),
    "closeWrite to settle at both ends at once",
  );
  await readEnd(near, within, "after closeWrite of both");
  await readEnd(far, within, "after closeWrite of both");
  near.close();
  far.close();
}

async function noWriteAfterCloseWrite({ near, far, within }: Ends): Promise<void> {
  await within(near.closeWrite(), "closeWrite to settle");
  await expectFailure(near.write(patternBytes(1, NEAR)), within, "a write after closeWrite");
  await within(near.closeWrite(), "a second closeWrite to do nothing and settle");
  await readEnd(far, within, "after closeWrite and a write that was refused");
}

async function closeEndsRead({ near, within, settings }: Ends): Promise<void> {
  const read = near.read(new Uint8Array(100));
  read.catch(() => {});
  await pause(0, settings);
  near.close();
  await expectFailure(read, within, "a read that waits when its own end is closed", "closed");
}

async function closeEndsWrite(ends: Ends): Promise<void> {
  const { near, within } = ends;
  const { write } = await fillUntilItWaits(ends);
  near.close();
  await expectFailure(write, within, "a write that waits for room when its own end is closed", "closed");
}

async function closeReachesOtherEnd(ends: Ends): Promise<void> {
  const { near, far, within } = ends;
  const { write } = await fillUntilItWaits(ends);
  near.close();
  await expectFailure(write, within, "a write that waits for room when its own end is closed", "closed");
  const buffer = new Uint8Array(64 * KIB);
  try {
    // What was written before may come first.
    while (await within(readSome(far, buffer), "the other end to read to an end, null or an error") !== null);
  } catch (error) {
    checkTransportError(error, 'a read of the other end to be rejected with TransportError "lost"', ["lost"]);
  }
}

async function closeEndsAll(ends: Ends): Promise<void> {
  const { near, far, within, settings } = ends;
  const { write } = await fillUntilItWaits(ends);
  const read = near.read(new Uint8Array(100));
  read.catch(() => {});
  await pause(0, settings);
  near.close();
  far.close();
  await expectFailure(write, within, "a write that waits for room when both ends are closed");
  await expectFailure(read, within, "a read that waits when both ends are closed");
}

async function closedTwice({ near, far, within }: Ends): Promise<void> {
  closesQuietly(near);
  closesQuietly(near);
  await expectFailure(near.read(new Uint8Array(1)), within, "a read after close", "closed");
  await expectFailure(near.write(patternBytes(1, NEAR)), within, "a write after close", "closed");
  const ended = await within(
    near.closeWrite().then(() => null, (error: unknown) => error),
    "closeWrite to settle",
  );
  if (ended !== null) {
    checkTransportError(ended, "closeWrite after close to settle or to be rejected", ["closed"]);
  }
  closesQuietly(far);
  closesQuietly(far);
}

function closesQuietly(connection: { close(): void }): void {
  try {
    connection.close();
  } catch (error) {
    throw new ConformanceError(`expected close() never to throw, it threw ${String(error)}`, {
      cause: error,
    });
  }
}

async function vanishedWhileReading({ near, far, within, settings }: Ends): Promise<void> {
  const read = readSome(near, new Uint8Array(100));
  read.catch(() => {});
  await pause(0, settings);
  far.close();
  let count: number | null;
  try {
    count = await within(read, "a read that waits to end when the other end is closed");
  } catch (error) {
    checkTransportError(error, 'the read to give null or to be rejected with TransportError "lost"', [
      "lost",
    ]);
    return;
  }
  if (count !== null) {
    throw new ConformanceError(`expected null or an error from a closed end, ${count} bytes came`);
  }
}

async function vanishedWhileWriting(ends: Ends): Promise<void> {
  const { far, within } = ends;
  const { write } = await fillUntilItWaits(ends);
  far.close();
  await expectFailure(write, within, "a write that waits for room when the other end is closed", "lost");
}

async function vanishedBeforeWriting({ near, far, settings }: Ends): Promise<void> {
  far.close();
  const piece = patternBytes(64 * KIB, NEAR);
  const { maxBufferedBytes, timeoutMs, timers } = settings;
  for (let written = 0; written <= maxBufferedBytes; written += piece.length) {
    const outcome = await outcomeAfter(near.write(piece), timeoutMs, timers);
    if (outcome.state === "rejected") {
      checkTransportError(outcome.error, 'the write to be rejected with TransportError "lost"', ["lost"]);
      return;
    }
    if (outcome.state === "waiting") {
      throw new ConformanceError(
        `expected a write to a closed end to fail, it waits for ever (after ${written} bytes)`,
      );
    }
    // Some ends learn it only from the answer to what they sent.
    await pause(0, settings);
  }
  throw new ConformanceError(
    `expected writes to a closed end to fail in the end, ${maxBufferedBytes} bytes were taken without an error`,
  );
}
