/**
 * What is fuzzed of a link of the manage plane: its frames, the link without input and output, and a running one,
 * against frames that are valid, damaged, out of order or hostile, before and after flows were opened.
 */
import assert from "node:assert/strict";
import type { FlowConnection } from "../src/protocol/manage/flow_connection.ts";
import {
  encodeFrame,
  type Frame,
  FRAME_TYPES,
  FrameReader,
  type FrameType,
  LinkError,
} from "../src/protocol/manage/frame.ts";
import { Link } from "../src/protocol/manage/link.ts";
import type { LinkEvent } from "../src/protocol/manage/link_event.ts";
import { ResetError } from "../src/protocol/manage/reset_code.ts";
import { type IncomingFlow, RunningLink } from "../src/protocol/manage/running_link.ts";
import type { Timers } from "../src/protocol/rpc/timers.ts";
import { TransportError } from "../src/protocol/transport/transport.ts";
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import { type FuzzTarget, noiseOrMutant } from "./fuzz_target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Small, so that a few frames are enough to go beyond it. */
const WINDOW_BYTES = 100;
/** All numbers: an open or opened, a credit and a reset for each, see link_output.ts. */
const MAX_OUTPUT_BYTES = 255 * (5 + 4101 + 5 + 4 + 5 + 514);
const MAX_TURNS = 2_000;
const T = FRAME_TYPES;
const NOTHING = new Uint8Array(0);

/** Of the byte that says what we do: we are the server; we open nothing. */
const SERVER = 1, OPENS_NOTHING = 2;

interface Conversation {
  /** What we are, so that it fits. */
  readonly us: number;
  readonly frames: readonly Bytes[];
}

const conversations: readonly Conversation[] = [
  {
    us: SERVER | OPENS_NOTHING,
    frames: [open(1, 50), data(1, 20), credit(1, 9), data(1, 60), frame(T.end, 1), open(2, 1), reset(2, 0)],
  },
  {
    us: SERVER | OPENS_NOTHING,
    frames: [
      open(1, 50),
      open(2, 0),
      reset(1, 7),
      reset(2, 0),
      open(3, 9),
      data(3, 1),
      frame(T.end, 3),
      open(4, 1),
    ],
  },
  {
    us: SERVER,
    frames: [
      opened(0x80, 30),
      data(0x80, 90),
      reset(0x81, 4),
      credit(0x80, 7),
      frame(T.end, 0x80),
      open(1, 9),
    ],
  },
  {
    us: 0,
    frames: [
      opened(1, 30),
      data(1, 10),
      opened(2, 10),
      credit(1, 0xffffff00),
      frame(T.end, 1),
      reset(1, 0x8000),
    ],
  },
  {
    us: 0,
    frames: [frame(T.heartbeat, 0), open(0x80, 1), reset(1, 12), opened(2, 0), reset(2, 18), reset(0x80, 1)],
  },
  {
    us: SERVER,
    frames: [reset(0x80, 3), opened(0x81, 0), frame(T.end, 0x81), reset(0x81, 0x8001), reset(0, 13)],
  },
];
const streams = conversations.map(({ frames }) => joined(frames));

export const manageFuzzTargets: readonly FuzzTarget[] = [
  {
    name: "manage_frame",
    make: (random) => Uint8Array.of(1 + random.below(12), ...noiseOrMutant(random, streams)),
    accepts: acceptsFrames,
  },
  { name: "manage_link", make: makeLinkInput, accepts: acceptsLinkInput },
  { name: "manage_running", make: makeLinkInput, accepts: acceptsRunningInput },
];

function frame(type: FrameType, flow: number, ...data: number[]): Bytes {
  return encodeFrame(type, flow, Uint8Array.from(data));
}

function u32(value: number): number[] {
  return [value >>> 24, value >>> 16 & 0xff, value >>> 8 & 0xff, value & 0xff];
}

function open(flow: number, windowBytes: number): Bytes {
  return frame(T.open, flow, 2, ...u32(windowBytes), 7);
}

function opened(flow: number, windowBytes: number): Bytes {
  return frame(T.opened, flow, ...u32(windowBytes), 8);
}

function data(flow: number, bytes: number): Bytes {
  return encodeFrame(T.data, flow, new Uint8Array(bytes).fill(flow));
}

