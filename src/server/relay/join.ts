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

const DRAIN_BYTES = 4096;

/**
 * Copies both ways until both sides have ended, and closes them. The end of one side is passed on to the other, which may
 * go on talking. Never throws: how a conversation ends is the clients' affair.
 */
export async function join(staple: Staple<Caller>, parts: JoinParts): Promise<void> {
  await new Joint(staple, parts).run();
}

class Joint {
  readonly #staple: Staple<Caller>;
  readonly #parts: JoinParts;
  readonly #rate: ByteRate | null;
  /** Calls off the end of the time to linger; null as long as nobody was lost. */
  #callOff: (() => void) | null = null;

  constructor(staple: Staple<Caller>, parts: JoinParts) {
    this.#staple = staple;
    this.#parts = parts;
    this.#rate = parts.bytesPerSecond === null ? null : new ByteRate(parts.bytesPerSecond, parts.timers);
  }

  async run(): Promise<void> {
    const [parked, arrived] = this.#staple.callers;
    parked.atClose(() => this.#rate?.close());
    const directions = [this.#direction(parked, arrived), this.#direction(arrived, parked)];
    await Promise.all(directions.map((each) => this.#passOn(each)));
    this.#callOff?.();
    this.#hangUp();
  }

  #direction(from: Caller, to: Caller): Direction {
    return {
      from: from.connection,
      to: to.connection,
      early: from.takeOver(),
      buffers: this.#parts.buffers,
      rate: this.#rate,
      moved: (bytes) => {
        this.#staple.bytes += bytes;
      },
    };
  }

  async #passOn(direction: Direction): Promise<void> {
    try {
      await copy(direction);
      await direction.to.closeWrite();
    } catch {
      this.#callOff ??= this.#parts.timers.after(LINGER_MS, () => this.#hangUp());
      await direction.to.closeWrite().catch(() => {});
      await drain(direction.from);
    }
  }

  #hangUp(): void {
    for (const caller of this.#staple.callers) caller.close();
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
