/** One attempt to reach a service: whoever is published under its name, each at each of its addresses, in turn. */
import { type Connection, type Transport, TransportError } from "../transport/transport.ts";
import type { Discovery } from "./discovery/discovery.ts";
import type { ServiceRecord } from "./discovery/record.ts";
import { DiscoveryError } from "./discovery/record_store.ts";
import { type CloseReason, ConnectionError } from "./errors.ts";
import type { HandshakeResult } from "./handshake.ts";
import type { Timers } from "./timers.ts";

/** What a dialler works with. */
export interface DiallerParts {
  readonly transport: Transport;
  /** Where to connect if nobody is asked for by name; undefined: the transport's own address. */
  readonly address: string | undefined;
  /** Where the service is asked for, and by which name; null: at `address`. */
  readonly wanted: { readonly discovery: Discovery; readonly name: string } | null;
  readonly codecId: string;
  /** Time for each address, in milliseconds: to connect, and again to shake hands. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  /** Shakes hands as the dialling side. */
  readonly shake: (connection: Connection, signal: AbortSignal) => Promise<HandshakeResult>;
}

/**
 * Refusals that the same two programs will meet again and again, so that waiting is of no use. What is full, taken or
 * slow may be otherwise in a moment.
 */
const LASTING_REFUSALS: ReadonlySet<CloseReason> = new Set<CloseReason>([
  "protocol_version",
  "handshake_mismatch",
  "role_mismatch",
  "codec_mismatch",
  "contract_mismatch",
  "service_mismatch",
  "application_version",
  "authentication_failed",
  "process_not_signed",
]);

/** Whether trying again cannot help. */
export function isLasting(error: unknown): boolean {
  if (error instanceof ConnectionError) return LASTING_REFUSALS.has(error.reason);
  if (error instanceof TransportError) {
    return error.code === "address" || error.code === "permission" || error.code === "unsupported";
  }
  // A TypeError is a fault of the program's own, such as a name that is none.
  return error instanceof TypeError;
}

/** Waits until a signal is given. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Makes attempts. */
export class Dialler {
  readonly #parts: DiallerParts;
  /** Instances that the last attempt knew of. */
  #known: ReadonlySet<string> = new Set();

  /** Does nothing yet. */
  constructor(parts: DiallerParts) {
    this.#parts = parts;
  }

  /**
   * Tries everything once; the first that works is it.
   *
   * @throws what the last one failed with, or the first lasting refusal if there was one; `DiscoveryError` "timeout"
   * if nobody fitting is published
   */
  async dial(signal: AbortSignal): Promise<HandshakeResult> {
    let failure: unknown = null;
    for (const address of await this.#addresses()) {
      signal.throwIfAborted();
      try {
        return await this.#dialOne(address, signal);
      } catch (error) {
        if (failure === null || !isLasting(failure)) failure = error;
      }
    }
    signal.throwIfAborted();
    throw failure;
  }

  /** Resolves when somebody fitting is published whom the last attempt did not know of, or the signal is aborted. */
  async news(signal: AbortSignal): Promise<void> {
    const { wanted } = this.#parts;
    if (wanted === null) return await aborted(signal);
    for await (const records of wanted.discovery.watch(wanted.name, { signal })) {
      if (this.#fitting(records).some(({ instance }) => !this.#known.has(instance))) return;
    }
  }

  async #dialOne(address: string | undefined, signal: AbortSignal): Promise<HandshakeResult> {
    const { transport, timers, timeoutMs, shake } = this.#parts;
    const limit = new AbortController();
    const callOff = timers.after(
      timeoutMs,
      () => limit.abort(new TransportError("lost", `could not connect: no answer within ${timeoutMs} ms`)),
    );
    let connection: Connection;
    try {
      connection = await transport.connect(address, { signal: AbortSignal.any([signal, limit.signal]) });
    } finally {
      callOff();
    }
    // The handshake closes the connection if it fails, and has a time of its own.
    return await shake(connection, signal);
  }

  async #addresses(): Promise<readonly (string | undefined)[]> {
    const { wanted, transport, codecId } = this.#parts;
    if (wanted === null) return [this.#parts.address];
    const records = await wanted.discovery.resolve(wanted.name);
    const fitting = this.#fitting(records);
    this.#known = new Set(fitting.map(({ instance }) => instance));
    const [other] = records;
    if (fitting.length === 0) {
      throw new DiscoveryError(
        "timeout",
        other === undefined
          ? `could not find "${wanted.name}": nobody published it`
          : `could not find "${wanted.name}": it is published for transport ${other.transport} and codec ` +
            `${other.codec}, wanted are ${transport.name} and ${codecId}`,
      );
    }
    return fitting.flatMap(({ addresses }) => addresses);
  }

  #fitting(records: readonly ServiceRecord[]): readonly ServiceRecord[] {
    const { transport, codecId } = this.#parts;
    return records.filter((each) => each.transport === transport.name && each.codec === codecId);
  }
}
