/** Both directions of a staple, and its end. */
import type { Timers } from "../../protocol/rpc/timers.ts";
import { ByteRate } from "./byte_rate.ts";
import type { Caller, RelayConnection } from "./caller.ts";
import { type Buffers, copy, type Direction } from "./copy.ts";
import type { Staple } from "./staple.ts";

/** What staples share. */
export interface JoinParts {
  readonly buffers: Buffers;
  /** Of one staple; null: no limit. */
  readonly bytesPerSecond: number | null;
  readonly timers: Timers;
}

/**
 * How long a side may go on after the other one was lost. It gets what had come for it, and an end; what it says itself
 * is thrown away, since to close a connection that still has something to be read destroys what is on its way out.
 */
export const LINGER_MS = 5000;

/**
 * Copies both ways until both sides have ended, and closes them. The end of one side is passed on to the other, which may
 * go on talking. Never throws: how a conversation ends is the clients' affair.
 */
export async function join(
  staple: Staple<Caller>,
  { buffers, bytesPerSecond, timers }: JoinParts,
): Promise<void> {
  const [parked, arrived] = staple.callers;
  const rate = bytesPerSecond === null ? null : new ByteRate(bytesPerSecond, timers);
  parked.atClose(() => rate?.close());
  const hangUp = (): void => {
    parked.close();
    arrived.close();
  };
  let callOff: (() => void) | null = null;
  const isLost = (): void => {
    callOff ??= timers.after(LINGER_MS, hangUp);
  };
  const moved = (bytes: number): void => {
    staple.bytes += bytes;
  };
  const direction = (from: Caller, to: Caller): Direction => ({
    from: from.connection,
    to: to.connection,
    early: from.takeOver(),
    buffers,
    rate,
    moved,
  });
  await Promise.all([
    passOn(direction(parked, arrived), isLost),
    passOn(direction(arrived, parked), isLost),
  ]);
  // The closures above hide the assignment from the type checker.
  (callOff as (() => void) | null)?.();
  hangUp();
}

async function passOn(direction: Direction, isLost: () => void): Promise<void> {
  try {
    await copy(direction);
    await direction.to.closeWrite();
  } catch {
    isLost();
    await direction.to.closeWrite().catch(() => {});
    await drain(direction.from);
  }
}

/** Reads to the end, for nobody. */
async function drain(from: RelayConnection): Promise<void> {
  const buffer = new Uint8Array(DRAIN_BYTES);
  try {
    while (await from.read(buffer) !== null);
  } catch {
    // It is the one that was lost, or its time is over.
  }
}

const DRAIN_BYTES = 4096;
