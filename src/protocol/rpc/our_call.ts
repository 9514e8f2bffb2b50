/** A call of ours, from the program's wish to the other side's answer. */
import type { MethodSchemas, Shape } from "./contract.ts";
import type { Expiring } from "./deadlines.ts";
import type { ReceivingStream } from "./receiving_stream.ts";
import type { SendingStream } from "./sending_stream.ts";

/** A method of the other side. */
export interface CalledMethod {
  readonly number: number;
  readonly name: string;
  readonly shape: Shape;
  readonly schemas: MethodSchemas<unknown, unknown, unknown>;
}

/** Where the answer goes: a promise for one output, or the reader of many. */
export interface OneOutput {
  resolve(output: unknown): void;
  reject(error: Error): void;
}

/** State of one call that is made here. */
export class OurCall implements Expiring {
  readonly method: CalledMethod;
  readonly input: unknown;
  /** The program's items; undefined where the method takes none. */
  readonly source: unknown;
  /** 0 until it was sent. */
  id = 0;
  /** How long it may take, and when that is over; Infinity: never. */
  deadlineMs = Infinity;
  expiresMs = Infinity;
  place = -1;
  /** One of these two is there. */
  one: OneOutput | null = null;
  many: ReceivingStream | null = null;
  /** What sends the program's items, once the call was sent. */
  inputs: SendingStream | null = null;
  /** What the program's items failed with. */
  sourceError: unknown = undefined;
  /** Whether the program has its outcome; the other side may not have ended the call yet. */
  isSettled = false;
  /** Listens to the program's signal. */
  unlisten: (() => void) | null = null;
  /** Neighbours among those that wait. */
  before: OurCall | null = null;
  after: OurCall | null = null;
  isWaiting = false;
  readonly #expired: (call: OurCall) => void;

  constructor(method: CalledMethod, input: unknown, source: unknown, expired: (call: OurCall) => void) {
    this.method = method;
    this.input = input;
    this.source = source;
    this.#expired = expired;
  }

  expire(): void {
    this.#expired(this);
  }
}
