import assert from "node:assert/strict";
import { encodeFrame, FRAME_TYPES, LinkError } from "../../../src/protocol/manage/frame.ts";
import { Link } from "../../../src/protocol/manage/link.ts";
import type { LinkEvent } from "../../../src/protocol/manage/link_event.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { LinkEnds, outputOf } from "./link_ends.ts";

const hex = Uint8Array.fromHex;
const NOTHING = new Uint8Array(0);

function bytesOf(spaced: string): Uint8Array<ArrayBuffer> {
  return hex(spaced.replaceAll(" ", ""));
}

function newLink(role: "dialler" | "server"): Link {
  return new Link({ role, nowMs: 0 });
}

/** Of the last event, which must be "failed". */
function failureOf(events: readonly LinkEvent[]): string {
  const last = events.at(-1);
  assert(last?.kind === "failed", `expected a failure, found ${JSON.stringify(last)}`);
  assert(last.error instanceof LinkError);
  return `${last.error.reason}: ${last.error.message}`;
}

/** A server with flow 1 open, both windows 1000 bytes. */
function openServer(): Link {
  const server = newLink("server");
  server.receive(bytesOf("01 01 01 0005 02 000003e8"), 0);
  server.accept(1, 1000, NOTHING);
  outputOf(server);
  return server;
}

Deno.test("Link writes the dialogue of a flow as it is written out by hand", () => {
  const dialler = newLink("dialler");
  const flow = dialler.open("control", 0x10000, hex("aabb"));
  assert.equal(flow, 1);
  assert.equal(outputOf(dialler).toHex(), bytesOf("01 01 01 0007 01 00010000 aabb").toHex());
  const server = newLink("server");
  assert.deepEqual(server.receive(bytesOf("01 01 01 0007 01 00010000 aabb"), 0), [
    { kind: "open", flow: 1, purpose: "control", parameters: hex("aabb") },
  ]);
  server.accept(1, 4, hex("cc"));
  assert.equal(outputOf(server).toHex(), bytesOf("01 02 01 0005 00000004 cc").toHex());
  assert.deepEqual(dialler.receive(bytesOf("01 02 01 0005 00000004 cc"), 0), [
    { kind: "opened", flow: 1, parameters: hex("cc") },
  ]);
  dialler.send(1, hex("010203040506"));
  assert.equal(outputOf(dialler).toHex(), bytesOf("01 03 01 0004 01020304").toHex(), "up to the credit");
  assert.deepEqual(dialler.takeWritten(), []);
  dialler.receive(bytesOf("01 04 01 0004 0000000a"), 0);
  dialler.end(1);
  assert.equal(outputOf(dialler).toHex(), bytesOf("01 03 01 0002 0506 01 05 01 0000").toHex());
  assert.deepEqual(dialler.takeWritten(), [1]);
  assert.deepEqual(dialler.receive(bytesOf("01 05 01 0000"), 0), [{ kind: "end", flow: 1 }]);
  assert.equal(dialler.openFlows, 0);
});

Deno.test("Link.reset() is written with its code and text, and marked when an end went before", () => {
  const server = openServer();
  server.reset(1, "revoked", "é");
  assert.equal(outputOf(server).toHex(), bytesOf("01 06 01 0004 0008 c3a9").toHex());
  const ended = openServer();
  ended.end(1);
  assert.equal(outputOf(ended).toHex(), bytesOf("01 05 01 0000").toHex());
  ended.reset(1, "revoked", "");
  assert.equal(outputOf(ended).toHex(), bytesOf("01 06 01 0002 8008").toHex());
  const undecided = openServer();
  undecided.end(1);
  undecided.reset(1, "revoked", "");
  assert.equal(outputOf(undecided).toHex(), bytesOf("01 06 01 0002 0008").toHex(), "its end was never sent");
});

Deno.test("Link.reset() cuts its text to 512 bytes at the end of a character", () => {
  const { dialler, server } = new LinkEnds();
  const flow = dialler.open("session", 1, NOTHING);
  server.receive(outputOf(dialler), 0);
  server.reset(flow, "internal", "é".repeat(400) + "x");
  assert.deepEqual(dialler.receive(outputOf(server), 0), [
    { kind: "reset", flow, code: "internal", text: "é".repeat(256) },
  ]);
  const odd = dialler.open("session", 1, NOTHING);
  server.receive(outputOf(dialler), 0);
  server.reset(odd, "internal", "x" + "é".repeat(400));
  assert.deepEqual(dialler.receive(outputOf(server), 0), [
    { kind: "reset", flow: odd, code: "internal", text: "x" + "é".repeat(255) },
  ]);
});

