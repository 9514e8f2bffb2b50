/**
 * A whole RPC peer against frames that are valid, damaged, out of order or hostile: it must end with a reason, leave
 * nothing open, and have written nothing but frames.
 */
import assert from "node:assert/strict";
import { call, contract, duplex, stream, upload } from "../src/protocol/rpc/contract.ts";
import { RpcError } from "../src/protocol/rpc/errors.ts";
import { FRAME_KINDS, HEADER_BYTES, paddedBytes } from "../src/protocol/rpc/frame.ts";
import { FrameReader } from "../src/protocol/rpc/frame_reader.ts";
import { implement } from "../src/protocol/rpc/implement.ts";
import { json } from "../src/protocol/rpc/json_codec.ts";
import { DEFAULT_LIMITS, type Limits } from "../src/protocol/rpc/limits.ts";
import { Peer } from "../src/protocol/rpc/peer.ts";
import type { Timers } from "../src/protocol/rpc/timers.ts";
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";

/** Far beyond what anything here takes. */
const PATIENCE_MS = 5_000;
const MAX_TURNS = 500;
const GOOD_ENDS = new Set(["lost", "normal"]);

const fuzzed = contract({
  add: call<{ a: number; b: number }, number>(),
  both: duplex<number, number, number>(),
  count: stream<number, number>(),
  sum: upload<number, number, number>(),
});
/** Numbers of the methods on the wire. */
const ADD = 0, BOTH = 1, COUNT = 2, SUM = 3;

const served = implement(fuzzed, {
  add: ({ a, b }) => a + b,
  both: (_input, items) => items,
  count: (to) => Array.from({ length: Math.min(10, Math.max(0, Math.floor(to) || 0)) }, (_, i) => i),
  sum: sumOf,
});

async function sumOf(start: number, items: AsyncIterable<number>): Promise<number> {
  let sum = start;
  for await (const item of items) {
    sum += item;
  }
  return sum;
}

/** Small, so that a few frames are enough to go beyond them. */
const limits: Limits = {
  ...DEFAULT_LIMITS,
  maxBodyBytes: 256,
  maxConcurrentCalls: 4,
  streamWindowBytes: 128,
};

type Step = readonly [kind: number, method: number, id: number, value: number, body: string];
const K = FRAME_KINDS;

/** What a dialler may send to a peer that listens, has called `add` as 2 and `both` as 4, and serves all methods. */
const scripts: readonly (readonly Step[])[] = [
  [[K.call, ADD, 1, 500, '{"a":1,"b":2}'], [K.call, ADD, 3, 0, '{"a":1}'], [K.cancel, 0, 3, 3, ""]],
  [[K.call, COUNT, 1, 0, "5"], [K.credit, 0, 1, 64, ""], [K.stop, 0, 1, 0, ""], [K.call, COUNT, 3, 0, "0"]],
  [[K.call, SUM, 1, 0, "0"], [K.item, 0, 1, 0, "4"], [K.item, 0, 1, 0, "5"], [K.end, 0, 1, 0, ""]],
  [[K.call, BOTH, 1, 0, "0"], [K.item, 0, 1, 0, "4"], [K.error, 0, 1, 1, "no_more\nof it"], [
    K.ping,
    0,
    0,
    7,
    "",
  ]],
  [[K.reply, 0, 2, 0, "3"], [K.item, 0, 4, 0, "1"], [K.credit, 0, 4, 99, ""], [K.end, 0, 4, 0, ""]],
  [[K.error, 0, 2, 2, "failed"], [K.stop, 0, 4, 0, ""], [K.error, 0, 4, 8, "closing"], [
    K.drain,
    0,
    0,
    0,
    "",
  ]],
  [[K.ping, 0, 0, 1, ""], [K.pong, 0, 0, 9, ""], [K.drain, 0, 0, 0, ""], [K.close, 0, 0, 0, "bye"]],
  [[K.call, BOTH, 1, 0, "0"], [K.call, BOTH, 3, 0, "0"], [K.call, SUM, 5, 0, "0"], [K.call, SUM, 7, 0, "0"]],
];

