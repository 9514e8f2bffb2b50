/**
 * Two links with bytes under way between them, random calls on both sides, and bytes that arrive in random pieces at
 * random times. Every flow has an id that its parameters, its bytes and its reset carry: a frame that hits another
 * flow of the same number is seen at once.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Link } from "../../../src/protocol/manage/link.ts";
import type { LinkEvent } from "../../../src/protocol/manage/link_event.ts";
import { holds } from "../../property.ts";

const WINDOW_BYTES = 40;
/** Numbers of each half that stay free for the test, so that they are used again soon. */
const FREE_NUMBERS = 2;
type Side = 0 | 1;

interface Flow {
  readonly id: number;
  state: "opening" | "offered" | "open";
  hasEnded: boolean;
  otherEnded: boolean;
  isSending: boolean;
  sentBytes: number;
  receivedBytes: number;
  unreadBytes: number;
}

/** Byte of a flow's stream; differs from other flows and other places. */
function byteAt(id: number, side: Side, at: number): number {
  return (id * 31 + side * 101 + at * 7) & 0xff;
}

class End {
  readonly side: Side;
  readonly link: Link;
  readonly flows = new Map<number, Flow>();
  /** Flows that both sides have ended, here not yet in writing: a reset may still come. */
  readonly #ended = new Map<number, Flow>();
  /** Bytes on their way from here. */
  pipe: number[] = [];
  events = 0;

  constructor(side: Side) {
    this.side = side;
    this.link = new Link({ role: side === 0 ? "dialler" : "server", nowMs: 0 });
  }

  /** Numbers that are never used: they stay opening. */
  hold(): void {
    const count = side0(this.side) ? 127 : 128;
    for (let held = FREE_NUMBERS; held < count; held++) this.link.open("session", 0, new Uint8Array(2));
  }

  open(id: number): void {
    try {
      const number = this.link.open("session", WINDOW_BYTES, Uint8Array.of(id >> 8, id));
      assert(!this.flows.has(number), "a number that is in use was given out");
      this.flows.set(number, newFlow(id, "opening"));
    } catch (error) {
      assert.equal((error as { code?: string }).code, "exhausted");
    }
  }

  act(kind: number, which: number, much: number): void {
    const all = [...this.flows];
    const found = all[which % Math.max(1, all.length)];
    if (found === undefined) return;
    const [number, flow] = found;
    if (kind === 0 || flow.state !== "open") return this.#begin(number, flow, kind, much);
    if (kind === 1) return this.#send(number, flow, 1 + much % 100);
    if (kind === 2) return this.#consume(number, flow);
    if (kind === 3 && !flow.isSending && !flow.hasEnded) {
      flow.hasEnded = true;
      this.link.end(number);
      this.#forgetIfOver(number, flow);
    } else if (kind === 4) this.#reset(number, flow);
  }