function credit(flow: number, bytes: number): Bytes {
  return frame(T.credit, flow, ...u32(bytes));
}

function reset(flow: number, code: number): Bytes {
  return frame(T.reset, flow, code >> 8, code & 0xff, 0x68, 0x69);
}

function joined(all: readonly Uint8Array[]): Bytes {
  return Uint8Array.from(all.flatMap((each) => [...each]));
}

/** Length of the reads, what we are and do, then frames in order or not, damaged or not. */
function makeLinkInput(random: FuzzRandom): Uint8Array {
  const { us, frames } = random.pick(conversations), disorder = random.below(4);
  const more = disorder === 0 ? random.pick(conversations).frames : [];
  const sent = disorder === 1 ? frames.map(() => random.pick(frames)) : [...frames, ...more];
  const changed = sent.map((each) => random.below(15) === 0 ? otherFrame(each, random) : each);
  const stream = joined(changed);
  const bytes = random.below(4) === 0 ? random.mutate(stream) : stream;
  const does = random.below(8) === 0 ? random.below(4) : us;
  return Uint8Array.of(1 + random.below(60), random.below(64) << 2 | does, ...bytes);
}

/** A frame of the right form with another number or type, which damaged bytes seldom are. */
function otherFrame(bytes: Bytes, random: FuzzRandom): Bytes {
  const other = bytes.slice();
  if (random.below(2) === 0) other[2] = random.pick([0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff]);
  else other[1] = random.pick(Object.values(FRAME_TYPES));
  return other;
}

interface Read {
  readonly frames: readonly Bytes[];
  /** Reason of the refusal. */
  readonly refused: string | null;
  readonly rest: Bytes;
}

function readFrames(bytes: Uint8Array, pieceBytes: number): Read {
  const reader = new FrameReader(), frames: Bytes[] = [];
  const keep = (read: readonly Frame[]): void => {
    for (const { type, flow, data } of read) frames.push(encodeFrame(type, flow, data));
  };
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      keep(reader.push(bytes.subarray(at, at + pieceBytes)));
    }
    keep(reader.push(NOTHING));
  } catch (error) {
    assert(error instanceof LinkError, String(error));
    return { frames, refused: error.reason, rest: reader.rest() };
  }
  return { frames, refused: null, rest: reader.rest() };
}

/** What was read and what is left is what was given, however it was cut. */
function acceptsFrames(input: Bytes): boolean {
  const bytes = input.subarray(1), before = bytes.slice();
  const whole = readFrames(bytes, Math.max(1, bytes.length)),
    pieces = readFrames(bytes, Math.max(1, input[0] ?? 1));
  assert.deepEqual(bytes, before, "the reader changed its input");
  assert.deepEqual(
    [pieces.frames, pieces.refused],
    [whole.frames, whole.refused],
    "it depends on the pieces",
  );
  const back = joined([...whole.frames, whole.rest]);
  assert.deepEqual(back, bytes, "bytes were lost");
  if (pieces.refused === null) assert.deepEqual(joined([...pieces.frames, pieces.rest]), bytes);
  return whole.refused === null && whole.frames.length > 0;
}

/** One side of a link that opens flows, takes what is offered, and reads some of what comes. */
class Side {
  readonly link: Link;
  readonly unread = new Map<number, number>();
  outputBytes = 0;
  isOver = false;
  readonly #does: number;
  readonly #reader = new FrameReader();

  constructor(does: number) {
    this.#does = does;
    this.link = new Link({ role: (does & SERVER) === 0 ? "dialler" : "server", nowMs: 0 });
    if ((does & OPENS_NOTHING) === 0) {
      for (let count = 0; count < 2; count++) this.link.open("session", WINDOW_BYTES, NOTHING);
    }
    this.write();
  }

