/**
 * A relay in memory, honest unless it is told otherwise: whoever says the same first 33 bytes is stapled together.
 */
import { IDENTIFIER_BYTES } from "../../../src/protocol/transfer/identifier.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";

const BUFFER_BYTES = 64 * 1024;

/** Where the bytes of one direction go. */
export interface Wire {
  put(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  end(): Promise<void>;
}

/** One client's connection, as the relay sees it. */
export class RelayEnd {
  /** Of all connections, from 1. */
  readonly number: number;
  /** Who dialled. */
  readonly who: string;
  readonly connection: Connection;
  /** First 33 bytes, in hex; "" before they have come. */
  identifier = "";
  /** Everything the client said behind the identifier. */
  readonly said: Uint8Array<ArrayBuffer>[] = [];
  #wire: Wire | null = null;
  readonly #stapled = Promise.withResolvers<void>();
  /** What is on its way to the wire; one thing after the other. */
  #delivery: Promise<void> = Promise.resolve();

  constructor(number: number, who: string, connection: Connection) {
    this.number = number;
    this.who = who;
    this.connection = connection;
  }

  /** A wire to this client. */
  get wire(): Wire {
    return {
      put: (bytes) => this.connection.write(bytes),
      end: () => this.connection.closeWrite(),
    };
  }

  /** What it says, and has said while it was parked, goes there. */
  leadTo(wire: Wire): void {
    this.#wire = wire;
    this.#stapled.resolve();
  }

  /** Reads on while nobody is there, so that its going is noticed. */
  async pump(): Promise<void> {
    const buffer = new Uint8Array(BUFFER_BYTES);
    for (;;) {
      const count = await this.connection.read(buffer);
      if (count === null) break;
      this.#take(buffer.slice(0, count));
      if (this.#wire !== null) await this.#delivery;
    }
    if (this.#wire === null) return this.connection.close();
    await this.#delivery;
    await this.#wire.end();
  }

  #take(bytes: Uint8Array<ArrayBuffer>): void {
    this.said.push(bytes);
    this.#delivery = this.#delivery.then(async () => {
      await this.#stapled.promise;
      await this.#wire?.put(bytes);
    });
    // What fails here is thrown where it is awaited; a parked client that has gone is awaited by nobody.
    this.#delivery.catch(() => {});
  }

  /** Reads the identifier. @returns false if the client left before */
  async identify(): Promise<boolean> {
    const bytes = new Uint8Array(IDENTIFIER_BYTES);
    for (let at = 0; at < bytes.length;) {
      const count = await this.connection.read(bytes.subarray(at));
      if (count === null) return false;
      at += count;
    }
    this.identifier = bytes.toHex();
    return true;
  }
}

/** How a relay behaves; what is left out is done as an honest one does it. */
export interface RelayPolicy {
  /** Somebody dials; may throw a `TransportError`. */
  dialled?(who: string, signal: AbortSignal): Promise<void> | void;
  /** Somebody has said who is wanted. @returns true if that is all that is done with it */
  arrived?(end: RelayEnd): boolean;
  /** Two have the same identifier. @returns false if they are not to be brought together */
  matches?(parked: RelayEnd, end: RelayEnd): boolean;
  /** The wires to both of them. */
  wires?(parked: RelayEnd, end: RelayEnd): { toParked: Wire; toEnd: Wire };
}

/** What one client's connection has carried; counted at the client. */
export interface ClientTrace {
  readonly who: string;
  readonly number: number;
  /** 33 bytes and all that follows. */
  writtenBytes: number;
  /** First byte of all: 1 for a code, 2 for a resumed pairing. */
  type: number;
  readBytes: number;
  readonly openedMs: number;
  closedMs: number | null;
}

/** The relay. */
export class MemoryRelay {
  policy: RelayPolicy;
  /** Every connection there was, in the order of dialling. */
  readonly traces: ClientTrace[] = [];
  readonly #nowMs: () => number;
  readonly #parked = new Map<string, RelayEnd[]>();
  readonly #open = new Set<RelayEnd>();
  #made = 0;

  constructor(nowMs: () => number, policy: RelayPolicy = {}) {
    this.#nowMs = nowMs;
    this.policy = policy;
  }

  /** Connections that a client has not closed. */
  get open(): number {
    return this.traces.filter(({ closedMs }) => closedMs === null).length;
  }

