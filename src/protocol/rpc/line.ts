/**
 * The line to a service: one connection at a time, made anew when it is lost.
 *
 *   begin --> dial --> connected --- lost ---> wait (full jitter, at most 10 s) --> dial --> ...
 *
 * What that means for calls: those under way when the connection goes fail with "disconnected", streams end with it,
 * and nothing that was handed to a connection is ever handed to another one: whether to repeat a call that may have run
 * is the caller's to say. Calls begun in between wait for the next connection within their deadline.
 */
import { DiscoveryError } from "./discovery/record_store.ts";
import type { Contract } from "./contract.ts";
import { backoffMs, MAX_BACKOFF_MS } from "./backoff.ts";
import { aborted, isLasting } from "./dialler.ts";
import { RpcError } from "./errors.ts";
import type { HandshakeResult } from "./handshake.ts";
import type { NodeEventListener } from "./node_event.ts";
import type { Peer } from "./peer.ts";
import type { RandomBytes, Timers } from "./timers.ts";

/** What a line works with. */
export interface LineParts<Calls extends Contract> {
  readonly timers: Timers;
  readonly randomBytes: RandomBytes;
  readonly report: NodeEventListener;
  /** Calls that may wait for a connection. */
  readonly maxWaitingCalls: number;
  /** One attempt. */
  readonly dial: (signal: AbortSignal) => Promise<HandshakeResult>;
  /** Makes a peer of a connection. */
  readonly open: (shaken: HandshakeResult) => Peer<Calls>;
  /**
   * Resolves when something may have changed that is worth an attempt before the wait is over, such as a record that
   * was published; never, where nothing tells.
   */
  readonly news: (signal: AbortSignal) => Promise<void>;
}

/** A call that waits for a connection. */
interface Waiter<Calls extends Contract> {
  readonly take: (peer: Peer<Calls>) => void;
  readonly fail: (error: RpcError) => void;
}

/** Keeps a connection to a service. */
export class Line<Calls extends Contract> {
  readonly #parts: LineParts<Calls>;
  readonly #end = new AbortController();
  readonly #waiters = new Set<Waiter<Calls>>();
  #peer: Peer<Calls> | null = null;
  #failure: unknown = null;
  #loop: Promise<void> = Promise.resolve();

  /** Does nothing yet. */
  constructor(parts: LineParts<Calls>) {
    this.#parts = parts;
  }

  /** Where a call can go now; null while there is no connection, or its other side takes no more calls. */
  get peer(): Peer<Calls> | null {
    return this.#peer?.isAccepting === true ? this.#peer : null;
  }

