/**
 * The dialling side of TLS where the certificate itself counts: version 1.3 and nothing older, roots that are pinned and
 * none of the system's, and the certificate of the other end for a proof of more than TLS gives. `tls.ts` can do none
 * of the three, so this takes the runtime's `node:tls`, which is loaded at the first dial: a bundle that imported it
 * at once would pay for it in every command.
 */
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { ByteQueue } from "./byte_queue.ts";
import { formatHostPort, parseHostPort } from "./host_port.ts";
import { SocketConnection, type StreamSocket } from "./socket_connection.ts";
import { type Connection, TransportError } from "./transport.ts";

/**
 * The name that every certificate of a management server is for. Not the name that was dialled: a server may be
 * reached by many, and what is believed is its CA alone.
 */
export const PINNED_SERVER_NAME = "postern";

const PEM_BEGIN = "-----BEGIN CERTIFICATE-----";
const VERSION = "TLSv1.3";
/** What may wait unread; far more than all credit that a link gives, so only a broken other end reaches it. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;
/** Time that a server needs to send its session tickets, beside the way; and the longest that they are waited for. */
const TICKETS_MS = 1, MAX_TICKETS_MS = 50;

/** Whom to reach, and whom to believe. */
export interface PinnedDial {
  /** Such as "manage.example.com:7022"; a name is resolved again at each dial. */
  readonly address: string;
  /** At least one, in PEM. Whoever has a certificate of one of them for `PINNED_SERVER_NAME` is believed, nobody else. */
  readonly caCertificates: readonly string[];
  /** Gives up, closes whatever is half open and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a dial gives. */
export interface PinnedConnection {
  readonly connection: Connection;
  /** The other end's certificate, DER. */
  readonly certificate: Uint8Array<ArrayBuffer>;
}

/**
 * Connects. Needs `--allow-net` for the address as it is written: a name, where it is one. Small writes are sent at
 * once (`TCP_NODELAY`). There is no time limit but the signal's.
 *
 * @throws {TransportError} `untrusted` if the certificate is not of a pinned CA or for another name, also where none is
 * pinned; `refused` if nobody is there who speaks TLS 1.3; `address`, `permission`; the signal's reason
 */
export async function dialPinned({ address, caCertificates, signal }: PinnedDial): Promise<PinnedConnection> {
  const what = `cannot connect to ${address}`;
  const { hostname, port } = parseHostPort(address, what);
  // An empty list would mean "no root of my own" to node:tls, and so all public ones.
  if (caCertificates.length === 0 || !caCertificates.every((pem) => pem.includes(PEM_BEGIN))) {
    throw new TransportError(
      "untrusted",
      `${what}: no CA certificate is pinned, it wants at least one in PEM`,
    );
  }
  const { connect } = await import("node:tls");
  signal?.throwIfAborted();
  const options: ConnectionOptions & { noDelay: boolean; allowHalfOpen: boolean } = {
    host: hostname,
    port,
    ca: [...caCertificates],
    servername: PINNED_SERVER_NAME,
    minVersion: VERSION,
    // Said, not left to the default: NODE_TLS_REJECT_UNAUTHORIZED in the environment would undo that one.
    rejectUnauthorized: true,
    allowHalfOpen: true,
    noDelay: true,
  };
  const socket = connect(options);
  // From the first moment on: whoever sits in between can break or end the connection right behind the handshake, while
  // the tickets are waited for. An error that nobody listens to would end the program, a goodbye would be missed.
  const pulled = new PulledSocket(socket);
  const roundTripMs = connectingTime(socket);
  try {
    await secured(socket, signal);
    socket.setNoDelay(true);
    await ticketsTaken(roundTripMs(), signal);
    signal?.throwIfAborted();
    const certificate = provenCertificate(socket, what);
    const facts = { transport: "tls", confidential: true, ...addresses(socket) };
    return { connection: new SocketConnection(pulled, facts), certificate };
  } catch (error) {
    pulled.close();
    throw signal?.aborted ? signal.reason : dialError(error, what, address);
  }
}

/** Measures how long TCP took to connect, which is one round trip; a name's resolving is not counted. */
function connectingTime(socket: TLSSocket): () => number {
  let beganMs = performance.now(), connectedMs = beganMs;
  socket.once("lookup", () => beganMs = performance.now());
  socket.once("connect", () => connectedMs = performance.now());
  return () => Math.max(0, connectedMs - beganMs);
}

/**
 * Lets the session tickets arrive that a server sends behind its handshake, which takes one round trip. What is written
 * before they are here does not acknowledge them, and a server without `TCP_NODELAY` (Deno has none for connections that it
 * accepts) then keeps its first answer until our system acknowledges them by itself, 40 ms later.
 */
function ticketsTaken(roundTripMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, Math.min(MAX_TICKETS_MS, roundTripMs + TICKETS_MS));
    signal?.addEventListener("abort", abort, { once: true });
  });
}