  /** Clients that wait. */
  get parked(): number {
    return [...this.#parked.values()].reduce((count, ends) => count + ends.length, 0);
  }

  /** Takes one that waits away from its place; null if nobody fits. */
  takeParked(fits: (end: RelayEnd) => boolean): RelayEnd | null {
    const end = [...this.#parked.values()].flat().find(fits) ?? null;
    if (end !== null) this.#unpark(end);
    return end;
  }

  /** How somebody reaches it. */
  dialFor(who: string): (signal: AbortSignal) => Promise<Connection> {
    return async (signal) => {
      signal.throwIfAborted();
      await this.policy.dialled?.(who, signal);
      signal.throwIfAborted();
      const [client, connection] = memoryPair();
      const end = new RelayEnd(++this.#made, who, connection);
      this.#open.add(end);
      this.#serve(end).catch(() => {}).finally(() => this.#open.delete(end));
      return this.#traced(client, who, end.number);
    };
  }

  /** Ends every connection; those that are stapled, those that wait, or all. */
  cut(which: "stapled" | "all" = "stapled"): void {
    const waiting = new Set([...this.#parked.values()].flat());
    for (const end of this.#open) {
      if (which === "stapled" && waiting.has(end)) continue;
      end.connection.close();
    }
  }

  /** Brings two together, whoever they are. */
  staple(parked: RelayEnd, end: RelayEnd): void {
    const wires = this.policy.wires?.(parked, end) ?? { toParked: parked.wire, toEnd: end.wire };
    const both = [parked, end];
    parked.leadTo(guarded(wires.toEnd, both));
    end.leadTo(guarded(wires.toParked, both));
  }

  async #serve(end: RelayEnd): Promise<void> {
    if (!(await end.identify())) return end.connection.close();
    if (this.policy.arrived?.(end) !== true) this.#place(end);
    try {
      await end.pump();
    } catch {
      end.connection.close();
    } finally {
      this.#unpark(end);
    }
  }

  #place(end: RelayEnd): void {
    const waiting = this.#parked.get(end.identifier) ?? [];
    const parked = waiting.find((each) => this.policy.matches?.(each, end) !== false);
    if (parked === undefined) {
      this.#parked.set(end.identifier, [...waiting, end]);
      return;
    }
    this.#unpark(parked);
    this.staple(parked, end);
  }

  #unpark(end: RelayEnd): void {
    const left = (this.#parked.get(end.identifier) ?? []).filter((each) => each !== end);
    if (left.length > 0) this.#parked.set(end.identifier, left);
    else this.#parked.delete(end.identifier);
  }

  #traced(client: Connection, who: string, number: number): Connection {
    const trace: ClientTrace = {
      who,
      number,
      writtenBytes: 0,
      type: 0,
      readBytes: 0,
      openedMs: this.#nowMs(),
      closedMs: null,
    };
    this.traces.push(trace);
    return {
      transport: "memory",
      remoteAddress: null,
      localAddress: null,
      confidential: false,
      async read(buffer): Promise<number | null> {
        const count = await client.read(buffer);
        trace.readBytes += count ?? 0;
        return count;
      },
      write(bytes): Promise<void> {
        if (trace.writtenBytes === 0) trace.type = bytes[0] ?? 0;
        trace.writtenBytes += bytes.length;
        return client.write(bytes);
      },
      closeWrite: () => client.closeWrite(),
      close: (): void => {
        trace.closedMs ??= this.#nowMs();
        client.close();
      },
    };
  }
}

/** A relay that cannot pass something on hangs up on both. */
function guarded(wire: Wire, both: readonly RelayEnd[]): Wire {
  const orCut = async (act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      for (const each of both) each.connection.close();
      throw error;
    }
  };
  return { put: (bytes) => orCut(() => wire.put(bytes)), end: () => orCut(() => wire.end()) };
}

/** A wire that passes on that many bytes at a time, with a pause before each: what is under way can be seen then. */
export function slow(wire: Wire, pieceBytes: number, pause: () => Promise<void>): Wire {
  return {
    async put(bytes): Promise<void> {
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        await pause();
        await wire.put(bytes.slice(at, at + pieceBytes));
      }
    },
    end: () => wire.end(),
  };
}

/** Nobody can be reached. */
export function refused(): TransportError {
  return new TransportError("refused", "could not connect: nobody listens there");
}