  #begin(number: number, flow: Flow, kind: number, much: number): void {
    if (kind === 4 || (much % 4 === 0 && flow.state === "offered")) return this.#reset(number, flow);
    if (flow.state !== "offered") return;
    flow.state = "open";
    this.link.accept(number, WINDOW_BYTES, Uint8Array.of(flow.id >> 8, flow.id));
  }

  #send(number: number, flow: Flow, count: number): void {
    if (flow.isSending || flow.hasEnded) return;
    const bytes = Uint8Array.from(
      { length: count },
      (_, at) => byteAt(flow.id, this.side, flow.sentBytes + at),
    );
    flow.sentBytes += count;
    flow.isSending = true;
    this.link.send(number, bytes);
  }

  #consume(number: number, flow: Flow): void {
    if (flow.unreadBytes === 0 || flow.otherEnded) return;
    this.link.consumed(number, flow.unreadBytes, true, 0);
    flow.unreadBytes = 0;
  }

  #reset(number: number, flow: Flow): void {
    this.flows.delete(number);
    this.link.reset(number, "expired", String(flow.id));
  }

  /** What can be written goes on its way. */
  write(): void {
    const output = this.link.takeOutput(0);
    for (const number of this.link.takeWritten()) {
      const flow = this.flows.get(number);
      if (flow !== undefined) flow.isSending = false;
    }
    if (output === null) return;
    this.pipe.push(...output);
    this.link.release();
  }

  /** Some of what is on its way arrives. */
  arrive(from: End, count: number): void {
    const bytes = Uint8Array.from(from.pipe.splice(0, count));
    for (const event of this.link.receive(bytes, 0)) this.#happened(event);
  }

  #happened(event: LinkEvent): void {
    assert(event.kind !== "failed", event.kind === "failed" ? event.error.message : "");
    assert(event.kind !== "closed");
    this.events++;
    if (event.kind === "open") {
      assert(!this.flows.has(event.flow), "a number in use was opened");
      return void this.flows.set(event.flow, newFlow(idOf(event.parameters), "offered"));
    }
    const flow = this.flows.get(event.flow) ??
      (event.kind === "reset" ? this.#ended.get(event.flow) : undefined);
    assert(flow !== undefined, `${event.kind} for a flow that is over`);
    if (event.kind === "opened") {
      assert.equal(flow.state, "opening");
      assert.equal(idOf(event.parameters), flow.id, "opened of another flow");
      flow.state = "open";
    } else if (event.kind === "data") {
      assert(flow.state === "open" && !flow.otherEnded);
      for (const byte of event.bytes) {
        assert.equal(byte, byteAt(flow.id, side0(this.side) ? 1 : 0, flow.receivedBytes++), "another byte");
      }
      flow.unreadBytes += event.bytes.length;
      assert(flow.unreadBytes <= WINDOW_BYTES, "more than a window waits");
    } else if (event.kind === "end") {
      assert(flow.state === "open" && !flow.otherEnded);
      flow.otherEnded = true;
      this.#forgetIfOver(event.flow, flow);
    } else {
      assert.deepEqual([event.code, event.text], ["expired", String(flow.id)], "a reset of another flow");
      this.flows.delete(event.flow);
    }
  }

  #forgetIfOver(number: number, flow: Flow): void {
    if (!flow.hasEnded || !flow.otherEnded) return;
    this.flows.delete(number);
    this.#ended.set(number, flow);
  }

  resetAll(): void {
    for (const [number, flow] of [...this.flows]) this.#reset(number, flow);
  }
}

function side0(side: Side): boolean {
  return side === 0;
}

function newFlow(id: number, state: Flow["state"]): Flow {
  const none = { sentBytes: 0, receivedBytes: 0, unreadBytes: 0 };
  return { id, state, hasEnded: false, otherEnded: false, isSending: false, ...none };
}

function idOf(parameters: Uint8Array): number {
  return (parameters[0] ?? 0) << 8 | (parameters[1] ?? 0);
}

/** Both ends, with most of their numbers held open; nothing is under way. */
function ends(): readonly [End, End] {
  const pair = [new End(0), new End(1)] as const;
  for (const end of pair) end.hold();
  for (const end of pair) for (let turn = 0; turn < 8; turn++) end.write();
  // Opens that are answered never.
  for (const [here, there] of [pair, [pair[1], pair[0]]] as const) {
    for (const event of there.link.receive(Uint8Array.from(here.pipe.splice(0)), 0)) {
      assert.equal(event.kind, "open");
    }
  }
  return pair;
}

const step = fc.record({
  side: fc.constantFrom<Side>(0, 1),
  what: fc.constantFrom("open", "open", "act", "act", "act", "act", "write", "write", "arrive", "arrive"),
  kind: fc.nat(4),
  which: fc.nat(7),
  much: fc.nat(200),
});

Deno.test("two links never misunderstand each other, whatever is called and however bytes arrive", () => {
  let events = 0;
  holds(
    fc.property(fc.array(step, { minLength: 100, maxLength: 300, size: "max" }), (steps) => {
      const pair = ends();
      let id = 1;
      for (const { side, what, kind, which, much } of steps) {
        const here = pair[side], there = pair[side === 0 ? 1 : 0];
        if (what === "open") here.open(id++);
        else if (what === "act") here.act(kind, which, much);
        else if (what === "write") here.write();
        else here.arrive(there, much);
      }
      for (const end of pair) end.resetAll();
      for (let turn = 0; turn < 12; turn++) {
        for (const end of pair) end.write();
        pair[0].arrive(pair[1], Infinity);
        pair[1].arrive(pair[0], Infinity);
        for (const end of pair) end.resetAll();
      }
      const held = 127 + 128 - 2 * FREE_NUMBERS;
      assert.deepEqual([pair[0].link.openFlows, pair[1].link.openFlows], [held, held], "a number was lost");
      events += pair[0].events + pair[1].events;
    }),
    { numRuns: 400 },
  );
  assert(events > 5000, `the runs reach something, found ${events} events`);
});
