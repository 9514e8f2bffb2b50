/** Sessions in tests: one of them against the other, or against a test that plays the other side. */
import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS, type TransferLimits } from "../../../src/protocol/transfer/limits.ts";
import type { TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { receiveSession } from "../../../src/protocol/transfer/receiving.ts";
import { sendSession } from "../../../src/protocol/transfer/sending.ts";
import type { HeardRecord, SessionEvent } from "../../../src/protocol/transfer/session.ts";
import type { Compression } from "../../../src/protocol/transfer/source.ts";
import { MemoryChannel } from "./memory_channel.ts";
import { quiet, RelayClock } from "./memory_relay_clock.ts";
import { MemorySink } from "./memory_sink.ts";
import { MemorySource, type Tree } from "./memory_source.ts";
import { NO_COMPRESSION } from "./test_compression.ts";

/** How a session ended. */
export type Outcome = TransferError | "done";

/** Turns a session into its outcome; anything but a `TransferError` is a fault. */
export function outcomeOf(session: Promise<void>): Promise<Outcome> {
  return session.then(
    () => "done",
    (error) => {
      assert.ok(error instanceof TransferError, `found ${error?.stack}`);
      return error;
    },
  );
}

/** What a stage is set with. */
export interface StageOptions {
  readonly compression?: Compression;
  readonly limits?: Partial<TransferLimits>;
}

/** One side of a session, played by the real code. */
export interface Victim {
  readonly timers: RelayClock;
  /** The end that the test holds. */
  readonly there: MemoryChannel;
  readonly events: SessionEvent[];
  readonly outcome: Promise<Outcome>;
  readonly abort: AbortController;
}

/** A receiving session; the test is its sender. */
export function victimReceiver(
  options: StageOptions = {},
  sink: MemorySink = new MemorySink(),
): Victim & { readonly sink: MemorySink; readonly channel: MemoryChannel } {
  const timers = new RelayClock(), abort = new AbortController();
  const [here, there] = MemoryChannel.pair(timers), events: SessionEvent[] = [];
  const outcome = outcomeOf(receiveSession(here, {
    sink,
    compression: options.compression ?? NO_COMPRESSION,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    timers,
    onEvent: (event) => events.push(event),
    signal: abort.signal,
  }));
  return { timers, there, events, outcome, abort, sink, channel: here };
}

/** A sending session; the test is its receiver. */
export function victimSender(
  source: MemorySource,
  options: StageOptions = {},
): Victim & { readonly source: MemorySource } {
  const timers = new RelayClock(), abort = new AbortController();
  const [here, there] = MemoryChannel.pair(timers), events: SessionEvent[] = [];
  const outcome = outcomeOf(sendSession(here, {
    source,
    compression: options.compression ?? NO_COMPRESSION,
    timers,
    onEvent: (event) => events.push(event),
    signal: abort.signal,
  }));
  return { timers, there, events, outcome, abort, source };
}

/** The next thing that the victim says which is no heartbeat. */
export async function said(victim: Pick<Victim, "there">): Promise<HeardRecord | null> {
  for (;;) {
    const record = await victim.there.receive();
    if (record?.message.type !== "heartbeat") return record;
  }
}

/** As `said`, and it must be of that type. */
export async function saidMessage<T extends TransferMessage["type"]>(
  victim: Victim,
  type: T,
): Promise<Extract<TransferMessage, { type: T }>> {
  const record = await said(victim);
  assert.equal(record?.message.type, type);
  return record?.message as Extract<TransferMessage, { type: T }>;
}

/** Waits for the end of a victim; nothing of it may be left. */
export async function ended(victim: Victim, limitMs = 10_000): Promise<Outcome> {
  await victim.timers.settle([victim.outcome], limitMs);
  victim.there.close();
  await quiet();
  assert.equal(victim.timers.pending, 0, "timers are left");
  assert.ok(victim.there.isClosed);
  return await victim.outcome;
}

/** As `ended`; it must have failed with that code, for that side's reason. */
export async function failed(
  victim: Victim,
  code: TransferError["code"],
  side: TransferError["side"] = "here",
): Promise<TransferError> {
  const outcome = await ended(victim);
  assert.ok(outcome instanceof TransferError, "it ended well");
  assert.equal(outcome.code, code, outcome.message);
  assert.equal(outcome.side, side);
  assert.doesNotMatch(outcome.message, /\.$/);
  return outcome;
}

/** What the victim said last, and the `stop` that it must be. */
export async function stopSaid(
  victim: Pick<Victim, "there">,
): Promise<Extract<TransferMessage, { type: "stop" }>> {
  for (;;) {
    const record = await said(victim);
    assert.notEqual(record, null, "no stop was said");
    if (record?.message.type === "stop") return record.message;
  }
}

/** Both sides of a session. */
export interface Played {
  readonly source: MemorySource;
  readonly sink: MemorySink;
  readonly sent: Outcome;
  readonly received: Outcome;
  readonly sendEvents: readonly SessionEvent[];
  readonly receiveEvents: readonly SessionEvent[];
}

/** What a whole session is played with. */
export interface PlayOptions extends StageOptions {
  readonly source?: MemorySource;
  readonly sink?: MemorySink;
  readonly timers?: RelayClock;
  readonly signal?: AbortSignal;
}

const MAX_PLAY_MS = 24 * 3_600_000;

/** Sends a tree from one session to another, to the end. */
export async function play(
  tree: Tree,
  options: PlayOptions = {},
): Promise<Played> {
  const timers = options.timers ?? new RelayClock(), [there, here] = MemoryChannel.pair(timers);
  const source = options.source ?? new MemorySource(tree), sink = options.sink ?? new MemorySink();
  const compression = options.compression ?? NO_COMPRESSION;
  const sendEvents: SessionEvent[] = [], receiveEvents: SessionEvent[] = [];
  const { signal } = options;
  const sending = sendSession(there, {
    source,
    compression,
    timers,
    onEvent: (event) => sendEvents.push(event),
    signal,
  });
  const receiving = receiveSession(here, {
    sink,
    compression,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    timers,
    onEvent: (event) => receiveEvents.push(event),
    signal,
  });
  const sent = outcomeOf(sending), received = outcomeOf(receiving);
  await timers.settle([sent, received], MAX_PLAY_MS);
  assert.equal(timers.pending, 0);
  assert.deepEqual(sink.complaints, []);
  return { source, sink, sent: await sent, received: await received, sendEvents, receiveEvents };
}

/** Compares trees without printing megabytes. */
export function assertSameTree(found: Tree, expected: Tree): void {
  assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
  for (const [path, bytes] of expected) {
    const other = found.get(path);
    if (bytes === null) assert.equal(other, null);
    else assert.ok(other instanceof Uint8Array && isSame(other, bytes), `${path} differs`);
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
