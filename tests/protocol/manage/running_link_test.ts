import assert from "node:assert/strict";
import { encodeFrame, type Frame, FRAME_TYPES, FrameReader } from "../../../src/protocol/manage/frame.ts";
import { RESET_CODES, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { type IncomingFlow, RunningLink } from "../../../src/protocol/manage/running_link.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { CountedSignal } from "../rpc/counted_signal.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import { endPair, type LinkPair, linkPair, NOTHING, openFlow } from "./link_pair.ts";

const hex = Uint8Array.fromHex;
const HEARTBEAT = "0100000000";

async function withPair(act: (pair: LinkPair, timers: FakeTimers) => Promise<void>): Promise<void> {
  const timers = new FakeTimers(), pair = linkPair(timers);
  try {
    await act(pair, timers);
  } finally {
    await endPair(pair);
    assert.equal(timers.pending, 0, "no timer is left");
  }
}

/** A link whose other end is written and read by the test, frame by frame. */
function rawLink(
  role: "dialler" | "server",
  timers: FakeTimers,
  options: Partial<ConstructorParameters<typeof RunningLink>[0]> = {},
): { readonly link: RunningLink; readonly far: Connection; frames(): Promise<Frame[]> } {
  const [near, far] = memoryPair(), reader = new FrameReader();
  const link = new RunningLink({
    connection: near,
    role,
    received: NOTHING,
    timers,
    onOpen: () => {},
    ...options,
  });
  const frames = async (): Promise<Frame[]> => {
    const count = await far.read(buffer);
    return count === null ? [] : reader.push(buffer.slice(0, count));
  };
  const buffer = new Uint8Array(1_000_000);
  return { link, far, frames };
}

/** Counts writes, and can hold them up. */
class Gate implements Connection {
  readonly transport = "gate";
  readonly remoteAddress = "192.0.2.1:7022";
  readonly localAddress = null;
  readonly confidential = true;
  readonly writes: Uint8Array[] = [];
  isStuck = false;
  readonly #inner: Connection;
  /** Whether a write that waits is told, when all is closed, that it went well. */
  pretends = false;
  readonly #settle: ((error: Error | null) => void)[] = [];

  constructor(inner: Connection) {
    this.#inner = inner;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return this.#inner.read(buffer);
  }

  write(bytes: Uint8Array): Promise<void> {
    this.writes.push(bytes.slice());
    if (!this.isStuck) return this.#inner.write(bytes);
    return new Promise((resolve, reject) => {
      this.#settle.push((error) => error === null ? resolve() : reject(error));
    });
  }

  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  close(): void {
    this.#inner.close();
    for (const settle of this.#settle) {
      settle(this.pretends ? null : new TransportError("closed", "closed here"));
    }
  }
}

async function refusalOf(promise: Promise<unknown>): Promise<ResetError> {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof ResetError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "expected a refusal" });
}

Deno.test("RunningLink.open() brings purpose and parameters there and back, from both sides at once", () =>
  withPair(async ({ dialler, server, atServer, atDialler }) => {
    const ours = dialler.open("control", Uint8Array.of(1, 2)),
      theirs = server.open("session", Uint8Array.of(3));
    const [atS, atD] = await Promise.all([atServer.next(), atDialler.next()]);
    assert.deepEqual([atS.purpose, atS.parameters, atD.purpose, atD.parameters], [
      "control",
      Uint8Array.of(1, 2),
      "session",
      Uint8Array.of(3),
    ]);
    atS.accept(Uint8Array.of(4));
    atD.accept(NOTHING);
    assert.deepEqual((await ours).parameters, Uint8Array.of(4));
    assert.deepEqual((await theirs).parameters, NOTHING);
    assert.deepEqual([dialler.openFlows, server.openFlows], [2, 2]);
  }));

