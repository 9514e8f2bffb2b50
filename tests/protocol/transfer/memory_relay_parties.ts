/** Senders and receivers as they are, with files in memory, over a relay in memory. */
import assert from "node:assert/strict";
import { generateCode, type TransferCode } from "../../../src/protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { TransferEvent } from "../../../src/protocol/transfer/events.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import type { Rendezvous } from "../../../src/protocol/transfer/pairing.ts";
import { runReceive } from "../../../src/protocol/transfer/receive_run.ts";
import type { Dial } from "../../../src/protocol/transfer/rendezvous.ts";
import { runShare } from "../../../src/protocol/transfer/share_run.ts";
import type { Sink } from "../../../src/protocol/transfer/sink.ts";
import type { Compression, Source } from "../../../src/protocol/transfer/source.ts";
import { MemoryRelay, slow, type Wire } from "./memory_relay.ts";
import { Dice, RelayClock } from "./memory_relay_clock.ts";
import { MemorySink, type SinkAct } from "./memory_sink.ts";
import { MemorySource, type Tree } from "./memory_source.ts";

/** Sizes of enough files for something to happen in the midst of them. */
export const MANY: readonly number[] = Array.from({ length: 40 }, (_, index) => 50 + 10 * index);
/** What parties are given when nothing else is said. */
export const GRACE_MS = 120_000,
  WAIT_MS = 600_000;

/** How often a sink was asked for something. */
export function asked(sink: MemorySink, act: SinkAct): number {
  return sink.acts.filter((each) => each.split(" ")[0] === act).length;
}

/** From now on, a sink fails to write. */
export function failWrites(sink: MemorySink, failure: TransferError): void {
  sink.before = (act) => {
    if (act === "write") throw failure;
  };
}

/** Everything is there, once, and is what was sent. */
export function assertArrived(sink: MemorySink, tree: Tree): void {
  assert(sink.isFinished, "the sink was not told that everything is there");
  assert.deepEqual(sink.tree, tree);
  assert.deepEqual(sink.complaints, []);
}

/** Nothing is made smaller. */
export const NO_COMPRESSION: Compression = {
  compress: (chunk) => Promise.resolve(chunk),
  decompress: () => Promise.reject(new TransferError("malformed", "nothing here was made smaller")),
};

/** What would have been written down of a code's guesses, in order. */
export class GuessBook implements PairingMemory {
  readonly lines: { readonly act: "spend" | "proven"; readonly secret: string }[] = [];

  spend(secret: Uint8Array<ArrayBuffer>): Promise<void> {
    this.lines.push({ act: "spend", secret: secret.toHex() });
    return Promise.resolve();
  }

  proven(secret: Uint8Array<ArrayBuffer>): Promise<void> {
    this.lines.push({ act: "proven", secret: secret.toHex() });
    return Promise.resolve();
  }

  get spent(): number {
    return this.lines.filter(({ act }) => act === "spend").length;
  }

  get right(): number {
    return this.lines.filter(({ act }) => act === "proven").length;
  }

  /** Guesses that nobody has proven to be right. */
  get failed(): number {
    return this.spent - this.right;
  }
}

/** One run of a sender or a receiver. */
export interface Party {
  readonly who: string;
  readonly events: TransferEvent[];
  readonly book: GuessBook;
  readonly stop: AbortController;
  /** Settles with the run. */
  readonly run: Promise<void>;
  /** "running", "done", the code of the `TransferError`, or the error itself. */
  outcome: "running" | "done" | TransferErrorCode | { readonly unexpected: unknown };
  /** The error's text. */
  message: string;
  endedMs: number;
}

/** Who shares, and how. */
export interface SenderOptions {
  readonly who?: string;
  readonly code?: TransferCode | null;
  readonly source?: Source;
  readonly receivers?: number;
  readonly resume?: readonly Uint8Array<ArrayBuffer>[];
  readonly graceMs?: number;
  readonly waitMs?: number;
  readonly dial?: Dial;
  readonly finished?: (receiver: number) => Promise<void>;
  readonly memory?: PairingMemory;
}

/** Who receives, and how. */
export interface ReceiverOptions {
  readonly who?: string;
  readonly rendezvous?: Rendezvous;
  readonly sink?: Sink;
  readonly sinkFor?: () => Promise<Sink>;
  readonly graceMs?: number;
  readonly waitMs?: number;
  readonly dial?: Dial;
  readonly memory?: PairingMemory;
}

/** A clock, a relay, and what a sender and a receiver need. */
export class World {
  readonly dice: Dice;
  readonly clock = new RelayClock();
  readonly relay: MemoryRelay;
  readonly code: TransferCode;
  readonly tree: Tree;
  readonly source: MemorySource;
  readonly sink = new MemorySink();
  readonly parties: Party[] = [];
  /** What `sinkFor` was told. */
  resumeSecret: Uint8Array<ArrayBuffer> | null = null;
  /** How often it was asked. */
  sinksAsked = 0;

  constructor(seed: number = 1, sizes: readonly number[] = [0, 1, 100, 1000, 30, 500]) {
    this.dice = new Dice(seed);
    this.relay = new MemoryRelay(() => this.clock.monotonicMs());
    this.code = generateCode(this.dice.bytes);
    const files = sizes.map((bytes, index) => [`things/${index + 1}`, this.dice.bytes(bytes)] as const);
    this.tree = new Map([["things", null], ...files]);
    this.source = new MemorySource(this.tree);
  }

