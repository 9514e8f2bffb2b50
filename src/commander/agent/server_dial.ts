/**
 * One attempt to reach the server: all its addresses side by side, each name resolved anew, over within 4 s, or a time
 * that is given: a resolver may take 5 s to turn from a dead name server to the next one, and then 4 s never suffice.
 *
 *   dial address 1 --- TLS stands ---> proof ---> the link
 *   dial address 2 ------------- TLS stands ---> waits: its proof begins when the first one has failed, or after 1 s
 *   dial address 3 --- refused
 *
 * Connections race, proofs hardly: two addresses often lead to one server, which would take the second proof for
 * somebody else with our key, and say so in its audit.
 */
import { ResetError } from "../../protocol/manage/reset_code.ts";
import { TransportError } from "../../protocol/transport/transport.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import { type DialledLink, dialLink } from "../../protocol/manage/link_handshake.ts";
import type { SigningKey } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { dialPinned, type PinnedConnection, type PinnedDial } from "../../protocol/transport/pinned_tls.ts";
import type { AgentServer } from "./agent_folder.ts";

/** Time for one attempt, from the resolver to the proof. */
export const ATTEMPT_MS = 4_000;
/** Time that a proof has before the next connection that stands may try. */
export const PROOF_HEAD_START_MS = 1_000;

/** How addresses are reached. */
export interface DialSteps<Dialled, Proven> {
  /** Connects; gives up when the signal is aborted. */
  readonly dial: (address: string, signal: AbortSignal) => Promise<Dialled>;
  /** Proves both sides to each other; closes what it was given when it fails or the signal is aborted. */
  readonly prove: (dialled: Dialled, signal: AbortSignal) => Promise<Proven>;
  /** Closes a connection that nobody needs. */
  readonly discard: (dialled: Dialled) => void;
  /** Closes a proven link that came too late. */
  readonly discardProven: (proven: Proven) => void;
  readonly timers: Timers;
  /** Time for all of it. @default ATTEMPT_MS */
  readonly timeMs?: number | undefined;
}

/**
 * Makes one attempt.
 *
 * @returns the first proven link; everything else is closed
 * @throws {ResetError} what the server refused with, if one did
 * @throws {TransportError} why no address was reached; "lost" when the time is over
 * @throws {unknown} the signal's reason
 */
export function firstProven<Dialled, Proven>(
  addresses: readonly string[],
  steps: DialSteps<Dialled, Proven>,
  signal: AbortSignal,
): Promise<Proven> {
  return new Attempt(addresses, steps, signal).result;
}

class Attempt<Dialled, Proven> {
  readonly result: Promise<Proven>;
  readonly #steps: DialSteps<Dialled, Proven>;
  readonly #over = new AbortController();
  readonly #standing: Dialled[] = [];
  readonly #errors: unknown[] = [];
  readonly #timeMs: number;
  #underWay: number;
  #proofs = 0;
  /** Whether the last proof that was begun is still to be waited for. */
  #hasHeadStart = false;
  #callOffHeadStart = (): void => {};
  #resolve: (proven: Proven) => void = () => {};
  #reject: (error: unknown) => void = () => {};

  constructor(addresses: readonly string[], steps: DialSteps<Dialled, Proven>, signal: AbortSignal) {
    this.#steps = steps;
    this.#underWay = addresses.length;
    this.#timeMs = steps.timeMs ?? ATTEMPT_MS;
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const stop = (): void => this.#end(() => this.#reject(signal.reason));
    const callOff = steps.timers.after(this.#timeMs, () => this.#end(() => this.#reject(this.#tooLate())));
    this.#over.signal.addEventListener("abort", () => {
      callOff();
      signal.removeEventListener("abort", stop);
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    else this.#begin(addresses);
  }

  #begin(addresses: readonly string[]): void {
    for (const address of addresses) void this.#dial(address);
    this.#failIfAllHave();
  }