Deno.test("IncomingFlow.refuse() rejects the open with its code and text, and a throwing onOpen with internal", async () => {
  await withPair(async ({ dialler, atServer }) => {
    const opening = dialler.open("session", NOTHING);
    (await atServer.next()).refuse("refused_by_host", "web1 refuses: no forwards");
    const { code, by, message } = await refusalOf(opening);
    assert.deepEqual([code, by, message], ["refused_by_host", "there", "web1 refuses: no forwards"]);
    await settled();
    assert.equal(dialler.openFlows, 0);
  });
  const timers = new FakeTimers();
  const { link, far, frames } = rawLink("server", timers, {
    onOpen: () => {
      throw new Error("secret");
    },
  });
  await far.write(hex("0101010005" + "0100000000"));
  assert.equal((await frames())[0]?.data.toHex(), "0011");
  far.close();
  assert.equal((await link.closed).code, "lost");
});

Deno.test("IncomingFlow.accept() works once, and gives a failed connection if the opener gave up", () =>
  withPair(async ({ dialler, atServer }) => {
    const abort = new AbortController(), reason = new Error("enough");
    const opening = dialler.open("session", NOTHING, { signal: abort.signal });
    const incoming = await atServer.next();
    abort.abort(reason);
    await assert.rejects(opening, (error) => error === reason);
    assert.equal((await incoming.closed)?.code, "cancelled");
    assert.equal(incoming.accept(NOTHING).failure?.code, "cancelled");
    assert.throws(() => incoming.accept(NOTHING), TypeError);
    incoming.refuse("offline", "");
    await settled();
    assert.equal(dialler.openFlows, 0);
    const other = dialler.open("session", NOTHING), refused = await atServer.next();
    refused.refuse("offline", "");
    assert.throws(() => refused.accept(NOTHING), TypeError);
    assert.equal((await refusalOf(other)).code, "offline");
  }));

Deno.test("RunningLink.open() rejects at once when aborted before, exhausted, too long or over", async () => {
  const timers = new FakeTimers(), pair = linkPair(timers), { dialler } = pair;
  const reason = new Error("enough");
  await assert.rejects(
    dialler.open("session", NOTHING, { signal: AbortSignal.abort(reason) }),
    (e) => e === reason,
  );
  await assert.rejects(dialler.open("session", new Uint8Array(4097)), RangeError);
  assert.equal(dialler.openFlows, 0);
  const waiting = Array.from({ length: 127 }, () => refusalOf(dialler.open("session", NOTHING)));
  assert.equal((await refusalOf(dialler.open("session", NOTHING))).code, "exhausted");
  await endPair(pair);
  for (const each of await Promise.all(waiting)) assert.equal(each.code, "lost");
  const late = await refusalOf(dialler.open("session", NOTHING));
  assert.deepEqual([late.code, (late.cause as ResetError).code], ["lost", "shutting_down"]);
  assert.equal(dialler.isOpen, false);
});

Deno.test("RunningLink.close() tells the other side why, loses all flows at both, and settles everything", async () => {
  const timers = new FakeTimers(), pair = linkPair(timers);
  const [near, far] = await openFlow(pair);
  const waits = [near.read(new Uint8Array(1)), far.read(new Uint8Array(1))].map((read) =>
    read.then(() => "came", (error) => error.code)
  );
  pair.server.close("revoked", "this administrator was revoked");
  pair.server.close("internal", "the second time");
  assert.equal(pair.server.isOpen, false);
  const [here, there] = await Promise.all([pair.server.closed, pair.dialler.closed]);
  assert.deepEqual([here.code, here.by], ["revoked", "here"]);
  assert.deepEqual([there.code, there.by, there.message], [
    "revoked",
    "there",
    "this administrator was revoked",
  ]);
  assert.deepEqual(await Promise.all(waits), ["lost", "lost"]);
  assert.equal(timers.pending, 0);
});

Deno.test("RunningLink.close() hangs up within a second though nothing can be written", async () => {
  const timers = new FakeTimers(), [near, far] = memoryPair(), gate = new Gate(near);
  const { link } = rawLink("server", timers, { connection: gate });
  gate.isStuck = true;
  await far.write(hex(HEARTBEAT));
  await settled();
  link.close("shutting_down", "");
  await timers.pass(999);
  assert.equal(await Promise.race([link.closed, Promise.resolve("open")]), "open");
  await timers.pass(1);
  assert.equal((await link.closed).code, "shutting_down");
  assert.equal(timers.pending, 0);
});