Deno.test("Link.receive() gives no text of a reset that could drive a terminal", () => {
  const server = openServer();
  const text = new TextEncoder().encode("a\u001b[2J\n\u202eb\u0000");
  const events = server.receive(encodeFrame(FRAME_TYPES.reset, 1, new Uint8Array([0, 1, ...text])), 0);
  assert.deepEqual(events, [{ kind: "reset", flow: 1, code: "refused_by_server", text: "a?[2J??b?" }]);
});

Deno.test("Link lets both sides open at once, each in its own half", () => {
  const ends = new LinkEnds();
  const ours = Array.from({ length: 3 }, () => ends.dialler.open("session", 9, NOTHING));
  const theirs = Array.from({ length: 3 }, () => ends.server.open("session", 9, NOTHING));
  assert.deepEqual([ours, theirs], [[1, 2, 3], [0x80, 0x81, 0x82]]);
  const { dialler, server } = ends.carry();
  assert.deepEqual(server.map((event) => event.kind === "open" && event.flow), ours);
  assert.deepEqual(dialler.map((event) => event.kind === "open" && event.flow), theirs);
  for (const flow of ours) ends.server.accept(flow, 9, NOTHING);
  for (const flow of theirs) ends.dialler.accept(flow, 9, NOTHING);
  const opened = ends.carry();
  assert.deepEqual(opened.dialler.map((event) => event.kind === "opened" && event.flow), ours);
  assert.deepEqual(opened.server.map((event) => event.kind === "opened" && event.flow), theirs);
  assert.deepEqual([ends.dialler.openFlows, ends.server.openFlows], [6, 6]);
});

Deno.test("Link.open() says clearly that no number is left, and goes on when one is free", () => {
  for (const [role, count, first] of [["dialler", 127, 1], ["server", 128, 0x80]] as const) {
    const ends = new LinkEnds(), near = ends[role], far = ends[role === "server" ? "dialler" : "server"];
    const flows = Array.from({ length: count }, () => near.open("session", 1, NOTHING));
    assert.equal(new Set(flows).size, count);
    assert.equal(flows[0], first);
    assert.throws(() => near.open("session", 1, NOTHING), (error) => {
      assert(error instanceof ResetError && error.code === "exhausted" && error.by === "here");
      assert.match(error.message, new RegExp(`all ${count} numbers`));
      return true;
    });
    ends.carry();
    far.reset(first + 5, "offline", "");
    ends.carry();
    assert.equal(near.open("session", 1, NOTHING), first + 5);
    assert.throws(() => near.open("session", 1, NOTHING), ResetError);
  }
});

Deno.test("Link.open() uses a number again only when all others had their turn", () => {
  const ends = new LinkEnds();
  for (let expected = 1; expected <= 127; expected++) {
    const flow = ends.dialler.open("session", 1, NOTHING);
    assert.equal(flow, expected);
    ends.carry();
    ends.server.reset(flow, "offline", "");
    ends.carry();
  }
  assert.equal(ends.dialler.open("session", 1, NOTHING), 1);
});

Deno.test("Link.open() refuses a window that is no u32 and parameters over 4,096 bytes, and takes no number", () => {
  const link = newLink("dialler");
  for (const window of [-1, 0.5, 2 ** 32, NaN]) {
    assert.throws(() => link.open("session", window, NOTHING), RangeError);
  }
  assert.throws(() => link.open("session", 1, new Uint8Array(4097)), RangeError);
  assert.equal(link.openFlows, 0);
  link.open("session", 2 ** 32 - 1, new Uint8Array(4096));
  assert.equal(link.openFlows, 1);
});

