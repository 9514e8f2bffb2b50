/** Sides that look for each other, over a relay in memory. */
import assert from "node:assert/strict";
import { generateCode, type TransferCode } from "../../../src/protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { RandomBytes } from "../../../src/protocol/rpc/timers.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import type { Rendezvous, TransferRole } from "../../../src/protocol/transfer/pairing.ts";
import { type Dial, meet, type Met } from "../../../src/protocol/transfer/rendezvous.ts";
import { MemoryRelay, type RelayPolicy } from "./memory_relay.ts";
import { Dice, RelayClock } from "./memory_relay_clock.ts";
import { GuessBook } from "./memory_relay_parties.ts";

export const HOUR_MS = 3_600_000;

/** One side that looks for the other. */
export interface Seeker {
  readonly told: string[];
  readonly book: GuessBook;
  readonly stop: AbortController;
  readonly found: Promise<Met>;
  met: Met | null;
  error: unknown;
  endedMs: number;
}

export interface SeekerOptions {
  readonly who?: string;
  readonly code?: TransferCode;
  readonly rendezvous?: Rendezvous;
  /** What is drawn first. */
  readonly instance?: Uint8Array<ArrayBuffer>;
  readonly waitMs?: number;
  readonly graceMs?: number;
  readonly dial?: Dial;
  readonly memory?: PairingMemory;
}

export class Place {
  readonly clock = new RelayClock();
  readonly dice: Dice;
  readonly relay: MemoryRelay;
  readonly code: TransferCode;
  readonly seekers: Seeker[] = [];

  constructor(policy: RelayPolicy = {}, seed = 1) {
    this.dice = new Dice(seed);
    this.relay = new MemoryRelay(() => this.clock.monotonicMs(), policy);
    this.code = generateCode(this.dice.bytes);
  }

  seek(role: TransferRole, options: SeekerOptions = {}): Seeker {
    const { who = role, code = this.code, waitMs = HOUR_MS, graceMs = 120_000 } = options;
    const { rendezvous = { kind: "code", code }, instance = this.dice.bytes(16) } = options;
    let isDrawn = false;
    const random: RandomBytes = (length) => {
      if (isDrawn) return this.dice.bytes(length);
      isDrawn = true;
      return instance;
    };
    const told: string[] = [], book = new GuessBook(), stop = new AbortController();
    const found = meet({
      dial: options.dial ?? this.relay.dialFor(who),
      pairing: { role, rendezvous, sendIdentifier: true, memory: options.memory ?? book },
      untilMs: this.clock.monotonicMs() + waitMs,
      graceMs,
      timers: this.clock,
      random,
      signal: stop.signal,
      onWaiting: () => void told.push("waiting"),
      onUnreachable: (error) => void told.push(error.code),
    });
    const seeker: Seeker = { told, book, stop, found, met: null, error: null, endedMs: -1 };
    const ended = (): void => void (seeker.endedMs = this.clock.monotonicMs());
    found.then((met) => void (seeker.met = met), (error) => void (seeker.error = error)).then(ended);
    this.seekers.push(seeker);
    return seeker;
  }

  async ended(limitMs = 2 * HOUR_MS): Promise<void> {
    await this.clock.settle(this.seekers.map(({ found }) => found), limitMs);
  }

  /** When this client's connections were opened and closed. */
  times(who: string): (readonly [number, number | null])[] {
    return this.relay.traces.filter((each) => each.who === who).map(({ openedMs, closedMs }) =>
      [openedMs, closedMs] as const
    );
  }

  /** Gives back what was found; then nothing may be left. */
  assertNothingLeft(): void {
    for (const { met } of this.seekers) met?.connection.close();
    assert.equal(this.clock.pending, 0, "timers are left");
    assert.equal(this.relay.open, 0, "connections are left");
  }
}

export function assertFailed({ error, met }: Seeker, code: TransferErrorCode): TransferError {
  assert.equal(met, null);
  assert(error instanceof TransferError, String(error));
  assert.equal(error.code, code);
  return error;
}

/** Both hold the same secret, and neither has used up more than one guess. */
export function assertMet(a: Seeker, b: Seeker): void {
  assert(a.met !== null && b.met !== null, `${a.error} ${b.error}`);
  assert.deepEqual(a.met.paired.resumeSecret, b.met.paired.resumeSecret);
}