  receive(bytes: Uint8Array): void {
    for (const event of this.link.receive(bytes, 0)) {
      assert(!this.isOver, "an event behind the last one");
      this.#happened(event);
    }
    if ((this.#does & 4) === 0) this.write();
  }

  #happened(event: LinkEvent): void {
    if (event.kind === "failed" || event.kind === "closed") {
      this.isOver = true;
      return;
    }
    const { flow } = event;
    if (event.kind === "open") this.unread.delete(flow);
    if (event.kind === "open" && (this.#does & 8) === 0) this.link.accept(flow, WINDOW_BYTES, NOTHING);
    else if (event.kind === "open" && (this.#does & 16) === 0) this.link.reset(flow, "offline", "");
    else if (event.kind === "data") this.#data(flow, event.bytes);
    else if (event.kind === "end" && (this.#does & 32) === 0) this.link.end(flow);
  }

  #data(flow: number, bytes: Uint8Array): void {
    const unread = (this.unread.get(flow) ?? 0) + bytes.length;
    assert(unread <= WINDOW_BYTES, "more waits than the window");
    this.unread.set(flow, unread);
    if ((this.#does & 64) !== 0) return;
    this.unread.set(flow, 0);
    this.link.consumed(flow, unread, true, 0);
  }

  /** Everything that it writes is frames, and not without end. */
  write(): void {
    let bytes = 0;
    for (let output = this.link.takeOutput(0); output !== null; output = this.link.takeOutput(0)) {
      this.#reader.push(output);
      bytes += output.length;
      this.link.release();
    }
    assert.equal(this.#reader.rest().length, 0, "it wrote a part of a frame");
    assert(bytes <= MAX_OUTPUT_BYTES, `${bytes} bytes waited to be written`);
  }
}

function acceptsLinkInput(input: Bytes): boolean {
  const [cut = 1, does = 0] = input, bytes = input.subarray(2), side = new Side(does);
  for (let at = 0; at < bytes.length; at += Math.max(1, cut)) {
    side.receive(bytes.slice(at, at + Math.max(1, cut)));
  }
  assert(side.link.openFlows <= 255);
  side.link.close("shutting_down", "");
  side.write();
  return !side.isOver;
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

/** Reads and writes a flow until it is over. */
async function use(flow: FlowConnection, does: number): Promise<void> {
  const writing = flow.write(new Uint8Array(200)).then(() => flow.closeWrite());
  const buffer = new Uint8Array(1 + does % 90);
  const reading = (async () => {
    while (await flow.read(buffer) !== null) if ((does & 64) !== 0) flow.reset("cancelled", "enough");
  })();
  for (const each of await Promise.allSettled([writing, reading])) {
    if (each.status === "fulfilled" || each.reason instanceof TransportError) continue;
    throw each.reason;
  }
}

/** Whether the connection just ended; throws if anything is left open when it has. */
async function acceptsRunningInput(input: Bytes): Promise<boolean> {
  const [cut = 1, does = 0] = input, connection = new RecordedConnection(input.subarray(2), Math.max(1, cut));
  const timers = new SilentTimers(), uses: Promise<unknown>[] = [];
  const link = new RunningLink({
    connection,
    role: (does & SERVER) === 0 ? "dialler" : "server",
    received: NOTHING,
    timers,
    onOpen: (flow) => void uses.push(answer(flow, does)),
  });
  for (let count = (does & OPENS_NOTHING) === 0 ? 2 : 0; count > 0; count--) {
    const opening = link.open("session", NOTHING, { windowBytes: WINDOW_BYTES });
    uses.push(
      opening.then(({ connection }) => use(connection, does), (error) => assert(error instanceof ResetError)),
    );
  }
  let reason: string | null = null;
  link.closed.then(({ code }) => reason = code);
  let isUsed = false;
  for (let turns = 0; reason === null || !isUsed; turns++) {
    assert(turns < MAX_TURNS, `the link hangs: it has ${timers.count} timers, its end is ${reason}`);
    if (reason !== null) Promise.allSettled(uses).then(() => isUsed = true);
    await Promise.resolve();
  }
  await Promise.all(uses);
  assert.equal(timers.count, 0, "a timer is left");
  const written = readFrames(joined(connection.written), 1_000);
  assert.deepEqual([written.refused, written.rest.length], [null, 0], "it wrote what is no frame");
  return reason === "lost";
}

async function answer(flow: IncomingFlow, does: number): Promise<void> {
  if ((does & 8) === 0) await use(flow.accept(NOTHING, { windowBytes: WINDOW_BYTES }), does);
  else if ((does & 16) === 0) flow.refuse("offline", "");
  assert.notEqual((await flow.closed)?.message, "");
}