Deno.test("RunningLink is lost when the other side hangs up, or the connection fails", async () => {
  const timers = new FakeTimers();
  const { link, far } = rawLink("dialler", timers);
  far.close();
  const lost = await link.closed;
  assert.deepEqual([lost.code, lost.by], ["lost", "there"]);
  const [near] = memoryPair();
  const other = rawLink("dialler", timers, { connection: near });
  near.close();
  assert.equal((await other.link.closed).code, "lost");
  assert.equal(timers.pending, 0);
});

Deno.test("RunningLink closes when the other side breaks the rules, and says which", async () => {
  for (
    const [frame, code, words] of [
      ["01 08 00 0000", "malformed", /type 8/],
      ["02 00 00 0000", "version", /version 2/],
      ["01 03 05 0001 00", "malformed", /never opened/],
    ] as const
  ) {
    const { link, far, frames } = rawLink("server", new FakeTimers());
    await far.write(hex(frame.replaceAll(" ", "")));
    const [told] = await frames();
    assert(told !== undefined && told.type === FRAME_TYPES.reset && told.flow === 0);
    assert.equal(told.data[1], RESET_CODES[code]);
    assert.match(new TextDecoder().decode(told.data.subarray(2)), words);
    assert.deepEqual(await frames(), [], "it hangs up");
    far.close();
    const error = await link.closed;
    assert.deepEqual([error.code, error.by], [code, "here"]);
    assert.match(error.message, words);
  }
});

Deno.test("RunningLink takes the reason that lies behind a write that fails", async () => {
  const timers = new FakeTimers(), [near, far] = memoryPair(), gate = new Gate(near);
  const { link } = rawLink("dialler", timers, { connection: gate });
  gate.write = () => Promise.reject(new TransportError("lost", "it takes nothing more"));
  const opening = refusalOf(link.open("session", NOTHING));
  await settled();
  assert.equal(link.isOpen, true);
  await far.write(encodeFrame(FRAME_TYPES.reset, 0, Uint8Array.of(0, RESET_CODES.revoked)));
  assert.equal((await link.closed).code, "revoked");
  assert.equal((await opening).code, "lost");
  const [alone] = memoryPair(), broken = new Gate(alone);
  const other = rawLink("dialler", timers, { connection: broken });
  broken.write = gate.write;
  const never = refusalOf(other.link.open("session", NOTHING));
  await timers.pass(1_000);
  assert.equal((await other.link.closed).code, "lost");
  await never;
});

Deno.test("RunningLink of a dialler sends a heartbeat after 10 s, and closes as silent 10 s later", async () => {
  const timers = new FakeTimers(), { link, far, frames } = rawLink("dialler", timers);
  const first = frames();
  await timers.pass(9_999);
  assert.equal(link.bytes.sent, 0);
  await timers.pass(1);
  assert.deepEqual((await first).map(({ type, flow, data }) => [type, flow, data.length]), [[0, 0, 0]]);
  await far.write(hex(HEARTBEAT));
  await timers.pass(10_000);
  assert.equal((await frames()).length, 1);
  await timers.pass(9_999);
  assert.equal(link.isOpen, true);
  await timers.pass(1);
  const silent = await link.closed;
  assert.deepEqual([silent.code, silent.by], ["silent", "here"]);
  assert.equal(timers.pending, 0);
});

Deno.test("RunningLink of a server answers a heartbeat with the same frame, and is silent after 20 s of nothing", async () => {
  const timers = new FakeTimers(), { link, far, frames } = rawLink("server", timers);
  await timers.pass(15_000);
  await far.write(hex(HEARTBEAT));
  assert.equal((await frames()).length, 1);
  await timers.pass(19_999);
  assert.equal(link.isOpen, true);
  assert.equal(link.bytes.sent, 5);
  await timers.pass(1);
  assert.equal((await link.closed).code, "silent");
});

