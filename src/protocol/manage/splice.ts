/**
 * Joins two flows, so that what comes out of one goes into the other: the middle of a session, at the server. Half of
 * it may end before the other half, as with any connection; a reset of one goes on to the other.
 */
import type { FlowConnection } from "./flow_connection.ts";
import { ReadBuffer } from "./read_buffer.ts";
import type { ResetError } from "./reset_code.ts";

/** What went through. */
export interface Spliced {
  /** Bytes that came out of `a` and were taken by `b`. */
  readonly aToB: number;
  /** Bytes that came out of `b` and were taken by `a`. */
  readonly bToA: number;
  /** Why it ended, if not both sides ended their writing: the reset of whichever flow failed first. */
  readonly failure: ResetError | null;
}

/** Copies both ways until both flows are over; never rejects. Nobody else reads or writes them any more. */
export async function splice(a: FlowConnection, b: FlowConnection): Promise<Spliced> {
  let failure: ResetError | null = null;
  const passOn = async (from: FlowConnection, to: FlowConnection): Promise<void> => {
    const error = await from.closed;
    if (error === null) return;
    failure ??= error;
    to.reset(error.code, error.message);
  };
  const [aToB, bToA] = await Promise.all([copy(a, b), copy(b, a), passOn(a, b), passOn(b, a)]);
  return { aToB, bToA, failure };
}

/** One direction; gives the number of bytes. */
async function copy(from: FlowConnection, to: FlowConnection): Promise<number> {
  const buffer = new ReadBuffer();
  let bytes = 0;
  try {
    for (let count = await from.read(buffer.bytes); count !== null; count = await from.read(buffer.bytes)) {
      await to.write(buffer.bytes.subarray(0, count));
      bytes += count;
      buffer.used(count);
    }
    await to.closeWrite();
  } catch {
    // One of the two has failed: that is passed on, see above.
  }
  buffer.release();
  return bytes;
}
