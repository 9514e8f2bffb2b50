/**
 * A link, without input and output: bytes of the other side in, events out; what is decided here in, bytes to write
 * out. See frame.ts for the frames, flow_state.ts for the life of a flow, heartbeat.ts for signs of life.
 *
 * The server's system holds a small write back until the one before it is acknowledged (Nagle; `Deno.TlsConn` cannot set
 * TCP_NODELAY), and the dialler's system acknowledges at once only with bytes of its own, else 40 ms later. So a dialler
 * answers whatever comes within the turn: with what it has to say, else with heard.
 *
 * Flow 0 is the link's own. The dialling side opens 0x01 to 0x7F, the server 0x80 to 0xFF, each number again only
 * when all others had their turn.
 */
import {
  encodeFrame,
  type Frame,
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  FrameReader,
  LinkError,
  MAX_PARAMETER_BYTES,
  OPEN_HEAD_BYTES,
  OPENED_HEAD_BYTES,
} from "./frame.ts";
import { FlowState, MAX_CREDIT_BYTES } from "./flow_state.ts";
import { Heartbeat, type LinkRole } from "./heartbeat.ts";
import { FlowOutput, LinkOutput } from "./link_output.ts";
import type { FlowPurpose, LinkEvent } from "./link_event.ts";
import { type ResetCode, ResetError } from "./reset_code.ts";
import { decodeResetData, encodeResetData } from "./reset_data.ts";

const PURPOSES: Readonly<Record<FlowPurpose, number>> = { control: 1, session: 2 };
/** First number of the server's half; all numbers there are. */
const SERVER_HALF = 0x80, FLOW_NUMBERS = 0x100;
/** The server returns credit at half a window; but bytes that trickle in must not look like silence to their sender. */
const QUIET_CREDIT_MS = 5_000;

/** What a link is made of. */
export interface LinkOptions {
  readonly role: LinkRole;
  /** Milliseconds since some fixed point, the same for all calls. */
  readonly nowMs: number;
}

/** One side of a link. Unless said otherwise, flows are numbers that an event or `open` gave, and not over yet. */
export class Link {
  readonly #role: LinkRole;
  readonly #reader = new FrameReader();
  readonly #heartbeat: Heartbeat;
  readonly #output = new LinkOutput();
  readonly #flows: (FlowOutput | undefined)[] = [];
  /** Where the search for a free number begins. */
  #nextNumber = 0;
  #isOver = false;

  /** Makes one behind the handshake. */
  constructor({ role, nowMs }: LinkOptions) {
    this.#role = role;
    this.#heartbeat = new Heartbeat(role, nowMs);
  }