Deno.test("two RunningLinks live on with one heartbeat each way in 10 s, and with none while bytes go both ways", () =>
  withPair(async (pair, timers) => {
    await timers.pass(600_000);
    assert.equal(pair.dialler.isOpen && pair.server.isOpen, true);
    assert.deepEqual([pair.dialler.bytes, pair.server.bytes], [
      { sent: 300, received: 300 },
      { sent: 300, received: 300 },
    ]);
    const [near, far] = await openFlow(pair, "dialler", { opener: 1_000_000, taker: 1_000_000 });
    await settled();
    const before = pair.dialler.bytes.sent, buffer = new Uint8Array(10);
    for (let turn = 0; turn < 20; turn++) {
      await Promise.all([near.write(Uint8Array.of(1)), far.write(Uint8Array.of(2))]);
      await Promise.all([near.read(buffer), far.read(buffer)]);
      await timers.pass(9_000);
    }
    // Each turn: a byte, and credit for the one that came.
    assert.equal(pair.dialler.bytes.sent - before, 20 * (6 + 9));
  }));

Deno.test("RunningLink of a dialler answers what it has nothing to say to with heard, but no heartbeat", async () => {
  const { link, far, frames } = rawLink("dialler", new FakeTimers());
  const opening = link.open("session", NOTHING);
  assert.deepEqual((await frames()).map(({ type }) => type), [FRAME_TYPES.open]);
  // Opened, and credit, in one write; then half a frame, and the answer to a heartbeat.
  await far.write(hex("0102010004 00001000 0104010004 00000001".replaceAll(" ", "")));
  assert.deepEqual((await frames()).map(({ type, flow }) => [type, flow]), [[FRAME_TYPES.heard, 0]]);
  await far.write(hex("0103010009 000000".replaceAll(" ", "")));
  assert.deepEqual((await frames()).map(({ type }) => type), [FRAME_TYPES.heard]);
  await far.write(hex("000000000000".replaceAll(" ", "")));
  assert.deepEqual((await frames()).map(({ type }) => type), [FRAME_TYPES.heard]);
  const before = link.bytes.sent;
  await far.write(hex(HEARTBEAT));
  await settled();
  assert.equal(link.bytes.sent, before);
  await opening;
  far.close();
  await link.closed;
});

Deno.test("RunningLink of a server takes heard and says nothing, and a dialler refuses it", async () => {
  const heard = hex("0107000000");
  const server = rawLink("server", new FakeTimers());
  await server.far.write(heard);
  await settled();
  assert.deepEqual([server.link.isOpen, server.link.bytes], [true, { received: 5, sent: 0 }]);
  server.far.close();
  await server.link.closed;
  const dialler = rawLink("dialler", new FakeTimers());
  await dialler.far.write(heard);
  const [told] = await dialler.frames();
  assert.equal(told?.data[1], RESET_CODES.malformed);
  dialler.far.close();
  assert.match((await dialler.link.closed).message, /type 7/);
});

Deno.test("RunningLink writes everything of one turn at once, with the first frames before it", async () => {
  const timers = new FakeTimers(), [near, far] = memoryPair(), gate = new Gate(near);
  const first = encodeFrame(FRAME_TYPES.prove, 0, Uint8Array.of(7));
  const { link } = rawLink("dialler", timers, { connection: gate, firstFrames: first });
  const opens = [link.open("control", NOTHING), link.open("session", NOTHING)].map(refusalOf);
  await settled();
  assert.equal(gate.writes.length, 1);
  const types = new FrameReader().push(gate.writes[0] ?? NOTHING).map(({ type }) => type);
  assert.deepEqual(types, [FRAME_TYPES.prove, FRAME_TYPES.open, FRAME_TYPES.open]);
  far.close();
  await link.closed;
  await Promise.all(opens);
});

Deno.test("RunningLink takes what was read behind the handshake, after its constructor", async () => {
  const incoming: IncomingFlow[] = [];
  const received = new Uint8Array([...hex("0101010006" + "010000000aee"), ...hex("01010200")]);
  const { link, far } = rawLink("server", new FakeTimers(), {
    received,
    onOpen: (flow) => incoming.push(flow),
  });
  assert.equal(incoming.length, 0);
  await settled();
  assert.deepEqual(incoming.map(({ parameters }) => parameters.toHex()), ["ee"]);
  await far.write(hex("05" + "0200000001"));
  await settled();
  assert.deepEqual(incoming.map(({ purpose }) => purpose), ["control", "session"]);
  far.close();
  await link.closed;
});