Deno.test("Link frees a number only when both sides have sent and received end or reset", () => {
  const ends = new LinkEnds(), flow = ends.openFlow();
  ends.dialler.end(flow);
  assert.equal(ends.dialler.openFlows, 1, "decided, not sent");
  ends.carry();
  assert.deepEqual([ends.dialler.openFlows, ends.server.openFlows], [1, 1]);
  ends.server.end(flow);
  assert.equal(ends.server.openFlows, 1, "decided, not sent");
  const last = outputOf(ends.server);
  assert.deepEqual([ends.dialler.openFlows, ends.server.openFlows], [1, 0]);
  ends.dialler.receive(last, 0);
  assert.equal(ends.dialler.openFlows, 0);
});

Deno.test("Link answers a reset with a reset, but one who has ended does not", () => {
  const fresh = openServer();
  assert.deepEqual(fresh.receive(bytesOf("01 06 01 0002 0000"), 0).map(({ kind }) => kind), ["reset"]);
  assert.equal(fresh.openFlows, 1);
  assert.equal(outputOf(fresh).toHex(), bytesOf("01 06 01 0002 0000").toHex());
  assert.equal(fresh.openFlows, 0);
  const ended = openServer();
  ended.end(1);
  outputOf(ended);
  ended.receive(bytesOf("01 06 01 0002 0000"), 0);
  assert.deepEqual([outputOf(ended).length, ended.openFlows], [0, 0]);
});

Deno.test("Link drops frames in silence after its reset, until the other side's end or reset", () => {
  const late = "01 03 01 0002 0102 01 04 01 0004 00000001";
  for (const last of ["01 05 01 0000", "01 06 01 0002 0008"]) {
    const server = openServer();
    server.reset(1, "cancelled", "");
    outputOf(server);
    assert.deepEqual(server.receive(bytesOf(late + late), 0), []);
    assert.equal(server.openFlows, 1);
    assert.deepEqual(server.receive(bytesOf(last), 0), []);
    assert.equal(server.openFlows, 0);
    assert.deepEqual(server.receive(bytesOf(late + "01 05 01 0000"), 0), [], "free, and once was in use");
    assert.equal(outputOf(server).length, 0);
  }
});

Deno.test("Link ends at a frame of any type for a number that was never opened", () => {
  const frames = [
    "01 02 05 0004 00000001",
    "01 03 05 0001 00",
    "01 04 05 0004 00000001",
    "01 05 05 0000",
    "01 06 05 0002 0000",
  ];
  for (const frame of frames) {
    assert.match(failureOf(openServer().receive(bytesOf(frame), 0)), /^malformed: .*flow 5.*never opened/);
  }
});

Deno.test("Link ends when the other side opens a number of the wrong half, or one in use", () => {
  assert.match(failureOf(openServer().receive(bytesOf("01 01 80 0005 02 00000001"), 0)), /malformed.*half/);
  assert.match(failureOf(openServer().receive(bytesOf("01 01 01 0005 02 00000001"), 0)), /malformed.*in use/);
  assert.match(failureOf(newLink("dialler").receive(bytesOf("01 01 01 0005 02 00000001"), 0)), /half/);
  assert.match(failureOf(newLink("server").receive(bytesOf("01 01 01 0005 03 00000001"), 0)), /purpose 3/);
});

Deno.test("Link ends when a number is opened anew before its own last frame went out: none can pile up", () => {
  const server = newLink("server");
  const cycle = bytesOf("01 01 01 0005 02 00000001 01 06 01 0002 0000");
  assert.deepEqual(server.receive(cycle, 0).map(({ kind }) => kind), ["open", "reset"]);
  assert.match(failureOf(server.receive(cycle, 0)), /in use/);
});

Deno.test("Link ends when data exceeds the credit by one byte, in one frame or in many", () => {
  const whole = openServer();
  assert.equal(whole.receive(encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(1000)), 0).length, 1);
  assert.match(failureOf(whole.receive(encodeFrame(FRAME_TYPES.data, 1, hex("00")), 0)), /credit is 0/);
  assert.match(
    failureOf(openServer().receive(encodeFrame(FRAME_TYPES.data, 1, new Uint8Array(1001)), 0)),
    /malformed.*1001 bytes.*credit is 1000/,
  );
});