  /** Takes bytes of the other side; never throws: the last event may be "failed". */
  receive(bytes: Uint8Array, nowMs: number): LinkEvent[] {
    const events: LinkEvent[] = [];
    if (this.#isOver) return events;
    this.#heartbeat.heard(nowMs);
    this.#reader.feed(bytes);
    // More than the answer to a heartbeat.
    if (this.#role === "dialler" && bytes.length > FRAME_HEADER_BYTES) this.#output.addHeard();
    try {
      for (let frame = this.#reader.next(); frame !== null; frame = this.#reader.next()) {
        const event = this.#received(frame);
        if (event === null) continue;
        events.push(event);
        if (this.#isOver) break;
      }
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#isOver = true;
      events.push({ kind: "failed", error });
    }
    return events;
  }

  /**
   * Opens a flow.
   *
   * @param windowBytes how many bytes may come before more are granted
   * @returns its number
   * @throws {ResetError} "exhausted" if no number is free
   * @throws {RangeError} if the parameters are too long, or the window is no u32
   */
  open(purpose: FlowPurpose, windowBytes: number, parameters: Uint8Array): number {
    requireFitting(windowBytes, parameters);
    const output = this.#freeNumber();
    const data = new Uint8Array(OPEN_HEAD_BYTES + parameters.length);
    data[0] = PURPOSES[purpose];
    new DataView(data.buffer).setUint32(1, windowBytes);
    data.set(parameters, OPEN_HEAD_BYTES);
    output.state.open(windowBytes);
    output.opening = encodeFrame(FRAME_TYPES.open, output.flow, data);
    this.#output.addControl(output);
    return output.flow;
  }

  /**
   * Takes a flow that the other side opens; nothing happens if it has given it up.
   *
   * @throws {RangeError} if the parameters are too long, or the window is no u32
   */
  accept(flow: number, windowBytes: number, parameters: Uint8Array): void {
    requireFitting(windowBytes, parameters);
    const output = this.#flow(flow);
    if (output.state.phase !== "offered" || output.state.closing !== "nothing") return;
    const data = new Uint8Array(OPENED_HEAD_BYTES + parameters.length);
    new DataView(data.buffer).setUint32(0, windowBytes);
    data.set(parameters, OPENED_HEAD_BYTES);
    output.state.accept(windowBytes);
    output.opening = encodeFrame(FRAME_TYPES.opened, flow, data);
    this.#output.addControl(output);
  }

  /**
   * Sends bytes, one run after the other: they stay as they are until `takeWritten` names the flow. Nothing happens if
   * the other side has reset the flow, which an event tells that may not have been looked at.
   */
  send(flow: number, bytes: Uint8Array): void {
    const output = this.#flow(flow);
    if (output.state.closing === "reset") return;
    if (output.bytes !== null || output.state.closing === "end") {
      throw new TypeError("cannot send on a flow: other bytes wait, or it has ended");
    }
    output.bytes = bytes;
    output.bytesAt = 0;
    this.#output.addReady(output);
  }

  /**
   * The reader of a flow has taken bytes. What is due is granted: by the server at half a window, by the dialling side
   * as soon as no more wait (`isDrained`), since it answers at once anyway.
   * @returns whether there is output for it
   */
  consumed(flow: number, bytes: number, isDrained: boolean, nowMs: number): boolean {
    const output = this.#flow(flow);
    const { state } = output;
    if (state.phase !== "open" || state.received !== "nothing" || state.closing === "reset") return false;
    state.consumed(bytes);
    const isDue = this.#role === "dialler" ? isDrained : this.#heartbeat.quietMs(nowMs) >= QUIET_CREDIT_MS;
    if (!isDue && state.consumedBytes < state.windowBytes / 2) return false;
    output.grantBytes += state.grant();
    this.#output.addControl(output);
    return true;
  }

  /** Writes no more on a flow, after what was sent. */
  end(flow: number): void {
    const output = this.#flow(flow);
    if (output.state.closing !== "nothing") return;
    output.state.decideEnd();
    this.#output.addReady(output);
  }

  /** Ends a flow both ways at once; bytes that wait are given up. */
  reset(flow: number, code: ResetCode, text: string): void {
    const output = this.#flow(flow);
    const { state } = output;
    if (state.phase === "free" || state.closing === "reset") return;
    // What was never given out, nobody has to be told of.
    const isUnheard = state.phase === "opening" && output.opening !== null;
    output.clear();
    if (isUnheard) return state.withdraw();
    state.decideReset();
    output.reset = encodeResetData(code, text);
    this.#output.addControl(output);
  }

  /** Ends the link: what waits is given up, and the other side is told why. Everything received later is passed over. */
  close(code: ResetCode, text: string): void {
    this.#isOver = true;
    this.#output.addLast(code, text);
  }

  /** What is to be written now, in one write; null: nothing. It stays as it is until `release`. */
  takeOutput(nowMs: number): Uint8Array<ArrayBuffer> | null {
    const output = this.#output.take();
    if (output !== null) this.#heartbeat.said(nowMs);
    return output;
  }

  /** Numbers of flows whose `send` is done: all of it was given out since the last call. */
  takeWritten(): readonly number[] {
    return this.#output.takeWritten();
  }

  /** What was taken is written; its memory is used again. Never call it after a failed write. */
  release(): void {
    this.#output.release();
  }

  /** Looks at the clock; there may be output afterwards. */
  tick(nowMs: number): "alive" | "dead" {
    const pulse = this.#heartbeat.look(nowMs);
    if (pulse === "ask") this.#output.addHeartbeat();
    return pulse === "dead" ? "dead" : "alive";
  }

  /** When to call `tick`; it may have moved on by then. */
  get deadlineMs(): number {
    return this.#heartbeat.deadlineMs;
  }

  /** Numbers that are not free, of both halves. */
  get openFlows(): number {
    let count = 0;
    for (const output of this.#flows) if (output !== undefined && output.state.phase !== "free") count++;
    return count;
  }

  /** Whether the last frame, which says why the link ended, was given out. */
  get isOver(): boolean {
    return this.#output.isOver;
  }

  #received({ type, flow, data }: Frame): LinkEvent | null {
    switch (type) {
      case FRAME_TYPES.data:
        return this.#flow(flow).state.receivedData(data.length) ? { kind: "data", flow, bytes: data } : null;
      case FRAME_TYPES.credit:
        return this.#receivedCredit(flow, data);
      case FRAME_TYPES.open:
        return this.#receivedOpen(flow, data);
      case FRAME_TYPES.opened:
        return this.#receivedOpened(flow, data);
      case FRAME_TYPES.end:
        return this.#receivedEnd(flow);
      case FRAME_TYPES.reset:
        return this.#receivedReset(flow, data);
      case FRAME_TYPES.heartbeat:
        if (this.#role === "server") this.#output.addHeartbeat();
        return null;
      case FRAME_TYPES.heard:
      case FRAME_TYPES.hello:
      case FRAME_TYPES.prove:
        if (type === FRAME_TYPES.heard && this.#role === "server") return null;
        throw new LinkError("malformed", `cannot go on with a link: found type ${type} behind the handshake`);
    }
  }

  #receivedCredit(flow: number, data: Uint8Array): null {
    const output = this.#flow(flow);
    if (output.state.receivedCredit(u32(data, 0))) this.#output.addReady(output);
    return null;
  }

  #receivedOpen(flow: number, data: Uint8Array): LinkEvent {
    const purpose = data[0] === PURPOSES.control
      ? "control"
      : data[0] === PURPOSES.session
      ? "session"
      : null;
    this.#flow(flow).state.receivedOpen(u32(data, 1));
    if (purpose === null) {
      throw new LinkError("malformed", `cannot take a flow: found purpose ${data[0]}, accepted are 1 and 2`);
    }
    return {
      kind: "open",
      flow,
      purpose,
      parameters: data.slice(OPEN_HEAD_BYTES) as Uint8Array<ArrayBuffer>,
    };
  }

  #receivedOpened(flow: number, data: Uint8Array): LinkEvent | null {
    const output = this.#flow(flow);
    if (!output.state.receivedOpened(u32(data, 0))) return null;
    this.#output.addReady(output);
    return { kind: "opened", flow, parameters: data.slice(OPENED_HEAD_BYTES) as Uint8Array<ArrayBuffer> };
  }

  #receivedEnd(flow: number): LinkEvent | null {
    const output = this.#flow(flow);
    const counts = output.state.receivedEnd();
    this.#clearIfFree(output);
    return counts ? { kind: "end", flow } : null;
  }

  #receivedReset(flow: number, data: Uint8Array): LinkEvent | null {
    const { code, text, isAfterEnd } = decodeResetData(data);
    if (flow === 0) {
      this.#isOver = true;
      return { kind: "closed", code, text };
    }
    const output = this.#flow(flow);
    const counts = output.state.receivedReset(isAfterEnd);
    this.#clearIfFree(output);
    if (counts) this.#answerReset(output);
    return counts ? { kind: "reset", flow, code, text } : null;
  }