Deno.test("RunningLink reads on while a write waits, and keeps no more than the windows", () =>
  withPair(async (pair) => {
    const [stalled, stalledFar] = await openFlow(pair, "dialler", { opener: 1000, taker: 1000 });
    const [fast, fastFar] = await openFlow(pair, "dialler", { opener: 1000, taker: 1000 });
    const blocked = stalled.write(new Uint8Array(1_000_000)).then(() => "written", (error) => error.code);
    const buffer = new Uint8Array(700);
    let came = 0;
    const reading = (async () => {
      for (let n = await fastFar.read(buffer); n !== null; n = await fastFar.read(buffer)) came += n;
    })();
    for (let sent = 0; sent < 500_000; sent += 5_000) await fast.write(new Uint8Array(5_000));
    await fast.closeWrite();
    await reading;
    assert.equal(came, 500_000);
    assert.equal(stalledFar.bytes.received, 1000, "the stalled one holds its window, and no more");
    stalledFar.close();
    assert.equal(await blocked, "lost");
  }));

Deno.test("RunningLink holds little for a hostile side that never reads", async () => {
  const timers = new FakeTimers(), [near, far] = memoryPair(), gate = new Gate(near);
  const flows: IncomingFlow[] = [];
  const { link } = rawLink("server", timers, { connection: gate, onOpen: (flow) => flows.push(flow) });
  gate.isStuck = true;
  const heartbeats = new Uint8Array(5_000);
  for (let at = 0; at < heartbeats.length; at += 5) heartbeats[at] = 1;
  for (let turn = 0; turn < 100; turn++) await far.write(heartbeats);
  // Opens everything it can, and gives it up.
  for (let flow = 1; flow < 128; flow++) {
    await far.write(encodeFrame(FRAME_TYPES.open, flow, new Uint8Array(4101).fill(1)));
    await far.write(encodeFrame(FRAME_TYPES.reset, flow, Uint8Array.of(0, 0)));
  }
  await settled();
  assert.equal(flows.length, 127);
  assert.equal(link.isOpen, true);
  assert.equal(gate.writes.length, 1, "one answer is being written, for ever");
  assert.equal(gate.writes[0]?.length, 5);
  // Once more, before an answer could even be written.
  await far.write(encodeFrame(FRAME_TYPES.open, 1, new Uint8Array(5).fill(1)));
  await timers.pass(1_000);
  const error = await link.closed;
  assert.deepEqual([error.code, error.by], ["malformed", "here"]);
});

Deno.test("RunningLink refuses no more than it must when a window of its own is exceeded", async () => {
  const timers = new FakeTimers(),
    { link, far, frames } = rawLink("server", timers, {
      onOpen: (flow) => void flow.accept(NOTHING, { windowBytes: 10 }),
    });
  await far.write(hex("0101010005" + "0200000000"));
  assert.equal((await frames())[0]?.type, FRAME_TYPES.opened);
  await far.write(encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(10)));
  await settled();
  assert.equal(link.isOpen, true);
  await far.write(encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(1)));
  assert.equal((await frames())[0]?.type, FRAME_TYPES.reset);
  far.close();
  assert.equal((await link.closed).code, "malformed");
});

Deno.test("RunningLink lets a flow be used at once whose opener gave it up in the same bytes", async () => {
  const outcomes: Promise<string>[] = [];
  const { link, far } = rawLink("server", new FakeTimers(), {
    onOpen: (flow) => {
      const connection = flow.accept(NOTHING);
      outcomes.push(connection.write(new Uint8Array(9)).then(() => "written", (error) => error.code));
      outcomes.push(connection.closed.then((error) => error?.code ?? "ended"));
    },
  });
  await far.write(hex("0101010005" + "0200000010" + "0106010002" + "0000"));
  await settled();
  assert.deepEqual(await Promise.all(outcomes), ["lost", "cancelled"]);
  assert.equal(link.openFlows, 0);
  far.close();
  await link.closed;
});