Deno.test("Link ends when data or credit comes before opened, or frames behind an end", () => {
  const opening = (): Link => {
    const dialler = newLink("dialler");
    dialler.open("session", 1000, NOTHING);
    outputOf(dialler);
    return dialler;
  };
  for (const frame of ["01 03 01 0001 00", "01 04 01 0004 00000001", "01 05 01 0000", "01 06 01 0002 8000"]) {
    assert.match(failureOf(opening().receive(bytesOf(frame), 0)), /malformed/, frame);
  }
  const offered = (): Link => {
    const server = newLink("server");
    server.receive(bytesOf("01 01 01 0005 02 00000001"), 0);
    return server;
  };
  for (
    const frame of ["01 03 01 0001 00", "01 04 01 0004 00000001", "01 05 01 0000", "01 02 01 0004 00000001"]
  ) {
    assert.match(failureOf(offered().receive(bytesOf(frame), 0)), /malformed/, frame);
  }
  for (const frame of ["01 03 01 0001 00", "01 05 01 0000", "01 06 01 0002 0000"]) {
    const server = openServer();
    assert.deepEqual(server.receive(bytesOf("01 05 01 0000"), 0), [{ kind: "end", flow: 1 }]);
    assert.match(failureOf(server.receive(bytesOf(frame), 0)), /malformed/, frame);
  }
  assert.match(failureOf(openServer().receive(bytesOf("01 06 01 0002 8000"), 0)), /malformed/);
  assert.match(failureOf(openServer().receive(bytesOf("01 02 01 0004 00000001"), 0)), /malformed/);
});

Deno.test("Link ends when credit is 0, or grows beyond a u32", () => {
  assert.match(failureOf(openServer().receive(bytesOf("01 04 01 0004 00000000"), 0)), /credit of 0/);
  assert.deepEqual(openServer().receive(bytesOf("01 04 01 0004 fffffc17"), 0), [], "1000 and the rest");
  assert.match(failureOf(openServer().receive(bytesOf("01 04 01 0004 fffffc18"), 0)), /malformed.*credit/);
});

Deno.test("Link ends at another hello, another proof, a wrong version and text that is not UTF-8", () => {
  assert.match(failureOf(openServer().receive(bytesOf("01 10 00 0001 01"), 0)), /malformed.*handshake/);
  assert.match(failureOf(openServer().receive(bytesOf("01 11 00 0001 01"), 0)), /malformed.*handshake/);
  assert.match(failureOf(openServer().receive(bytesOf("02 00 00 0000"), 0)), /^version/);
  assert.match(failureOf(openServer().receive(bytesOf("01 06 01 0003 0000 ff"), 0)), /malformed.*UTF-8/);
});

Deno.test("Link.receive() gives what came before a fault, and nothing afterwards", () => {
  const server = openServer();
  const events = server.receive(bytesOf("01 03 01 0001 07 02 00 00 0000 01 03 01 0001 07"), 0);
  assert.deepEqual(events.map(({ kind }) => kind), ["data", "failed"]);
  assert.deepEqual(server.receive(bytesOf("01 03 01 0001 07"), 0), []);
});

Deno.test("Link.close() is the last frame, instead of all that waits; a reset on flow 0 is the last event", () => {
  const ends = new LinkEnds(), flow = ends.openFlow();
  ends.server.send(flow, new Uint8Array(10));
  ends.server.close("revoked", "bye");
  ends.server.close("internal", "");
  ends.server.reset(flow, "cancelled", "");
  const last = outputOf(ends.server);
  assert.equal(last.toHex(), bytesOf("01 06 00 0005 0008 627965").toHex());
  assert.equal(ends.server.isOver, true);
  const both = new Uint8Array([...last, ...bytesOf("01 03 01 0001 07")]);
  assert.deepEqual(ends.dialler.receive(both, 0), [{ kind: "closed", code: "revoked", text: "bye" }]);
});

Deno.test("Link sends data of several flows in turn, so that a long one does not hold up a short one", () => {
  const ends = new LinkEnds();
  const [long, short] = [
    ends.openFlow({ taker: 1_000_000 }),
    ends.openFlow({ taker: 1_000_000 }),
  ];
  ends.dialler.send(long, new Uint8Array(500_000));
  ends.dialler.send(short, hex("07"));
  const first = ends.dialler.takeOutput(0);
  assert(first !== null && first.length <= 256 * 1024);
  assert.deepEqual(ends.dialler.takeWritten(), [short]);
  const order = ends.server.receive(first, 0).map((event) => event.kind === "data" && event.flow);
  assert.deepEqual(order.slice(0, 2), [long, short]);
});