  /**
   * Makes the first connection, then keeps one in the background.
   *
   * @param patienceMs how long to try again when an attempt fails for a reason that may pass; 0: not at all
   * @throws what the last attempt failed with
   */
  async begin(patienceMs: number, signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#end.signal]);
    const patience = new AbortController();
    // The one attempt of somebody without patience has the time that its parts give it.
    const callOff = patienceMs === 0
      ? (): void => {}
      : this.#parts.timers.after(patienceMs, () => patience.abort());
    const limit = AbortSignal.any([stop, patience.signal]);
    try {
      for (let failures = 0; this.#peer === null; failures++) {
        try {
          this.#connected(await this.#parts.dial(limit));
        } catch (error) {
          stop.throwIfAborted();
          // An attempt that was cut off by the end of our patience says less than the one before.
          if (!patience.signal.aborted || this.#failure === null) this.#failure = error;
          if (patienceMs === 0 || isLasting(error)) throw this.#failure;
          await this.#pause(failures, this.#failure, limit);
          stop.throwIfAborted();
          if (patience.signal.aborted) throw timedOut(this.#failure, patienceMs);
        }
      }
    } finally {
      callOff();
    }
    this.#loop = this.#keep();
  }

  /**
   * Waits for a connection.
   *
   * @param waitMs how long at most; Infinity for no limit
   * @throws {RpcError} "unavailable", "cancelled" or "exhausted"; nothing was sent
   */
  wait(waitMs: number, signal: AbortSignal | undefined): Promise<Peer<Calls>> {
    const { timers, maxWaitingCalls } = this.#parts;
    const { peer } = this;
    if (signal?.aborted === true) return Promise.reject(new RpcError("cancelled", "cancelled by the caller"));
    if (peer !== null) return Promise.resolve(peer);
    if (this.#end.signal.aborted) return Promise.reject(unavailable("the node is closed", null));
    if (this.#waiters.size >= maxWaitingCalls) {
      return Promise.reject(
        new RpcError("exhausted", `cannot call: ${maxWaitingCalls} calls wait for a connection`),
      );
    }
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        this.#waiters.delete(waiter);
        callOff();
        signal?.removeEventListener("abort", cancel);
        act();
      };
      const waiter: Waiter<Calls> = {
        take: (peer) => settle(() => resolve(peer)),
        fail: (error) => settle(() => reject(error)),
      };
      const cancel = (): void => waiter.fail(new RpcError("cancelled", "cancelled by the caller"));
      const callOff = waitMs === Infinity ? (): void => {} : timers.after(
        waitMs,
        () => waiter.fail(unavailable(`no connection came within ${Math.round(waitMs)} ms`, this.#failure)),
      );
      signal?.addEventListener("abort", cancel, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** Lets open calls finish and ends the line; waiting calls fail. */
  async close(): Promise<void> {
    this.#end.abort();
    this.#failAll(unavailable("the node is closed", null));
    await this.#peer?.drain();
    await this.#loop;
  }

  #connected(shaken: HandshakeResult): void {
    const peer = this.#parts.open(shaken);
    if (this.#end.signal.aborted) {
      peer.close("normal");
      return;
    }
    this.#peer = peer;
    this.#failure = null;
    this.#parts.report({ kind: "connected", by: "here", peer: peer.info });
    for (const waiter of [...this.#waiters]) waiter.take(peer);
  }

  async #keep(): Promise<void> {
    const { timers, report } = this.#parts;
    let failures = 0;
    let sinceMs = timers.monotonicMs();
    while (this.#peer !== null) {
      const peer = this.#peer;
      const error = await peer.closed;
      this.#peer = null;
      report({ kind: "disconnected", peer: peer.info, error });
      if (this.#end.signal.aborted) return;
      this.#failure = error;
      // A connection that ends as soon as it is made is a failed attempt, or the two would do nothing else.
      failures = timers.monotonicMs() - sinceMs >= MAX_BACKOFF_MS ? 0 : failures + 1;
      failures = await this.#again(failures);
      sinceMs = timers.monotonicMs();
    }
  }

  async #again(failuresBefore: number): Promise<number> {
    let failures = failuresBefore;
    while (!this.#end.signal.aborted) {
      await this.#pause(failures, this.#failure, this.#end.signal);
      if (this.#end.signal.aborted) break;
      try {
        this.#connected(await this.#parts.dial(this.#end.signal));
        break;
      } catch (error) {
        if (this.#end.signal.aborted) break;
        failures++;
        this.#failure = error;
        // Later calls still wait: the other side may be replaced by one that fits.
        if (isLasting(error)) this.#failAll(unavailable("the service refuses this client", error));
      }
    }
    return failures;
  }

  async #pause(failures: number, error: unknown, signal: AbortSignal): Promise<void> {
    const { timers, randomBytes, report, news } = this.#parts;
    if (signal.aborted) return;
    const retryMs = backoffMs(failures, randomBytes);
    report({ kind: "attempt_failed", error, retryMs });
    const over = new AbortController();
    const end = (): void => over.abort();
    signal.addEventListener("abort", end, { once: true });
    const callOff = timers.after(retryMs, end);
    // Without news, for whatever reason, there is still the time.
    const watching = news(over.signal).then(end, () => {});
    await aborted(over.signal);
    await watching;
    callOff();
    signal.removeEventListener("abort", end);
  }

  #failAll(error: RpcError): void {
    for (const waiter of [...this.#waiters]) waiter.fail(error);
  }
}

function unavailable(why: string, cause: unknown): RpcError {
  return new RpcError("unavailable", `cannot call: ${why}`, cause === null ? {} : { cause });
}

function timedOut(error: unknown, patienceMs: number): unknown {
  if (!(error instanceof DiscoveryError) || error.code !== "timeout") return error;
  return new DiscoveryError("timeout", `${error.message} within ${patienceMs} ms`, { cause: error });
}