function secured(socket: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => (): void => {
      signal?.removeEventListener("abort", abort);
      socket.off("secureConnect", secure);
      socket.off("error", fail);
      socket.off("close", closed);
      act();
    };
    const abort = settle(() => reject(signal?.reason));
    const secure = settle(resolve);
    const closed = settle(() => reject(new Error("it hung up before it had shown who it is")));
    const fail = (error: Error): void => settle(() => reject(error))();
    signal?.addEventListener("abort", abort, { once: true });
    socket.on("secureConnect", secure);
    socket.on("error", fail);
    socket.on("close", closed);
  });
}

/**
 * The runtime has checked all of this before; a setting of it, now or later, that would let somebody through is caught
 * here.
 */
function provenCertificate(socket: TLSSocket, what: string): Uint8Array<ArrayBuffer> {
  if (!socket.authorized) {
    throw new TransportError("untrusted", `${what}: its certificate is not of a pinned CA`);
  }
  if (socket.getProtocol() !== VERSION) {
    throw new TransportError("refused", `${what}: it speaks ${socket.getProtocol()}, accepted is ${VERSION}`);
  }
  const { raw } = socket.getPeerCertificate(true);
  if (raw === undefined || raw.length === 0) {
    throw new TransportError("untrusted", `${what}: it has shown no certificate`);
  }
  return new Uint8Array(raw);
}

function addresses(socket: TLSSocket): { localAddress: string | null; remoteAddress: string | null } {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  return {
    localAddress: addressOf(localAddress, localPort),
    remoteAddress: addressOf(remoteAddress, remotePort),
  };
}

function addressOf(hostname: string | undefined, port: number | undefined): string | null {
  return hostname === undefined || port === undefined ? null : formatHostPort({ hostname, port });
}

/** Codes of a certificate that does not do. */
const UNTRUSTED = /CERT|UNABLE_TO|SELF_SIGNED|ALTNAME|LEAF_SIGNATURE/;
const OLD_VERSION = /PROTOCOL_VERSION/;

function dialError(error: unknown, what: string, address: string): TransportError {
  if (error instanceof TransportError) return error;
  const { name = "", message = String(error), code = "" } = error as {
    [key in "name" | "message" | "code"]?: string;
  };
  const made = (kind: TransportError["code"], found: string): TransportError =>
    new TransportError(kind, `${what}: ${found}`, { cause: error });
  if (name === "NotCapable" || /Requires net access/.test(message)) {
    return made("permission", `the program lacks the permission, run it with --allow-net=${address}`);
  }
  if (UNTRUSTED.test(code)) return made("untrusted", `its certificate is not of a pinned CA (${message})`);
  if (OLD_VERSION.test(code)) return made("refused", `it does not speak ${VERSION}`);
  return made("refused", message);
}

/**
 * A socket of node, which pushes, as one that is read from. At most one read and one write at a time.
 *
 * Two things it cannot promise, because Deno's `node:tls` does not: it takes in whatever comes, paused or not, and it
 * says "end" both to the other end's goodbye and to a stream that was cut. The protocol of the link, which is what
 * runs over it, reads without a pause, bounds each flow by credit, and has goodbyes of its own.
 */
class PulledSocket implements StreamSocket {
  readonly #socket: TLSSocket;
  readonly #unread = new ByteQueue();
  #waiting: { buffer: Uint8Array; resolve(count: number | null): void; reject(error: unknown): void } | null =
    null;
  #failure: Error | null = null;
  #ended = false;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on("data", (bytes: Uint8Array) => this.#take(bytes));
    socket.on("end", () => {
      this.#ended = true;
      this.#serve();
    });
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection is gone")));
  }

  #take(bytes: Uint8Array): void {
    this.#unread.push(bytes);
    this.#serve();
    if (this.#unread.length <= MAX_UNREAD_BYTES) return;
    this.#fail(new Error(`more than ${MAX_UNREAD_BYTES} bytes came that nobody took`));
    this.#socket.destroy();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#serve();
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return new Promise((resolve, reject) => {
      this.#waiting = { buffer, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === null || this.#unread.length === 0 && !this.#ended && this.#failure === null) return;
    this.#waiting = null;
    if (this.#unread.length > 0) waiting.resolve(this.#unread.pull(waiting.buffer));
    else if (this.#ended) waiting.resolve(null);
    else waiting.reject(this.#failure);
  }

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#socket.write(bytes, (error) => error ? reject(error) : resolve(bytes.length));
    });
  }

  closeWrite(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  close(): void {
    this.#unread.clear();
    this.#socket.destroy();
  }
}
