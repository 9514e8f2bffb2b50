/** Senders and receivers for the tests: the real ones, with files in memory, over a relay in memory. */
import assert from "node:assert/strict";
import { generateCode, type TransferCode } from "../../../src/protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { TransferEvent } from "../../../src/protocol/transfer/events.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import {
  CHUNK_BYTES,
  chunkCount,
  type ChunkRange,
  type Offer,
  type OfferEntry,
} from "../../../src/protocol/transfer/offer.ts";
import type { Rendezvous } from "../../../src/protocol/transfer/pairing.ts";
import { runReceive } from "../../../src/protocol/transfer/receive_run.ts";
import type { Dial } from "../../../src/protocol/transfer/rendezvous.ts";
import { runShare } from "../../../src/protocol/transfer/share_run.ts";
import type { Sink } from "../../../src/protocol/transfer/sink.ts";
import type { Compression, Source } from "../../../src/protocol/transfer/source.ts";
import { MemoryRelay, type RelayPolicy, slow, type Wire } from "./memory_relay.ts";
import { Dice, RelayClock } from "./memory_relay_clock.ts";

/** What is sent: a folder, an empty file, and some of these sizes. */
export class MemorySource implements Source {
  readonly offer: Offer;
  readonly contents: readonly Uint8Array<ArrayBuffer>[];
  readonly #hashes = new Map<string, Uint8Array<ArrayBuffer>>();
  /** Chunks that were read, over all sessions. */
  reads = 0;

  constructor(dice: Dice, sizes: readonly number[] = [0, 1, 100, 1000, 30, 500]) {
    this.contents = [new Uint8Array(0), ...sizes.map((bytes) => dice.bytes(bytes))];
    const entries = this.contents.map((bytes, index): OfferEntry => ({
      kind: index === 0 ? "folder" : "file",
      path: index === 0 ? "things" : `things/${index}`,
      sizeBytes: bytes.length,
      modifiedMs: 1_700_000_000_000 + index,
      mode: 0o644,
    }));
    this.offer = { kind: "files", entries, totalBytes: sizes.reduce((sum, bytes) => sum + bytes, 0) };
  }

  read(file: number, chunk: number): Promise<Uint8Array<ArrayBuffer>> {
    this.reads++;
    const bytes = this.contents[file] ?? new Uint8Array(0);
    return Promise.resolve(bytes.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES));
  }

  knownHash(file: number, chunk: number): Uint8Array<ArrayBuffer> | null {
    return this.#hashes.get(`${file} ${chunk}`)?.slice() ?? null;
  }

  keepHash(file: number, chunk: number, hash: Uint8Array<ArrayBuffer>): void {
    this.#hashes.set(`${file} ${chunk}`, hash.slice());
  }

  verifyUnchanged(): Promise<void> {
    return Promise.resolve();
  }
}

interface Chunk {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
}

/** Where it goes. */
export class MemorySink implements Sink {
  #offer: Offer | null = null;
  readonly #chunks = new Map<number, Map<number, Chunk>>();
  readonly finished = new Set<number>();
  isFinished = false;
  /** What `write` throws from now on. */
  failure: TransferError | null = null;
  /** Chunks taken, over all sessions. */
  writes = 0;
  accepts = 0;
  flushes = 0;
  /** Awaited before an offer is answered: the person who thinks it over. */
  consent: () => Promise<void> = () => Promise.resolve();

  async accept(offer: Offer): Promise<readonly ChunkRange[]> {
    this.accepts++;
    await this.consent();
    this.#offer ??= offer;
    assert.deepEqual(offer, this.#offer);
    const missing: ChunkRange[] = [];
    for (const [file, entry] of offer.entries.entries()) {
      for (let chunk = 0; chunk < chunkCount(entry.sizeBytes); chunk++) {
        if (!this.#chunksOf(file).has(chunk)) missing.push({ file, first: chunk, count: 1 });
      }
    }
    return merged(missing);
  }

  write(
    file: number,
    chunk: number,
    bytes: Uint8Array<ArrayBuffer>,
    hash: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure);
    this.writes++;
    this.#chunksOf(file).set(chunk, { bytes, hash });
    return Promise.resolve();
  }

  chunkHashes(file: number): Promise<Uint8Array<ArrayBuffer>> {
    const hashes = this.#inOrder(file).map(({ hash }) => hash);
    return Promise.resolve(joined(hashes));
  }

  finishFile(file: number): Promise<void> {
    this.finished.add(file);
    return Promise.resolve();
  }

  forgetFile(file: number): Promise<void> {
    this.#chunks.delete(file);
    return Promise.resolve();
  }

  finish(): Promise<void> {
    this.isFinished = true;
    return Promise.resolve();
  }

  flush(): Promise<void> {
    this.flushes++;
    return Promise.resolve();
  }

  /** Everything is there, and is what was sent. */
  assertHas(source: MemorySource): void {
    assert(this.isFinished, "the sink was not told that everything is there");
    for (const [file, entry] of source.offer.entries.entries()) {
      assert.equal(
        entry.kind === "folder" || this.finished.has(file),
        true,
        `file ${file} is not in its place`,
      );
      assert.deepEqual(joined(this.#inOrder(file).map(({ bytes }) => bytes)), source.contents[file]);
    }
  }

  #chunksOf(file: number): Map<number, Chunk> {
    const chunks = this.#chunks.get(file) ?? new Map<number, Chunk>();
    this.#chunks.set(file, chunks);
    return chunks;
  }

  #inOrder(file: number): Chunk[] {
    return [...this.#chunksOf(file)].sort(([a], [b]) => a - b).map(([, chunk]) => chunk);
  }
}

function merged(chunks: readonly ChunkRange[]): ChunkRange[] {
  const ranges: ChunkRange[] = [];
  for (const each of chunks) {
    const last = ranges.at(-1);
    if (last !== undefined && last.file === each.file && last.first + last.count === each.first) {
      ranges[ranges.length - 1] = { ...last, count: last.count + 1 };
    } else {
      ranges.push(each);
    }
  }
  return ranges;
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Nothing is made smaller. */
export const NO_COMPRESSION: Compression = {
  compress: () => Promise.resolve(null),
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

const GRACE_MS = 120_000;
const WAIT_MS = 600_000;

/** A clock, a relay, and what a sender and a receiver need. */
export class World {
  readonly dice: Dice;
  readonly clock = new RelayClock();
  readonly relay: MemoryRelay;
  readonly code: TransferCode;
  readonly source: MemorySource;
  readonly sink = new MemorySink();
  readonly parties: Party[] = [];
  /** What `sinkFor` was told. */
  resumeSecret: Uint8Array<ArrayBuffer> | null = null;

  constructor(seed = 1, policy: RelayPolicy = {}, sizes?: readonly number[]) {
    this.dice = new Dice(seed);
    this.relay = new MemoryRelay(() => this.clock.monotonicMs(), policy);
    this.code = generateCode(this.dice.bytes);
    this.source = new MemorySource(this.dice, sizes);
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
