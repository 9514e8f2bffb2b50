/**
 * A link over a connection: flows are opened and taken, bytes go to and fro, signs of life are given and waited for.
 * Everything that has to be written goes out in one write for each turn; while a write waits, reading goes on. What
 * can lie here is bounded: input by the windows of the flows, output as link_output.ts says.
 *
 *   either side   reset on flow 0 (code, text)  ->
 *                 it writes no more             ->     hangs up
 *                 hangs up, within 1 s in any case
 */
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import { joinBytes } from "./byte_fields.ts";
import { FlowConnection, type FlowPort } from "./flow_connection.ts";
import type { LinkRole } from "./heartbeat.ts";
import { type IncomingFlow, OfferedFlow, WINDOW_BYTES } from "./incoming_flow.ts";
import { Link } from "./link.ts";
import type { FlowPurpose, LinkEvent } from "./link_event.ts";
import { brokenRules, lostLink, lostWithLink, saidHere, saidThere, silent } from "./link_failures.ts";
import { giveBackLongBuffer, ReadBuffer } from "./read_buffer.ts";
import type { ResetCode, ResetError } from "./reset_code.ts";

export { type IncomingFlow, WINDOW_BYTES } from "./incoming_flow.ts";
export type { FlowPurpose } from "./link_event.ts";

/** From the decision that a link is over until its connection is closed in any case. */
const HANG_UP_MS = 1_000;
/** A flow that the other side has taken. */
export interface OpenedFlow {
  readonly connection: FlowConnection;
  /** What the other side said to it, at most 4,096 bytes. */
  readonly parameters: Uint8Array<ArrayBuffer>;
}

/** What a running link is made of. */
export interface RunningLinkOptions {
  /** Of this link alone from now on; closed by it. */
  readonly connection: Connection;
  readonly role: LinkRole;
  /** What was read from the connection and is no part of the handshake; taken over. */
  readonly received: Uint8Array;
  readonly timers: Timers;
  /** Called, never at once, for each flow that the other side opens. What it throws refuses the flow. */
  readonly onOpen: (flow: IncomingFlow) => void;
  /** Written before anything else, in one write with what follows at once; such as a proof. */
  readonly firstFrames?: Uint8Array;
}

/** How to open a flow. */
export interface OpenOptions {
  /** Gives the flow up and rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Bytes that may come before more are granted; without it, `WINDOW_BYTES` of the purpose. */
  readonly windowBytes?: number;
}

interface Opening {
  opened(parameters: Uint8Array<ArrayBuffer>): void;
  failed(error: ResetError): void;
}

/** A link that runs, from the handshake on. */
export class RunningLink {
  readonly #whenClosed = Promise.withResolvers<ResetError>();
  /** Why the link ended; resolves when its connection is closed, and never rejects. */
  readonly closed: Promise<ResetError> = this.#whenClosed.promise;
  readonly #connection: Connection;
  readonly #timers: Timers;
  readonly #onOpen: (flow: IncomingFlow) => void;
  readonly #link: Link;
  readonly #port: FlowPort;
  readonly #flows = new Map<number, FlowConnection>();
  readonly #openings = new Map<number, Opening>();
  /** Memory of the last read, with bytes that these flows have not read. */
  #lent: Uint8Array<ArrayBuffer> | null = null;
  readonly #lentTo = new Set<FlowConnection>();
  #firstFrames: Uint8Array | null;
  #isWriting = false;
  #end: ResetError | null = null;
  #isHungUp = false;
  #callOff: () => void = () => {};
  #receivedBytes = 0;
  #sentBytes = 0;

  /** Takes a connection over, and begins to read. */
  constructor(options: RunningLinkOptions) {
    this.#connection = options.connection;
    this.#timers = options.timers;
    this.#onOpen = options.onOpen;
    this.#link = new Link({ role: options.role, nowMs: options.timers.monotonicMs() });
    this.#firstFrames = options.firstFrames ?? null;
    this.#port = this.#makePort();
    this.#watch();
    this.#write();
    this.#read(options.received);
  }

  /** Whether flows can be opened; false as soon as it is decided that the link ends. */
  get isOpen(): boolean {
    return this.#end === null;
  }

  /** Flow numbers in use, of both sides. */
  get openFlows(): number {
    return this.#link.openFlows;
  }

