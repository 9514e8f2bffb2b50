/** What a handler is told besides its input. */
import type { CallContext, Client, Contract, PeerInfo } from "./contract.ts";
import type { TheirCall } from "./their_call.ts";

/** What is the same for all calls of a connection. */
export interface ContextGround {
  readonly peer: PeerInfo;
  readonly client: Client<Contract>;
  /** Milliseconds of the clock that deadlines are on. */
  readonly monotonicMs: () => number;
}

/** The context of one call; everything that costs something is made when it is asked for. */
export class Context implements CallContext {
  readonly #call: TheirCall;
  readonly #ground: ContextGround;

  constructor(call: TheirCall, ground: ContextGround) {
    this.#call = call;
    this.#ground = ground;
  }

  get method(): string {
    return this.#call.method.name;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get remainingMs(): number {
    return Math.max(0, this.#call.expiresMs - this.#ground.monotonicMs());
  }

  get peer(): PeerInfo {
    return this.#ground.peer;
  }

  get client(): Client<Contract> {
    return this.#ground.client;
  }
}