Deno.test("RunningLink offers no flow any more once one that came in the same bytes made it close", async () => {
  let offered = 0;
  const { link, far } = rawLink("server", new FakeTimers(), {
    onOpen: () => {
      offered++;
      link.close("revoked", "no more");
    },
  });
  await far.write(hex("0101010005" + "0200000010" + "0101020005" + "0200000010"));
  await settled();
  assert.equal(offered, 1);
  far.close();
  assert.equal((await link.closed).code, "revoked");
});

/** Byte of a stream; differs from flow to flow. */
function patternOf(flow: number, bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, at) => flow * 59 + at * 7 + (at >> 8) * 3);
}

Deno.test("RunningLink gives its readers their own bytes, however slow they are and whatever comes behind", () =>
  withPair(async (pair) => {
    const flows = [await openFlow(pair), await openFlow(pair), await openFlow(pair)] as const;
    const streams = [patternOf(1, 600_000), patternOf(2, 600_000), patternOf(3, 600_000)] as const;
    const writing = flows.map(async ([near], index) => {
      await near.write(streams[index] ?? NOTHING);
      await near.closeWrite();
    });
    await Promise.all(writing);
    await settled();
    // The first one is over before anybody read it; its number belongs to somebody else, and the link goes on.
    const [first, second, third] = flows;
    await first[1].closeWrite();
    const [more, moreFar] = await openFlow(pair);
    await more.write(patternOf(4, 300_000));
    await settled();
    for (const [index, [, far]] of [first, second, third].entries()) {
      const expected = streams[index] ?? NOTHING, buffer = new Uint8Array(1_000 + index * 40_000);
      let at = 0;
      for (let n = await far.read(buffer); n !== null; n = await far.read(buffer)) {
        assert.deepEqual(buffer.subarray(0, n), expected.subarray(at, at + n));
        at += n;
        if (index === 1 && at % 8_000 === 0) await more.write(patternOf(5, 1_000));
        if (index === 1 && at % 8_000 === 0) await moreFar.read(new Uint8Array(10_000));
      }
      assert.equal(at, expected.length);
    }
  }));

Deno.test("RunningLink has its memory back with the next bytes that come, whoever does not read", () =>
  withPair(async (pair) => {
    const [near, far] = await openFlow(pair), expected = patternOf(1, 700_000);
    await near.write(expected);
    await settled();
    assert.equal(far.hasLent, true, "not copied while nothing else comes");
    const other = pair.dialler.open("session", NOTHING);
    (await pair.atServer.next()).accept(NOTHING);
    await other;
    assert.equal(far.hasLent, false);
    const buffer = new Uint8Array(1_000_000);
    let at = 0;
    while (at < expected.length) {
      const count = await far.read(buffer.subarray(at));
      assert(count !== null);
      at += count;
    }
    assert.deepEqual(buffer.subarray(0, at), expected);
  }));

Deno.test("RunningLink.open() listens to its signal no longer than it waits", () =>
  withPair(async ({ dialler, atServer }) => {
    const counted = new CountedSignal(), { signal } = counted;
    const taken = dialler.open("session", NOTHING, { signal }),
      refused = dialler.open("session", NOTHING, { signal });
    assert.equal(counted.listeners, 2);
    (await atServer.next()).accept(NOTHING);
    (await atServer.next()).refuse("offline", "");
    await taken;
    await refusalOf(refused);
    assert.equal(counted.listeners, 0);
  }));

Deno.test("RunningLink writes nothing more when it has hung up, also if a write comes to its end then", async () => {
  const timers = new FakeTimers(), [near, far] = memoryPair(), gate = new Gate(near);
  gate.isStuck = gate.pretends = true;
  const outcomes: Promise<string>[] = [];
  const { link } = rawLink("server", timers, {
    connection: gate,
    onOpen: (flow) => {
      const writing = flow.accept(NOTHING).write(new Uint8Array(600_000));
      outcomes.push(writing.then(() => "written", (error) => error.code));
    },
  });
  await far.write(hex("0101010005" + "0200100000"));
  await settled();
  assert.equal(gate.writes.length, 1);
  await far.write(hex("0106000002" + "0000"));
  assert.equal((await link.closed).by, "there");
  await settled();
  assert.equal(gate.writes.length, 1);
  assert.deepEqual(await Promise.all(outcomes), ["lost"]);
});