  /** Bytes on the connection, with all headers, since the handshake. */
  get bytes(): { readonly received: number; readonly sent: number } {
    return { received: this.#receivedBytes, sent: this.#sentBytes };
  }

  /**
   * Opens a flow and waits until the other side takes it.
   *
   * @param parameters at most 4,096 bytes
   * @throws {ResetError} what the other side refuses it with; "exhausted" if no number is free; "lost" if the link is
   * over
   * @throws {RangeError} if the parameters are too long
   */
  // deno-lint-ignore require-await -- it throws into its promise
  async open(purpose: FlowPurpose, parameters: Uint8Array, options: OpenOptions = {}): Promise<OpenedFlow> {
    const { signal, windowBytes = WINDOW_BYTES[purpose] } = options;
    if (this.#end !== null) throw lostWithLink(this.#end);
    signal?.throwIfAborted();
    const flow = this.#link.open(purpose, windowBytes, parameters);
    this.#write();
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        this.#openings.delete(flow);
        signal?.removeEventListener("abort", giveUp);
      };
      const giveUp = (): void => {
        settle();
        this.#port.reset(flow, "cancelled", "");
        reject(signal?.reason);
      };
      this.#openings.set(flow, {
        opened: (parameters) => {
          settle();
          resolve({ connection: this.#newFlow(flow), parameters });
        },
        failed: (error) => {
          settle();
          reject(error);
        },
      });
      signal?.addEventListener("abort", giveUp, { once: true });
    });
  }

  /** Ends the link: all flows are lost at once, the other side is told why. Does nothing the second time. */
  close(code: ResetCode, text: string): void {
    this.#finish(saidHere(code, text, "link"), text);
  }

  #makePort(): FlowPort {
    return {
      send: (flow, bytes) => {
        this.#link.send(flow, bytes);
        this.#write();
      },
      end: (flow) => {
        this.#link.end(flow);
        this.#forget(flow);
        this.#write();
      },
      reset: (flow, code, text) => {
        this.#link.reset(flow, code, text);
        this.#flows.delete(flow);
        this.#write();
      },
      consumed: (flow, bytes, isDrained) => {
        if (this.#link.consumed(flow, bytes, isDrained, this.#timers.monotonicMs())) this.#write();
      },
    };
  }

  #newFlow(flow: number): FlowConnection {
    const connection = new FlowConnection(this.#port, flow, this.#connection);
    this.#flows.set(flow, connection);
    return connection;
  }

  /** Its number may be used again; whoever has the connection can still read what arrived. */
  #forget(flow: number): void {
    if (this.#flows.get(flow)?.isOver === true) this.#flows.delete(flow);
  }

  async #read(received: Uint8Array): Promise<void> {
    const inbox = new ReadBuffer();
    try {
      await Promise.resolve();
      if (received.length > 0) this.#received(received, false);
      for (;;) {
        const count = await this.#connection.read(inbox.bytes);
        if (count === null) break;
        this.#takeBackLent();
        this.#received(inbox.bytes.subarray(0, count), inbox.isLong);
        if (this.#lentTo.size === 0) inbox.used(count);
        else this.#lent = inbox.giveAway();
      }
      this.#lost("the other side hung up without a word", {});
      inbox.release();
    } catch (error) {
      // What was read into may still be written to by a read that was cut off: it is not used again.
      this.#lost(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  /** Whoever reads fast has read by now, without a copy in between. */
  #takeBackLent(): void {
    for (const flow of this.#lentTo) flow.keepLent();
    this.#lentTo.clear();
    if (this.#lent !== null) giveBackLongBuffer(this.#lent);
    this.#lent = null;
  }

  /** @param isLent the memory stays as it is until `takeBackLent` */
  #received(bytes: Uint8Array, isLent: boolean): void {
    this.#receivedBytes += bytes.length;
    const events = this.#link.receive(bytes, this.#timers.monotonicMs());
    // It may have been closed by whoever heard of the one before: a flow that was offered then would never end.
    for (const event of events) if (this.#end === null) this.#happened(event, isLent);
    for (const event of events) {
      if (event.kind === "data") this.#flows.get(event.flow)?.settle();
    }
    this.#write();
  }

  #happened(event: LinkEvent, isLent: boolean): void {
    switch (event.kind) {
      case "data":
        return this.#arrived(event.flow, event.bytes, isLent);
      case "end":
        this.#flows.get(event.flow)?.deliverEnd();
        return this.#forget(event.flow);
      case "open":
        return this.#offered(event);
      case "opened":
        return this.#openings.get(event.flow)?.opened(event.parameters);
      case "reset":
        return this.#wasReset(event.flow, saidThere(event, "flow"));
      case "closed":
        return this.#finish(saidThere(event, "link"), null);
      case "failed":
        return this.#finish(brokenRules(event.error), event.error.message);
    }
  }

  #arrived(flow: number, bytes: Uint8Array, isLent: boolean): void {
    const connection = this.#flows.get(flow);
    connection?.deliver(bytes, isLent);
    if (connection?.hasLent === true) this.#lentTo.add(connection);
  }

  #offered({ flow, purpose, parameters }: Extract<LinkEvent, { kind: "open" }>): void {
    const incoming = new OfferedFlow({ purpose, parameters }, this.#newFlow(flow), (windowBytes, answer) => {
      this.#link.accept(flow, windowBytes, answer);
      this.#write();
    });
    try {
      this.#onOpen(incoming);
    } catch {
      incoming.refuse("internal", "");
    }
  }

  #wasReset(flow: number, error: ResetError): void {
    this.#openings.get(flow)?.failed(error);
    this.#flows.get(flow)?.deliverReset(error);
    this.#flows.delete(flow);
  }

  /** Writes what there is to write at the end of this turn, and whatever comes while that is written. */
  #write(): void {
    if (this.#isWriting || this.#isHungUp) return;
    this.#isWriting = true;
    queueMicrotask(() => this.#writeAll());
  }

  async #writeAll(): Promise<void> {
    try {
      for (let output = this.#takeOutput(); output !== null; output = this.#takeOutput()) {
        await this.#connection.write(output);
        this.#link.release();
      }
      this.#isWriting = false;
      if (this.#link.isOver) await this.#connection.closeWrite();
    } catch (error) {
      this.#writeFailed(error);
    }
  }

  #takeOutput(): Uint8Array | null {
    if (this.#isHungUp) return null;
    const output = this.#link.takeOutput(this.#timers.monotonicMs());
    for (const flow of this.#link.takeWritten()) this.#flows.get(flow)?.written();
    const first = this.#firstFrames;
    this.#firstFrames = null;
    const all = first === null ? output : output === null ? first : joinBytes(first, output);
    this.#sentBytes += all?.length ?? 0;
    return all;
  }

  /** The other side may have said why, and then hung up: what it said lies before the end of what can be read. */
  #writeFailed(error: unknown): void {
    if (this.#end !== null) return this.#hangUp();
    const why = error instanceof Error ? error.message : String(error);
    this.#callOff();
    this.#callOff = this.#timers.after(HANG_UP_MS, () => this.#lost(why, { cause: error }));
  }

  /** Looks at the clock when the link wants it; nothing is touched when bytes arrive. */
  #watch(): void {
    const delayMs = Math.max(0, Math.ceil(this.#link.deadlineMs - this.#timers.monotonicMs()));
    this.#callOff = this.#timers.after(delayMs, () => {
      if (this.#link.tick(this.#timers.monotonicMs()) === "dead") return this.#finish(silent(), null);
      this.#write();
      this.#watch();
    });
  }

  #lost(why: string, options: ErrorOptions): void {
    if (this.#end !== null) return this.#hangUp();
    this.#finish(lostLink(why, options), null);
  }

  /** @param told what the other side is told; null: nothing, and it is hung up at once */
  #finish(error: ResetError, told: string | null): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#callOff();
    const lost = lostWithLink(error);
    for (const flow of [...this.#flows.values()]) flow.linkEnded(lost);
    for (const opening of [...this.#openings.values()]) opening.failed(lost);
    this.#flows.clear();
    if (told === null) return this.#hangUp();
    this.#link.close(error.code, told);
    this.#callOff = this.#timers.after(HANG_UP_MS, () => this.#hangUp());
    this.#write();
  }

  #hangUp(): void {
    if (this.#end === null || this.#isHungUp) return;
    this.#isHungUp = true;
    this.#callOff();
    this.#connection.close();
    this.#whenClosed.resolve(this.#end);
  }
}