  sender(options: SenderOptions = {}): Party {
    const { who = "sender", code = this.code, source = this.source, receivers = 1, resume = [] } = options;
    const { graceMs = GRACE_MS, waitMs = WAIT_MS, dial = this.relay.dialFor(who) } = options;
    const { finished = () => Promise.resolve() } = options;
    return this.#party(who, ({ book, signal, onEvent }) =>
      runShare({
        source,
        compression: NO_COMPRESSION,
        dial,
        throughRelay: true,
        code,
        resume,
        receivers,
        memoryOf: () => options.memory ?? book,
        finished,
        graceMs,
        waitMs,
        timers: this.clock,
        random: this.dice.bytes,
        onEvent,
        signal,
      }));
  }

  receiver(options: ReceiverOptions = {}): Party {
    const { who = "receiver", sink = this.sink, graceMs = GRACE_MS, waitMs = WAIT_MS } = options;
    const { rendezvous = { kind: "code", code: this.code }, dial = this.relay.dialFor(who) } = options;
    return this.#party(who, ({ book, signal, onEvent }) =>
      runReceive({
        sinkFor: (secret) => {
          this.resumeSecret = secret;
          this.sinksAsked++;
          return options.sinkFor?.() ?? sink;
        },
        compression: NO_COMPRESSION,
        limits: DEFAULT_LIMITS,
        dial,
        throughRelay: true,
        rendezvous,
        memory: options.memory ?? book,
        graceMs,
        waitMs,
        timers: this.clock,
        random: this.dice.bytes,
        onEvent,
        signal,
      }));
  }

  /** Until all runs have ended, in at most that much of the clock's time. */
  async ended(limitMs = 3_600_000): Promise<void> {
    await this.clock.settle(this.parties.map(({ run }) => run), limitMs);
  }

  /** Lets time pass until something is so. */
  async until(what: string, probe: () => boolean, limitMs = 600_000): Promise<void> {
    const endMs = this.clock.monotonicMs() + limitMs;
    const STEP_MS = 50;
    while (!probe()) {
      assert(this.clock.monotonicMs() < endMs, `waited ${limitMs} ms in vain until ${what}`);
      await this.clock.pass(STEP_MS);
    }
  }

  /** From now on, whoever is brought together has a slow link, that long for each 200 bytes. */
  slowDown(pieceMs: number = 10): void {
    const wire = (to: Wire): Wire => slow(to, 200, () => this.clock.pause(pieceMs));
    this.relay.policy = {
      ...this.relay.policy,
      wires: (parked, end) => ({ toParked: wire(parked.wire), toEnd: wire(end.wire) }),
    };
  }

  /** Kinds of the connections that somebody has made, in order: 1 by the code, 2 by a secret. */
  kinds(who: string): number[] {
    return this.relay.traces.filter((each) => each.who === who).map(({ type }) => type);
  }

  /** Waits until so many chunks have arrived. */
  async untilMoved(chunks: number): Promise<void> {
    await this.until(`${chunks} chunks have moved`, () => this.sink.written.size >= chunks);
  }

  /** The same nameplate, other words. */
  otherCode(): TransferCode {
    const { nameplate } = this.code, { words } = generateCode(this.dice.bytes);
    return { nameplate, words, text: [nameplate, ...words].join("-") };
  }

  /** No timer is left, and no connection. */
  assertNothingLeft(): void {
    assert.equal(this.clock.pending, 0, "timers are left");
    assert.equal(this.relay.open, 0, "connections are left");
  }

  #party(
    who: string,
    begin: (
      own: { book: GuessBook; signal: AbortSignal; onEvent: (event: TransferEvent) => void },
    ) => Promise<void>,
  ): Party {
    const book = new GuessBook(), stop = new AbortController(), events: TransferEvent[] = [];
    const run = begin({ book, signal: stop.signal, onEvent: (event) => void events.push(event) });
    const party: Party = { who, events, book, stop, run, outcome: "running", message: "", endedMs: 0 };
    const ended = (outcome: Party["outcome"], message: string): void => {
      Object.assign(party, { outcome, message, endedMs: this.clock.monotonicMs() });
    };
    run.then(
      () => ended("done", ""),
      (error) =>
        error instanceof TransferError
          ? ended(error.code, error.message)
          : ended({ unexpected: error }, String(error)),
    );
    this.parties.push(party);
    return party;
  }
}

/** The names of the events, in order, without those that come as often as they like. */
export function story({ events }: Party): string[] {
  return events.filter(({ event }) => event !== "progress").map((each) =>
    each.event === "interrupted" || each.event === "receiver_failed"
      ? `${each.event} ${each.receiver} ${each.reason}`
      : each.event === "paired"
      ? `paired ${each.receiver}${each.resumed ? " again" : ""}`
      : each.event === "done"
      ? `done ${each.receiver}`
      : each.event === "accepted"
      ? `accepted ${each.missingBytes}`
      : each.event === "file_done"
      ? `file ${each.file}`
      : each.event
  );
}