  /** Whoever has sent neither end nor reset answers; else the number is free already. */
  #answerReset(output: FlowOutput): void {
    const { state } = output;
    if (state.phase === "free") return;
    output.clear();
    output.reset = encodeResetData("cancelled", "");
    this.#output.addControl(output);
  }

  #clearIfFree(output: FlowOutput): void {
    if (output.state.phase === "free") output.clear();
  }

  #flow(flow: number): FlowOutput {
    const known = this.#flows[flow];
    if (known !== undefined) return known;
    const isOurs = (flow >= SERVER_HALF) === (this.#role === "server");
    return this.#flows[flow] = new FlowOutput(flow, new FlowState(flow, isOurs));
  }

  #freeNumber(): FlowOutput {
    const first = this.#role === "server" ? SERVER_HALF : 1;
    const count = this.#role === "server" ? FLOW_NUMBERS - SERVER_HALF : SERVER_HALF - 1;
    for (let tried = 0; tried < count; tried++) {
      const index = (this.#nextNumber + tried) % count;
      const output = this.#flow(first + index);
      if (output.state.phase !== "free") continue;
      this.#nextNumber = (index + 1) % count;
      return output;
    }
    throw new ResetError(
      "exhausted",
      "here",
      `cannot open a flow: all ${count} numbers of this link are in use`,
    );
  }
}

function requireFitting(windowBytes: number, parameters: Uint8Array): void {
  if (!Number.isInteger(windowBytes) || windowBytes < 0 || windowBytes > MAX_CREDIT_BYTES) {
    throw new RangeError(`cannot open a flow: found a window of ${windowBytes} bytes, accepted is a u32`);
  }
  if (parameters.length > MAX_PARAMETER_BYTES) {
    throw new RangeError(
      `cannot open a flow: found ${parameters.length} bytes of parameters, accepted are ${MAX_PARAMETER_BYTES}`,
    );
  }
}

/** Big-endian; the length was checked by the frame's reader. */
function u32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(at);
}