Deno.test("Link sends control frames before data, and the end of a flow behind its data", () => {
  const ends = new LinkEnds(), flow = ends.openFlow({ taker: 100_000 });
  ends.dialler.send(flow, new Uint8Array(70_000));
  ends.dialler.end(flow);
  const other = ends.dialler.open("control", 1, NOTHING);
  assert.deepEqual(ends.server.receive(outputOf(ends.dialler), 0).map(({ kind }) => kind), [
    "open",
    "data",
    "data",
    "end",
  ]);
  assert.equal(other, 2);
});

Deno.test("Link keeps a stalled flow from blocking another one, or from holding more than its window", () => {
  const ends = new LinkEnds();
  const stalled = ends.openFlow({ taker: 1000 }), fast = ends.openFlow({ taker: 1000 });
  let stalledBytes = 0, fastBytes = 0;
  ends.dialler.send(stalled, new Uint8Array(50_000));
  ends.dialler.send(fast, new Uint8Array(50_000));
  for (let turn = 0; turn < 1000; turn++) {
    for (const event of ends.carry().server) {
      assert(event.kind === "data");
      if (event.flow === stalled) stalledBytes += event.bytes.length;
      else {
        fastBytes += event.bytes.length;
        ends.server.consumed(fast, event.bytes.length, true, 0);
      }
    }
  }
  assert.deepEqual([stalledBytes, fastBytes], [1000, 50_000]);
});

Deno.test("Link.consumed() of the dialler grants as soon as no more waits, of the server at half a window", () => {
  const ends = new LinkEnds();
  const flow = ends.openFlow({ opener: 1000, taker: 1000 });
  ends.server.send(flow, new Uint8Array(10));
  ends.dialler.send(flow, new Uint8Array(1000));
  ends.carry();
  assert.equal(ends.dialler.consumed(flow, 4, false, 0), false);
  assert.equal(ends.dialler.consumed(flow, 6, true, 0), true);
  assert.equal(outputOf(ends.dialler).toHex(), bytesOf("01 04 01 0004 0000000a").toHex());
  assert.equal(ends.server.consumed(flow, 499, true, 0), false);
  assert.equal(ends.server.consumed(flow, 1, true, 0), true);
  assert.equal(outputOf(ends.server).toHex(), bytesOf("01 04 01 0004 000001f4").toHex());
});

Deno.test("Link.consumed() of a server that was quiet for 5 s grants at once, as a sign of life", () => {
  const ends = new LinkEnds(), flow = ends.openFlow();
  ends.dialler.send(flow, new Uint8Array(10));
  ends.carry();
  assert.equal(ends.server.consumed(flow, 5, true, 4_999), false);
  assert.equal(ends.server.consumed(flow, 5, true, 5_000), true);
});

Deno.test("Link.consumed() grants nothing to who has ended, nor after a reset", () => {
  const ended = openServer();
  ended.receive(bytesOf("01 03 01 0001 00 01 05 01 0000"), 0);
  assert.equal(ended.consumed(1, 1000, true, 60_000), false);
  const reset = openServer();
  reset.reset(1, "cancelled", "");
  assert.equal(reset.consumed(1, 1000, true, 60_000), false);
});

Deno.test("Link.reset() of an open that was not written yet leaves no trace", () => {
  const link = newLink("dialler");
  const flow = link.open("session", 1, NOTHING);
  link.reset(flow, "cancelled", "");
  assert.deepEqual([outputOf(link).length, link.openFlows], [0, 0]);
});

Deno.test("Link drops a reset and credit of a flow's former life while its number is opened anew", () => {
  const server = newLink("server");
  const numbers = Array.from({ length: 128 }, () => server.open("session", 1000, NOTHING));
  outputOf(server);
  server.receive(bytesOf("01 02 80 0004 000003e8 01 05 80 0000"), 0);
  server.end(0x80);
  outputOf(server);
  assert.equal(server.openFlows, 127);
  assert.equal(server.open("session", 1000, NOTHING), numbers[0]);
  outputOf(server);
  // Sent by a side that had not seen our end yet: credit, and a reset behind its own end.
  assert.deepEqual(server.receive(bytesOf("01 04 80 0004 00000001 01 06 80 0002 8000"), 0), []);
  assert.deepEqual(server.receive(bytesOf("01 06 80 0002 0004"), 0), [
    { kind: "reset", flow: 0x80, code: "offline", text: "" },
  ], "a refusal of the new one");
});

