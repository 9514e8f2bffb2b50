/** A flow that the other side opens, until this side has answered. */
import type { FlowConnection } from "./flow_connection.ts";
import type { FlowPurpose } from "./link_event.ts";
import type { ResetCode, ResetError } from "./reset_code.ts";

/** It waits until it is accepted or refused. */
export interface IncomingFlow {
  readonly purpose: FlowPurpose;
  /** What the other side said, at most 4,096 bytes. */
  readonly parameters: Uint8Array<ArrayBuffer>;
  /** Resolves when the flow is over, also before it was taken: then its opener gave it up. Never rejects. */
  readonly closed: Promise<ResetError | null>;
  /**
   * Takes it. If its opener has given it up since, the connection is one that has failed.
   *
   * @param parameters at most 4,096 bytes
   * @param options the window: bytes that may come before more are granted; without it, `WINDOW_BYTES` of the purpose
   * @throws {TypeError} the second time, or after `refuse`
   * @throws {RangeError} if the parameters are too long
   */
  accept(parameters: Uint8Array, options?: { readonly windowBytes?: number }): FlowConnection;
  /** Refuses it. Does nothing if it was taken or is over. */
  refuse(code: ResetCode, text: string): void;
}

/** Bytes that may come on a flow before more are granted, where nothing else is said. */
export const WINDOW_BYTES: Readonly<Record<FlowPurpose, number>> = {
  control: 64 * 1024,
  session: 1024 * 1024,
};

/** The flow; its connection exists already, and is given out when it is accepted. */
export class OfferedFlow implements IncomingFlow {
  readonly purpose: FlowPurpose;
  readonly parameters: Uint8Array<ArrayBuffer>;
  readonly #connection: FlowConnection;
  readonly #accept: (windowBytes: number, parameters: Uint8Array) => void;
  #isAnswered = false;

  /** Makes one that calls `accept` when it is taken. */
  constructor(
    offer: Pick<IncomingFlow, "purpose" | "parameters">,
    connection: FlowConnection,
    accept: (windowBytes: number, parameters: Uint8Array) => void,
  ) {
    this.purpose = offer.purpose;
    this.parameters = offer.parameters;
    this.#connection = connection;
    this.#accept = accept;
  }

  /** See `IncomingFlow.closed`. */
  get closed(): Promise<ResetError | null> {
    return this.#connection.closed;
  }

  /** See `IncomingFlow.accept`. */
  accept(parameters: Uint8Array, options: { readonly windowBytes?: number } = {}): FlowConnection {
    if (this.#isAnswered) throw new TypeError("cannot take a flow: it was taken or refused before");
    const { windowBytes = WINDOW_BYTES[this.purpose] } = options;
    if (!this.#connection.isOver) this.#accept(windowBytes, parameters);
    this.#isAnswered = true;
    return this.#connection;
  }

  /** See `IncomingFlow.refuse`. */
  refuse(code: ResetCode, text: string): void {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    this.#connection.reset(code, text);
  }
}
