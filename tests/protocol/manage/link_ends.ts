/** Two links without input and output, and what lies between them, for tests that decide when what arrives. */
import assert from "node:assert/strict";
import { Link } from "../../../src/protocol/manage/link.ts";
import type { LinkEvent } from "../../../src/protocol/manage/link_event.ts";

/** Gives all output. */
export function outputOf(link: Link, nowMs = 0): Uint8Array<ArrayBuffer> {
  let all = new Uint8Array(0);
  for (let output = link.takeOutput(nowMs); output !== null; output = link.takeOutput(nowMs)) {
    all = new Uint8Array([...all, ...output]);
    link.release();
  }
  return all;
}

/** Two links; `carry` brings everything over, until nobody has anything to say. */
export class LinkEnds {
  readonly dialler = new Link({ role: "dialler", nowMs: 0 });
  readonly server = new Link({ role: "server", nowMs: 0 });

  /** Gives what happened at each side. */
  carry(nowMs = 0): { readonly dialler: LinkEvent[]; readonly server: LinkEvent[] } {
    const events = { dialler: [] as LinkEvent[], server: [] as LinkEvent[] };
    for (;;) {
      const there = outputOf(this.dialler, nowMs), back = outputOf(this.server, nowMs);
      if (there.length + back.length === 0) return events;
      events.server.push(...this.server.receive(there, nowMs).map(keptEvent));
      events.dialler.push(...this.dialler.receive(back, nowMs).map(keptEvent));
    }
  }

  /** Opens a flow from the dialler that the server takes; gives its number. */
  openFlow(windows: { readonly opener?: number; readonly taker?: number } = {}): number {
    const flow = this.dialler.open("session", windows.opener ?? 1000, new Uint8Array(0));
    this.carry();
    this.server.accept(flow, windows.taker ?? 1000, new Uint8Array(0));
    const { dialler } = this.carry();
    assert.deepEqual(dialler.map(({ kind }) => kind), ["opened"]);
    return flow;
  }
}

/** An event whose bytes do not change when the link goes on. */
export function keptEvent(event: LinkEvent): LinkEvent {
  return event.kind === "data" ? { ...event, bytes: event.bytes.slice() } : event;
}