Deno.test("Link answers a heartbeat with the same frame if it is the server, and keeps one answer at most", () => {
  const heartbeat = bytesOf("01 00 00 0000");
  const server = newLink("server"), dialler = newLink("dialler");
  assert.deepEqual(server.receive(heartbeat, 0), []);
  assert.equal(outputOf(server).toHex(), heartbeat.toHex());
  for (let count = 0; count < 1000; count++) server.receive(heartbeat, 0);
  assert.equal(outputOf(server).toHex(), heartbeat.toHex());
  dialler.receive(heartbeat, 0);
  assert.equal(outputOf(dialler).length, 0);
});

Deno.test("Link.tick() of a dialler sends a heartbeat after 10 s, and is dead 10 s later without an answer", () => {
  const ends = new LinkEnds();
  assert.equal(ends.dialler.tick(9_999), "alive");
  assert.equal(outputOf(ends.dialler, 9_999).length, 0);
  assert.equal(ends.dialler.tick(10_000), "alive");
  const asked = outputOf(ends.dialler, 10_000);
  assert.equal(asked.toHex(), bytesOf("01 00 00 0000").toHex());
  ends.server.receive(asked, 10_001);
  ends.dialler.receive(outputOf(ends.server, 10_001), 10_002);
  assert.equal(ends.dialler.deadlineMs, 20_000);
  assert.equal(ends.dialler.tick(20_000), "alive");
  outputOf(ends.dialler, 20_000);
  assert.equal(ends.dialler.tick(29_999), "alive");
  assert.equal(ends.dialler.tick(30_000), "dead");
  assert.equal(ends.server.tick(30_000), "alive");
  assert.equal(ends.server.tick(30_001), "dead");
});

Deno.test("Link shares a write between long flows in frames of 16 KiB, and gives a lone one the longest frames", () => {
  const ends = new LinkEnds(), bytes = new Uint8Array(200_000);
  const flows = [ends.openFlow({ taker: 1_000_000 }), ends.openFlow({ taker: 1_000_000 })];
  for (const flow of flows) ends.dialler.send(flow, bytes);
  const output = ends.dialler.takeOutput(0);
  assert(output !== null);
  const sizes = ends.server.receive(output, 0).map((event) =>
    event.kind === "data" && [event.flow, event.bytes.length]
  );
  assert.deepEqual(sizes.slice(0, 4), [[1, 16_384], [2, 16_384], [1, 16_384], [2, 16_384]]);
  ends.dialler.release();
  const lone = new LinkEnds(), flow = lone.openFlow({ taker: 1_000_000 });
  lone.dialler.send(flow, bytes);
  const [first] = lone.server.receive(lone.dialler.takeOutput(0) ?? NOTHING, 0);
  assert(first?.kind === "data" && first.bytes.length === 65_535);
});

Deno.test("Link spreads control frames over several writes where one is too short, all of them before any data", () => {
  const ends = new LinkEnds(), flow = ends.openFlow({ taker: 1_000_000 });
  ends.dialler.send(flow, new Uint8Array(10));
  for (let count = 0; count < 126; count++) ends.dialler.open("session", 1, new Uint8Array(4096).fill(count));
  const kinds: string[] = [];
  let writes = 0;
  for (let output = ends.dialler.takeOutput(0); output !== null; output = ends.dialler.takeOutput(0)) {
    assert(output.length <= 256 * 1024);
    writes++;
    for (const event of ends.server.receive(output, 0)) {
      if (event.kind === "open") assert(event.parameters.every((byte) => byte === kinds.length));
      kinds.push(event.kind);
    }
    ends.dialler.release();
  }
  assert.deepEqual(kinds, [...Array<string>(126).fill("open"), "data"]);
  assert.equal(writes, 2);
});
