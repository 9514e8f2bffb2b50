/** A call of the other side, from its frame to its answer. */
import type { Expiring } from "./deadlines.ts";
import { CALL_ERROR_NUMBERS, type CallErrorCode, RpcError } from "./errors.ts";
import type { HeldBody } from "./held_body.ts";
import type { ServedMethod } from "./implement.ts";
import type { ReceivingStream } from "./receiving_stream.ts";
import type { SendingStream } from "./sending_stream.ts";

/** State of one call that is served here. */
export class TheirCall implements Expiring {
  readonly id: number;
  readonly method: ServedMethod;
  /** Infinity: never. */
  readonly expiresMs: number;
  place = -1;
  /** Memory that the input lies on, if it is to be used again when the answer is written. */
  held: HeldBody | null = null;
  /** What the caller sends. */
  items: ReceivingStream | null = null;
  /** What the handler sends. */
  outputs: SendingStream | null = null;
  /** Whether the caller has said that it takes no more items, perhaps before there were any. */
  isStopped = false;
  /** Why nobody waits for the answer any more. */
  abandoned: RpcError | null = null;
  /** Whether it is among the open calls: a handler that settles at once never gets there. */
  isOpen = false;
  #controller: AbortController | null = null;

  constructor(id: number, method: ServedMethod, expiresMs: number) {
    this.id = id;
    this.method = method;
    this.expiresMs = expiresMs;
  }

  /** The handler's signal. Most handlers never look at it, and making one costs more than the rest of a call. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.abandoned !== null) {
        this.#controller.abort(this.abandoned);
      }
    }
    return this.#controller.signal;
  }

  /**
   * The handler has given up, or is to: something that it began below JavaScript may go on reading the input without
   * anybody waiting for it, and must find no bytes of another call there. So the memory is used for nothing else.
   */
  leaveInput(): void {
    this.held?.keep();
    this.held = null;
  }

  /** Tells the handler that nobody waits any more. When it ends is up to the handler. */
  abandon(reason: RpcError): void {
    if (this.abandoned === null) {
      this.abandoned = reason;
      this.leaveInput();
      this.items?.giveUp(reason);
      this.outputs?.stop();
      this.#controller?.abort(reason);
    }
  }

  expire(): void {
    this.abandon(
      new RpcError(
        "deadline_exceeded",
        `the call of "${this.method.name}" was not finished before its deadline`,
      ),
    );
  }
}

/** What a `cancel` frame may say. */
export const CANCEL_CODES: ReadonlyMap<number, CallErrorCode> = new Map(
  (["cancelled", "deadline_exceeded"] as const).map((code) => [CALL_ERROR_NUMBERS[code], code]),
);

const WHERE_TO_LOOK = 'the event "handler_failed" of the side that serves it says why';

/** What the caller is told of a failure that is none of its business: nothing of what was thrown. */
export function internalError(call: TheirCall): RpcError {
  return new RpcError("internal", `"${call.method.name}" failed; ${WHERE_TO_LOOK}`);
}
