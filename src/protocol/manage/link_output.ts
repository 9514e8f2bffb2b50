/**
 * What a link has to say, and in which order: the link's own frames and those that begin, credit or reset flows first,
 * then data and ends, one frame of each flow in turn. Everything that waits is laid out as one run of bytes for one
 * write.
 *
 * What waits is bounded by the flows there can be: for each number at most one open or opened, one credit, one reset,
 * and bytes that still lie with their writer.
 */
import {
  CREDIT_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  type FrameType,
  MAX_FRAME_DATA_BYTES,
  writeFrameHeader,
} from "./frame.ts";
import type { FlowState } from "./flow_state.ts";
import { giveBackLongBuffer, LONG_BUFFER_BYTES, takeLongBuffer } from "./read_buffer.ts";
import type { ResetCode } from "./reset_code.ts";
import { encodeResetData, markAfterEnd } from "./reset_data.ts";

/** Longest data of a frame where several flows have something to send. */
const SHARED_FRAME_BYTES = 16 * 1024;
/** Shorter runs get memory of their own, so that thousands of idle links hold none. */
const SMALL_BATCH_BYTES = 16 * 1024;

/** What waits on one flow. */
export class FlowOutput {
  /** Its number. */
  readonly flow: number;
  /** What the rules say. */
  readonly state: FlowState;
  /** The frame that begins it here: open or opened. */
  opening: Uint8Array | null = null;
  /** Credit to be given. */
  grantBytes = 0;
  /** Data of the reset that ends it, without the code's first bit. */
  reset: Uint8Array | null = null;
  /** Of the writer; sent up to `bytesAt`. */
  bytes: Uint8Array | null = null;
  /** See `bytes`. */
  bytesAt = 0;
  /** Whether it stands in the line of those that have control frames to send. */
  isInControls = false;
  /** Whether it stands in the line of those that have data or an end to send. */
  isInReady = false;

  /** Makes one with nothing to say. */
  constructor(flow: number, state: FlowState) {
    this.flow = flow;
    this.state = state;
  }

  /** Whether its next turn brings something. */
  get isReady(): boolean {
    if (this.state.closing === "reset" || this.state.phase !== "open") return false;
    return this.bytes === null
      ? this.state.closing === "end" && this.state.sent === "nothing"
      : this.state.creditBytes > 0;
  }

  /** Forgets everything that waits. */
  clear(): void {
    this.opening = this.reset = this.bytes = null;
    this.grantBytes = this.bytesAt = 0;
  }
}

/** The output of one link. */
export class LinkOutput {
  #heartbeat = false;
  #heard = false;
  #controls: FlowOutput[] = [];
  #ready: FlowOutput[] = [];
  #written: number[] = [];
  /** The last frame: a reset of the link. Nothing else is sent then, and nothing afterwards. */
  #last: Uint8Array | null = null;
  #isLastSent = false;
  /** The memory that is being written. */
  #batch: Uint8Array<ArrayBuffer> | null = null;
  #end = 0;

  /** A heartbeat, or the answer to one; of those that wait only one is kept. */
  addHeartbeat(): void {
    this.#heartbeat = true;
  }

  /** A frame that says nothing, if there is nothing else to say. */
  addHeard(): void {
    this.#heard = true;
  }

  /** The flow has an opening, a credit or a reset. */
  addControl(output: FlowOutput): void {
    if (output.isInControls) return;
    output.isInControls = true;
    this.#controls.push(output);
  }

  /** The flow may have data or an end. */
  addReady(output: FlowOutput): void {
    if (output.isInReady || !output.isReady) return;
    output.isInReady = true;
    this.#ready.push(output);
  }

