/** A session without a connection: the test plays the other side, frame by frame, and lets time pass. */
import type { EncodedBody } from "../../../src/protocol/rpc/codec.ts";
import type { Contract } from "../../../src/protocol/rpc/contract.ts";
import type { ConnectionError } from "../../../src/protocol/rpc/errors.ts";
import { type Frame, FRAME_KINDS, type FrameKind } from "../../../src/protocol/rpc/frame.ts";
import type { FrameSink } from "../../../src/protocol/rpc/frame_sink.ts";
import type { Served } from "../../../src/protocol/rpc/implement.ts";
import { jsonCodec } from "../../../src/protocol/rpc/json_codec.ts";
import { DEFAULT_LIMITS, type Limits } from "../../../src/protocol/rpc/limits.ts";
import { Session } from "../../../src/protocol/rpc/session.ts";
import { FakeTimers } from "./fake_timers.ts";
import { STRANGER } from "./peer_pair.ts";

/** A frame, as a test writes it down: what is zero or empty is left out. */
export interface SentFrame {
  readonly kind: FrameKind;
  readonly method?: number;
  readonly id?: number;
  readonly value?: number;
  /** JSON for values, text for messages. */
  readonly body?: string;
}

const KINDS = new Map<number, FrameKind>(
  Object.entries(FRAME_KINDS).map(([name, number]) => [number, name as FrameKind]),
);

/** Notes frames instead of writing them. */
export class RecordingSink implements FrameSink {
  /** What was queued and not looked at. */
  frames: SentFrame[] = [];
  hasRoom = true;
  queuedBytes = 0;
  #waiting: (() => void)[] = [];

  add(kind: number, method: number, id: number, value: number, body: EncodedBody | null): number {
    const text = bodyText(body);
    this.frames.push({
      kind: KINDS.get(kind) ?? "close",
      ...(method === 0 ? {} : { method }),
      ...(id === 0 ? {} : { id }),
      ...(value === 0 ? {} : { value }),
      ...(text === "" ? {} : { body: text }),
    });
    return text.length;
  }

  /** How many wait for room. */
  get waiting(): number {
    return this.#waiting.length;
  }

  pong(value: number): void {
    this.frames.push({ kind: "pong", value });
  }

  whenRoom(act: () => void): void {
    this.#waiting.push(act);
  }

  afterWritten(act: () => void): void {
    act();
  }

  /** Everything that was queued is written. */
  makeRoom(): void {
    this.hasRoom = true;
    for (const act of this.#waiting.splice(0)) act();
  }

  /** The frames since the last time. */
  take(): SentFrame[] {
    const frames = this.frames;
    this.frames = [];
    return frames;
  }
}

function bodyText(body: EncodedBody | null): string {
  if (body === null) return "";
  if (typeof body === "string") return body;
  return body instanceof Uint8Array ? new TextDecoder().decode(body) : body.map(bodyText).join("");
}

/** What a stage is set up with. */
export interface StageOptions<Calls extends Contract> {
  readonly role?: "dialler" | "listener";
  readonly serves?: Served;
  readonly calls?: Calls;
  readonly limits?: Partial<Limits>;
  readonly told?: Partial<Limits>;
}

/** One session and what happens to it. */
export class Stage<Calls extends Contract> {
  readonly timers = new FakeTimers();
  readonly sink = new RecordingSink();
  readonly session: Session<Calls>;
  /** What the session wants the connection closed for. */
  readonly closings: ConnectionError[] = [];
  readonly handlerFailures: unknown[] = [];

  constructor(options: StageOptions<Calls>) {
    this.session = new Session({
      role: options.role ?? "listener",
      codec: jsonCodec(),
      serves: options.serves ?? null,
      calls: options.calls ?? null,
      peer: STRANGER,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      told: { ...DEFAULT_LIMITS, ...options.told },
      timers: this.timers,
      sink: this.sink,
      hold: () => {
        throw new Error("JSON needs no held bodies");
      },
      handlerFailed: (_method, error) => this.handlerFailures.push(error),
      close: (error) => this.closings.push(error),
    });
  }

  /** Plays a frame of the other side. */
  receive(frame: SentFrame): ConnectionError | null {
    return this.session.receive(wireFrame(frame));
  }
}

/** The frame as it comes out of a reader. */
export function wireFrame({ kind, method = 0, id = 0, value = 0, body = "" }: SentFrame): Frame {
  return { kind: FRAME_KINDS[kind], method, id, value, body: new TextEncoder().encode(body) };
}
