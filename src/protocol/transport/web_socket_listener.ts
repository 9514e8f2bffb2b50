/**
 * Listening for WebSockets, over TCP or TLS. A client has a few seconds and a few kilobytes for its request, and
 * only so many clients may be at it at once: whoever takes longest goes first.
 */
import { systemTimers, type Timers } from "../rpc/timers.ts";
import { tcp } from "./tcp.ts";
import { tls } from "./tls.ts";
import { type Connection, type Listener, TransportError } from "./transport.ts";
import type { WebSocketAddress } from "./web_socket_address.ts";
import type { WebSocketOptions } from "./web_socket.ts";
import { type ServerWebSocketOptions, serveWebSocket } from "./web_socket_server.ts";
import { answerUpgrade, HEAD_END, MAX_HEAD_BYTES, refusal, type UpgradeRules } from "./web_socket_upgrade.ts";

const REQUEST_TIMEOUT_MS = 5_000;
/** Clients whose request is not complete. */
const MAX_REQUESTS = 256;
/** Connections that wait to be accepted by the program. */
const MAX_WAITING = 1024;

/**
 * Listens.
 *
 * @throws {TransportError} if it cannot
 */
export async function listenWebSocket(
  address: WebSocketAddress,
  options: WebSocketOptions,
): Promise<Listener> {
  const { hostPort, path, isTls } = address;
  const carriers = await carrierOf(address, options).listen(hostPort);
  const rules: UpgradeRules = { path, isTls, origins: options.origins ?? [] };
  const url = `${isTls ? "wss" : "ws"}://${carriers.address}${path}`;
  return new WebSocketListener(carriers, url, rules, options);
}

function carrierOf({ isTls, url }: WebSocketAddress, options: WebSocketOptions): ReturnType<typeof tcp> {
  if (!isTls) return tcp();
  if (options.tls === undefined) {
    throw new TransportError("address", `cannot listen on ${url}: an address of wss: wants the option "tls"`);
  }
  return tls(null, options.tls);
}

class WebSocketListener implements Listener {
  readonly address: string;
  readonly #carriers: Listener;
  readonly #rules: UpgradeRules;
  readonly #timers: Timers;
  readonly #requestTimeoutMs: number;
  /** The longest there first. */
  readonly #requests = new Set<Connection>();
  /** Nothing more is read of them, so that what waits is a few kilobytes each and not a window. */
  readonly #waiting: ServerWebSocketOptions[] = [];
  readonly #accepting: ((connection: Connection | null) => void)[] = [];
  #isClosed = false;

  constructor(carriers: Listener, address: string, rules: UpgradeRules, options: WebSocketOptions) {
    this.address = address;
    this.#carriers = carriers;
    this.#rules = rules;
    this.#timers = options.timers ?? systemTimers;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS;
    void this.#run();
  }

  accept(): Promise<Connection | null> {
    const next = this.#waiting.shift();
    if (next !== undefined) return Promise.resolve(serveWebSocket(next));
    if (this.#isClosed) return Promise.resolve(null);
    return new Promise((resolve) => this.#accepting.push(resolve));
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#carriers.close();
    for (const carrier of this.#requests) carrier.close();
    for (const { carrier } of this.#waiting.splice(0)) carrier.close();
    for (const resolve of this.#accepting.splice(0)) resolve(null);
  }

  async #run(): Promise<void> {
    for (;;) {
      const carrier = await this.#carriers.accept();
      if (carrier === null) return this.close();
      if (this.#requests.size >= MAX_REQUESTS) this.#dropOldest();
      this.#requests.add(carrier);
      void this.#serve(carrier);
    }
  }

  /** An honest client is done long before it is the oldest of so many. */
  #dropOldest(): void {
    const [oldest] = this.#requests;
    if (oldest === undefined) return;
    this.#requests.delete(oldest);
    oldest.close();
  }

  /** Reads the request and answers it. Whatever fails here concerns this client alone. */
  async #serve(carrier: Connection): Promise<void> {
    const stopTimer = this.#timers.after(this.#requestTimeoutMs, () => carrier.close());
    let isKept = false;
    try {
      const request = await readHead(carrier);
      const answer = request === null
        ? refusal("400 Bad Request", "this is no request")
        : this.#waiting.length >= MAX_WAITING
        ? refusal("503 Service Unavailable", "too many connections wait")
        : answerUpgrade(request.head, this.#rules);
      await carrier.write(new TextEncoder().encode(answer.head));
      isKept = answer.isAccepted && request !== null && !this.#isClosed;
      if (isKept && request !== null) {
        this.#give({ carrier, early: request.early, timers: this.#timers });
      }
    } catch {
      // The client has gone, or its time was over.
    } finally {
      stopTimer();
      this.#requests.delete(carrier);
      if (!isKept) carrier.close();
    }
  }

  #give(socket: ServerWebSocketOptions): void {
    const accept = this.#accepting.shift();
    if (accept === undefined) this.#waiting.push(socket);
    else accept(serveWebSocket(socket));
  }
}

interface Request {
  readonly head: string;
  /** What came behind it. */
  readonly early: Uint8Array<ArrayBuffer>;
}

/** Reads up to the empty line; null if that does not come. */
async function readHead(carrier: Connection): Promise<Request | null> {
  const buffer = new Uint8Array(MAX_HEAD_BYTES);
  for (let filled = 0; filled < buffer.length;) {
    const length = await carrier.read(buffer.subarray(filled));
    if (length === null) return null;
    // The empty line may have begun in what came before.
    const end = endOfHead(buffer, Math.max(0, filled - HEAD_END.length), filled += length);
    if (end === -1) continue;
    // One character for one byte.
    const head = Array.from(buffer.subarray(0, end), (byte) => String.fromCharCode(byte)).join("");
    return { head, early: buffer.slice(end + HEAD_END.length, filled) };
  }
  return null;
}

/** Where the empty line begins in these bytes; -1 if it is not there. */
function endOfHead(buffer: Uint8Array, from: number, to: number): number {
  const wanted = new TextEncoder().encode(HEAD_END);
  for (let start = from; start + wanted.length <= to; start++) {
    if (wanted.every((byte, index) => buffer[start + index] === byte)) return start;
  }
  return -1;
}