  /** The link is over, because. */
  addLast(code: ResetCode, text: string): void {
    if (this.#last !== null) return;
    const data = encodeResetData(code, text);
    this.#last = new Uint8Array(FRAME_HEADER_BYTES + data.length);
    writeFrameHeader(this.#last, 0, FRAME_TYPES.reset, 0, data.length);
    this.#last.set(data, FRAME_HEADER_BYTES);
  }

  /** Whether the link's last frame was given out. */
  get isOver(): boolean {
    return this.#isLastSent;
  }

  /** Numbers of flows whose bytes are all given out since the last call: their writers may have their memory back. */
  takeWritten(): readonly number[] {
    if (this.#written.length === 0) return this.#written;
    const written = this.#written;
    this.#written = [];
    return written;
  }

  /** What is to be written now, up to 256 KiB; null: nothing. It stays as it is until `release`. */
  take(): Uint8Array<ArrayBuffer> | null {
    if (this.#last !== null) return this.#takeLast(this.#last);
    const mostBytes = this.#mostBytes();
    if (mostBytes === 0) return null;
    const batch = batchOf(mostBytes);
    this.#batch = batch;
    this.#end = 0;
    if (this.#heartbeat) this.#put(FRAME_TYPES.heartbeat, 0, 0);
    this.#heartbeat = false;
    if (this.#putControls()) this.#putReady();
    if (this.#heard && this.#end === 0) this.#put(FRAME_TYPES.heard, 0, 0);
    this.#heard = false;
    return this.#end === 0 ? null : batch.subarray(0, this.#end);
  }

  /** What was taken is written; its memory is used again. Never call it after a failed write. */
  release(): void {
    const batch = this.#batch;
    this.#batch = null;
    if (batch?.length === LONG_BUFFER_BYTES) giveBackLongBuffer(batch);
  }

  #takeLast(last: Uint8Array): Uint8Array<ArrayBuffer> | null {
    if (this.#isLastSent) return null;
    this.#isLastSent = true;
    this.#controls = [];
    this.#ready = [];
    return last.slice();
  }

  /** At least what one take can give. */
  #mostBytes(): number {
    let bytes = this.#heartbeat || this.#heard ? FRAME_HEADER_BYTES : 0;
    for (const { opening, grantBytes, reset } of this.#controls) {
      bytes += opening?.length ?? 0;
      if (grantBytes > 0) bytes += FRAME_HEADER_BYTES + CREDIT_BYTES;
      if (reset !== null) bytes += FRAME_HEADER_BYTES + reset.length;
    }
    for (const output of this.#ready) {
      const waiting = output.bytes === null ? 0 : output.bytes.length - output.bytesAt;
      const dataBytes = Math.min(waiting, output.state.creditBytes);
      // A frame of data for each full one and the rest, and one for an end.
      bytes += dataBytes + FRAME_HEADER_BYTES * (2 + Math.ceil(dataBytes / SHARED_FRAME_BYTES));
      if (bytes >= LONG_BUFFER_BYTES) return LONG_BUFFER_BYTES;
    }
    return Math.min(bytes, LONG_BUFFER_BYTES);
  }

  /** Whether all of them found room. */
  #putControls(): boolean {
    let done = 0;
    for (const output of this.#controls) {
      if (!this.#putControl(output)) break;
      done++;
      output.isInControls = false;
      // What was opened now may have been given bytes before.
      this.addReady(output);
    }
    if (done === this.#controls.length) this.#controls.length = 0;
    else this.#controls.splice(0, done);
    return this.#controls.length === 0;
  }

  #putControl(output: FlowOutput): boolean {
    const { flow, state, opening, reset } = output;
    if (opening !== null) {
      if (this.#room < opening.length) return false;
      this.#putBytes(opening);
      output.opening = null;
    }
    if (output.grantBytes > 0) {
      if (this.#room < FRAME_HEADER_BYTES + CREDIT_BYTES) return false;
      this.#put(FRAME_TYPES.credit, flow, CREDIT_BYTES);
      this.#putU32(output.grantBytes);
      output.grantBytes = 0;
    }
    if (reset !== null) {
      if (this.#room < FRAME_HEADER_BYTES + reset.length) return false;
      this.#put(FRAME_TYPES.reset, flow, reset.length);
      if (state.sent === "end") markAfterEnd(reset);
      this.#putBytes(reset);
      output.reset = null;
      state.sentReset();
    }
    return true;
  }

  #putReady(): void {
    for (let output = this.#ready[0]; output !== undefined; output = this.#ready[0]) {
      if (this.#room <= FRAME_HEADER_BYTES) return;
      this.#ready.shift();
      output.isInReady = false;
      if (!output.isReady) continue;
      if (output.bytes !== null) this.#putData(output, output.bytes);
      else {
        this.#put(FRAME_TYPES.end, output.flow, 0);
        output.state.sentEnd();
      }
      this.addReady(output);
    }
  }

  #putData(output: FlowOutput, bytes: Uint8Array): void {
    const longest = this.#ready.length === 0 ? MAX_FRAME_DATA_BYTES : SHARED_FRAME_BYTES;
    const count = Math.min(
      longest,
      output.state.creditBytes,
      bytes.length - output.bytesAt,
      this.#room - FRAME_HEADER_BYTES,
    );
    this.#put(FRAME_TYPES.data, output.flow, count);
    this.#putBytes(bytes.subarray(output.bytesAt, output.bytesAt + count));
    output.state.sentData(count);
    output.bytesAt += count;
    if (output.bytesAt < bytes.length) return;
    output.bytes = null;
    output.bytesAt = 0;
    this.#written.push(output.flow);
  }

  get #room(): number {
    return (this.#batch?.length ?? 0) - this.#end;
  }

  #put(type: FrameType, flow: number, dataBytes: number): void {
    if (this.#batch !== null) writeFrameHeader(this.#batch, this.#end, type, flow, dataBytes);
    this.#end += FRAME_HEADER_BYTES;
  }

  #putBytes(bytes: Uint8Array): void {
    this.#batch?.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  #putU32(value: number): void {
    this.#putBytes(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }
}

function batchOf(bytes: number): Uint8Array<ArrayBuffer> {
  return bytes <= SMALL_BATCH_BYTES ? new Uint8Array(bytes) : takeLongBuffer();
}