/** Length of the reads, then frames of one or two of the scripts, in order or not, damaged or not. */
export function peerInput(random: FuzzRandom): Uint8Array {
  const steps = [random.pick(scripts), random.below(3) === 0 ? random.pick(scripts) : []].flat();
  const disorder = random.below(3);
  const sent = disorder === 0 ? steps.map(() => random.pick(steps)) : steps;
  const frames = sent.map((step) => frameOf(random.below(12) === 0 ? changed(step, random) : step));
  const bytes = Uint8Array.from(frames.flatMap((frame) => [...frame]));
  return Uint8Array.of(1 + random.below(100), ...random.below(3) === 0 ? random.mutate(bytes) : bytes);
}

/** Also one that `FrameWriter` would refuse to write. */
function frameOf([kind, method, id, value, text]: Step): Uint8Array {
  const body = new TextEncoder().encode(text);
  const frame = new Uint8Array(HEADER_BYTES + paddedBytes(body.length));
  const view = new DataView(frame.buffer);
  view.setUint32(0, body.length);
  view.setUint8(4, kind);
  view.setUint16(6, method);
  view.setUint32(8, id);
  view.setUint32(12, value);
  frame.set(body, HEADER_BYTES);
  return frame;
}

/** A frame of the right form with something else in it, which damaged bytes seldom are. */
function changed([kind, method, id, value, body]: Step, random: FuzzRandom): Step {
  switch (random.below(4)) {
    case 0:
      return [kind, method, random.pick([0, 1, 2, 3, 4, 5, 9, 0x80000001, 0xffffffff]), value, body];
    case 1:
      return [kind, method, id, random.pick([0, 1, 3, 4, 5, 11, 0x7fffffff, 0xffffffff]), body];
    case 2:
      return [kind, method, id, value, random.pick(["", "x", "1", "[[", "1".repeat(300), "\u0000", "null"])];
    default:
      return [random.pick(Object.values(FRAME_KINDS)), method, id, value, body];
  }
}

/** Timers that never go off, so that nothing here depends on the machine; those still set are counted. */
class SilentTimers implements Timers {
  readonly #set = new Set<() => void>();

  get count(): number {
    return this.#set.size;
  }

  monotonicMs(): number {
    return 0;
  }

  after(_delayMs: number, act: () => void): () => void {
    this.#set.add(act);
    return () => this.#set.delete(act);
  }
}

/** Whether all frames were in order; throws if the peer does not end as it should. */
export async function acceptsPeerInput(input: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const [cut = 1] = input;
  const connection = new RecordedConnection(input.subarray(1), Math.max(1, cut));
  const timers = new SilentTimers();
  const peer = new Peer({
    connection,
    role: "listener",
    codec: json,
    serves: served,
    calls: fuzzed,
    peer: { transport: "recorded", remoteAddress: null, authenticated: "none", executablePath: null },
    limits,
    told: limits,
    timers,
  });
  const calls = [peer.client.add({ a: 1, b: 2 }), readAll(peer.client.both(0, [1, 2, 3]))];
  const outcomes = calls.map((each) => each.then(() => null, (error: unknown) => error));
  const { reason } = await inTime(peer.closed);
  for (const error of await inTime(Promise.all(outcomes))) {
    assert(error === null || error instanceof RpcError, String(error));
  }
  await inTime(untilNothingIsOpen(peer, timers));
  assertFrames(connection.written);
  return GOOD_ENDS.has(reason);
}

async function readAll(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items) {
    // Only to have read it.
  }
}

/** Handlers settle some turns after the connection has gone. */
async function untilNothingIsOpen(peer: Peer<typeof fuzzed>, timers: SilentTimers): Promise<void> {
  const isOpen = (): boolean =>
    timers.count + Object.values(peer.counts()).reduce((sum, count) => sum + count) > 0;
  for (let turns = 0; isOpen(); turns++) {
    assert(turns < MAX_TURNS, `still open: ${JSON.stringify(peer.counts())}, ${timers.count} timers set`);
    await Promise.resolve();
  }
}

/** What a peer writes is what another one reads. */
function assertFrames(chunks: readonly Uint8Array[]): void {
  const reader = new FrameReader({ maxBodyBytes: limits.maxBodyBytes });
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const space = reader.space(), part = chunk.subarray(at, at + space.length);
      space.set(part);
      reader.filled(part.length);
      at += part.length;
      while (reader.next() !== null);
    }
  }
  assert.equal(reader.pendingBytes, 0, "the peer wrote a part of a frame");
}

/** A peer that hangs is a failure too. */
async function inTime<T>(promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`the peer hangs: ${PATIENCE_MS} ms were not enough`)),
    PATIENCE_MS,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