  async #dial(address: string): Promise<void> {
    try {
      const dialled = await this.#steps.dial(address, this.#over.signal);
      if (this.#over.signal.aborted) return this.#steps.discard(dialled);
      this.#standing.push(dialled);
      if (this.#proofs === 0 || !this.#hasHeadStart) this.#proveNext();
    } catch (error) {
      this.#failed(error);
    }
  }

  #proveNext(): void {
    const next = this.#standing.shift();
    if (next === undefined || this.#over.signal.aborted) return;
    this.#callOffHeadStart();
    this.#hasHeadStart = true;
    this.#callOffHeadStart = this.#steps.timers.after(PROOF_HEAD_START_MS, () => {
      this.#hasHeadStart = false;
      this.#proveNext();
    });
    this.#proofs++;
    void this.#prove(next);
  }

  async #prove(dialled: Dialled): Promise<void> {
    try {
      const proven = await this.#steps.prove(dialled, this.#over.signal);
      if (this.#over.signal.aborted) return this.#steps.discardProven(proven);
      this.#end(() => this.#resolve(proven));
    } catch (error) {
      this.#proofs--;
      this.#failed(error);
      if (this.#proofs === 0) this.#proveNext();
    }
  }

  #failed(error: unknown): void {
    this.#errors.push(error);
    this.#underWay--;
    this.#failIfAllHave();
  }

  #failIfAllHave(): void {
    if (this.#underWay === 0) this.#end(() => this.#reject(this.#worst() ?? this.#tooLate()));
  }

  #end(settle: () => void): void {
    if (this.#over.signal.aborted) return;
    settle();
    this.#callOffHeadStart();
    this.#over.abort(new TransportError("closed", "this attempt to reach the server is over"));
    for (const dialled of this.#standing.splice(0)) this.#steps.discard(dialled);
  }

  #tooLate(): unknown {
    return this.#worst(true) ??
      new TransportError("lost", `cannot reach the server: no answer within ${this.#timeMs / 1000} s`);
  }

  /** Of many errors the one that says most: the server's own word, then a wrong certificate, then the first. */
  #worst(onlyTelling = false): unknown {
    const own = this.#errors.find((error) => error instanceof ResetError && !isMereLoss(error));
    const untrusted = this.#errors.find((error) =>
      error instanceof TransportError && error.code === "untrusted"
    );
    return own ?? untrusted ?? (onlyTelling ? undefined : this.#errors[0]);
  }
}

function isMereLoss({ code }: ResetError): boolean {
  return code === "lost" || code === "silent";
}

/** Who dials, and how. */
export interface LinkDial {
  readonly server: Pick<AgentServer, "addresses" | "caCertificates" | "serverKey">;
  /** The host's own. */
  readonly key: SigningKey;
  /** Of a token, 32 bytes; only to join. */
  readonly secret?: Uint8Array<ArrayBuffer>;
  readonly onOpen: (flow: IncomingFlow) => void;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** See `DialSteps`. */
  readonly timeMs?: number | undefined;
  /** Connects. @default dialPinned */
  readonly dialTls?: (dial: PinnedDial) => Promise<PinnedConnection>;
}

/**
 * Makes one attempt.
 *
 * @throws {ResetError} {TransportError} see `firstProven`; the signal's reason
 */
export function dialServer(options: LinkDial, signal: AbortSignal): Promise<DialledLink> {
  const { server, key, secret, onOpen, timers, random, timeMs, dialTls = dialPinned } = options;
  return firstProven<PinnedConnection, DialledLink>(server.addresses, {
    dial: (address, signal) => dialTls({ address, caCertificates: server.caCertificates, signal }),
    prove: ({ connection, certificate }, signal) =>
      dialLink(connection, {
        kind: secret === undefined ? "link" : "join",
        role: "host",
        key,
        serverKey: server.serverKey,
        serverCertificate: certificate,
        secret,
        timers,
        random,
        signal,
        onOpen,
      }),
    discard: ({ connection }) => connection.close(),
    discardProven: ({ link }) => link.close("cancelled", "another address was faster"),
    timers,
    timeMs,
  }, signal);
}
