/**
 * Hosts of a management server, many in one process: real TLS, real links with their heartbeats, real keys, and the
 * agent's own way of keeping a link. What is left out is all that happens within a host: its folder, its sessions.
 */
import { LinkKeeper } from "../../src/commander/agent/link_keeper.ts";
import { controlPeer } from "../../src/protocol/manage/control_flow.ts";
import { type DialledLink, dialLink } from "../../src/protocol/manage/link_handshake.ts";
import type { ResetError } from "../../src/protocol/manage/reset_code.ts";
import { SigningKey } from "../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers } from "../../src/protocol/rpc/timers.ts";
import { SocketConnection } from "../../src/protocol/transport/socket_connection.ts";
import { Log } from "../../src/system/log.ts";

const HOST = "127.0.0.1";
/** The name in the server's certificate. */
const SERVER_NAME = "postern";
/**
 * Attempts of one process at once. Thousands of machines begin together because each has a processor of its own; here all
 * of them would only starve each other until every attempt is out of time, which would measure nothing of the server.
 */
const AT_ONCE = 32;
/** As the agent has it: one attempt, from TCP to the proof. */
const ATTEMPT_MS = 4_000;
const CHALLENGE_BYTES = 16;
/** A thousand times the same line helps nobody: failures are counted. */
const SILENT = new Log({ role: "crowd", format: "text", write: () => {} });

/** What they all have in common. */
export interface Crowd {
  readonly port: number;
  /** 32 bytes. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** PEM. */
  readonly caCertificate: string;
  /** DER. */
  readonly serverCertificate: Uint8Array<ArrayBuffer>;
}

/** Name of the host with this number. */
export function hostName(number: number): string {
  return `crowd-${number}`;
}

/** Key of the host with this number, the same in every process. */
export async function hostKey(number: number): Promise<SigningKey> {
  const text = new TextEncoder().encode(`postern bench host ${number}`);
  return await SigningKey.fromSeed(new Uint8Array(await crypto.subtle.digest("SHA-256", text)));
}

/** Some hosts, each with a link that is dialled again whenever it is lost. */
export class SimulatedHosts implements AsyncDisposable {
  readonly #crowd: Crowd;
  readonly #links = new Map<number, DialledLink>();
  readonly #leaving = new AbortController();
  readonly #kept: Promise<void>[] = [];
  readonly #waiting: (() => void)[] = [];
  #underWay = 0;
  /** How often an attempt has failed, by reason. */
  readonly failures = new Map<string, number>();

  constructor(crowd: Crowd) {
    this.#crowd = crowd;
  }

  /** How many links stand, and are registered. */
  get linked(): number {
    return this.#links.size;
  }

  /** Begins to keep the links of these hosts. */
  async come(first: number, count: number): Promise<void> {
    for (let number = first; number < first + count; number++) {
      const key = await hostKey(number);
      const keeper = new LinkKeeper<DialledLink>({
        dial: (signal) => this.#dial(key, signal),
        serve: (link) => this.#serve(number, link),
        timers: systemTimers,
        random: Math.random,
        log: SILENT,
      });
      this.#kept.push(keeper.run(this.#leaving.signal));
    }
  }

  async #dial(key: SigningKey, signal: AbortSignal): Promise<DialledLink> {
    await this.#turn();
    try {
      return await this.#attempt(key, signal);
    } finally {
      this.#underWay--;
      this.#waiting.shift()?.();
    }
  }

  /** Waits for one of the places. */
  async #turn(): Promise<void> {
    while (this.#underWay >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#underWay++;
  }

  async #attempt(key: SigningKey, signal: AbortSignal): Promise<DialledLink> {
    const giveUp = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]);
    try {
      return await this.#dialWithin(key, giveUp);
    } catch (error) {
      this.#count(error);
      throw error;
    }
  }

  #count(error: unknown): void {
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1);
  }

  async #dialWithin(key: SigningKey, signal: AbortSignal): Promise<DialledLink> {
    const { port, caCertificate, serverKey, serverCertificate } = this.#crowd;
    const tcp = await Deno.connect({ hostname: HOST, port, signal });
    tcp.setNoDelay(true);
    const tls = await Deno.startTls(tcp, { hostname: SERVER_NAME, caCerts: [caCertificate] });
    const connection = new SocketConnection(tls, {
      transport: "tls",
      confidential: true,
      localAddress: null,
      remoteAddress: null,
    });
    return await dialLink(connection, {
      kind: "link",
      role: "host",
      key,
      serverKey,
      serverCertificate,
      timers: systemTimers,
      random: systemRandomBytes,
      timeoutMs: ATTEMPT_MS,
      signal,
      onOpen: (flow) => flow.refuse("refused_by_host", "a simulated host has no sessions"),
    });
  }

  async #serve(number: number, dialled: DialledLink): Promise<ResetError> {
    const { link, control } = dialled;
    const peer = controlPeer(control, {
      role: "dialler",
      side: "host",
      handlers: {
        ping: () => null,
        challenge: () => systemRandomBytes(CHALLENGE_BYTES),
        end: () => null,
        pin: () => null,
      },
      timers: systemTimers,
    });
    void peer.closed.then(() => link.close("cancelled", "its control flow is gone"));
    try {
      await peer.client.register({ version: "bench", system: "simulated", sessions: [], pinsGeneration: 1 });
      this.#links.set(number, dialled);
    } catch (error) {
      this.#count(error);
      link.close("internal", "register failed");
    }
    const ending = await link.closed;
    this.#links.delete(number);
    return ending;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#leaving.abort(new DOMException("the bench is over", "AbortError"));
    for (const { link } of this.#links.values()) link.close("shutting_down", "the bench is over");
    await Promise.all(this.#kept);
  }
}
