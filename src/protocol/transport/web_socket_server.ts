/**
 * One WebSocket at the server's end, over a connection (TCP or TLS) whose opening handshake is done.
 *
 * The runtime's own WebSocket server is not used, because it takes a whole message into memory before it shows it,
 * never stops reading, and lets anybody hold half a request open for ever.
 */
import type { Timers } from "../rpc/timers.ts";
import type { Connection } from "./transport.ts";
import { MessageConnection, type MessageLink } from "./message_connection.ts";
import {
  binaryHeader,
  ClientFrameReader,
  CLOSE_NORMAL,
  CLOSE_PROTOCOL_ERROR,
  closeFrame,
  pongFrame,
  textFrame,
} from "./web_socket_frames.ts";
import { WEB_SOCKET } from "./web_socket_address.ts";

/** What to make a WebSocket of. */
export interface ServerWebSocketOptions {
  /** What the frames travel over. */
  readonly carrier: Connection;
  /** Bytes that came behind the opening handshake. */
  readonly early: Uint8Array<ArrayBuffer>;
  readonly timers: Timers;
}

/** An idle connection holds little; one that fills its buffer gets a larger one. */
const FIRST_READ_BYTES = 4 * 1024, MAX_READ_BYTES = 64 * 1024;
/** Longer payloads are written on their own rather than copied behind their header. */
const JOINED_BYTES = 16 * 1024;
/** A client that has this many frames sent to it and does not read them is cut off. */
const MAX_QUEUED_FRAMES = 256;
/** Time that a client has to answer the server's close frame. */
const CLOSE_TIMEOUT_MS = 1_000;

interface Outgoing {
  readonly header: Uint8Array;
  readonly payload: Uint8Array | null;
  readonly settle: () => void;
}

const NOTHING = new Uint8Array(0);

/** Makes a connection over its carrier, which belongs to it from then on. */
export function serveWebSocket({ carrier, early, timers }: ServerWebSocketOptions): Connection {
  const link = new ServerLink(carrier, timers);
  const connection = new MessageConnection(link, {
    transport: WEB_SOCKET,
    remoteAddress: carrier.remoteAddress,
    localAddress: carrier.localAddress,
    // Not even under TLS, which may end at a proxy: what has to be secret is encrypted end to end.
    confidential: false,
  });
  void link.run(connection, early);
  return connection;
}

class ServerLink implements MessageLink {
  readonly #carrier: Connection;
  readonly #timers: Timers;
  readonly #queue: Outgoing[] = [];
  /** Only the last ping is answered, RFC 6455 section 5.5.3; so any number of them costs nothing. */
  #pong: Uint8Array | null = null;
  #isWriting = false;
  /** Bytes of the program are being written. */
  #carriesBytes = false;
  #isClosing = false;
  /** Nothing more is to be read: the carrier is closed when the queue is empty. */
  #endsWithQueue = false;
  #isCut = false;
  #stopTimer: () => void = () => {};
  #lost: (why: string, options?: ErrorOptions) => void = () => {};

  constructor(carrier: Connection, timers: Timers) {
    this.#carrier = carrier;
    this.#timers = timers;
  }

  sendBytes(bytes: Uint8Array): Promise<void> {
    this.#carriesBytes = true;
    return new Promise((resolve) => {
      const settle = (): void => {
        this.#carriesBytes = false;
        resolve();
      };
      this.#send({ header: binaryHeader(bytes.length), payload: bytes, settle });
    });
  }

  sendControl(text: string): void {
    this.#send({ header: textFrame(text), payload: null, settle: () => {} });
  }

  close(isViolated: boolean): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    // A write is under way and waits for the client to read, perhaps for ever: no word can follow it.
    if (this.#carriesBytes) return this.#cut();
    if (isViolated) this.#endsWithQueue = true;
    this.#stopTimer = this.#timers.after(CLOSE_TIMEOUT_MS, () => this.#cut());
    const code = isViolated ? CLOSE_PROTOCOL_ERROR : CLOSE_NORMAL;
    this.#send({ header: closeFrame(code), payload: null, settle: () => {} });
  }

  /** Reads until the client closes, or breaks the rules, or is gone; then closes the carrier. */
  async run(connection: MessageConnection, early: Uint8Array<ArrayBuffer>): Promise<void> {
    this.#lost = (why, options) => connection.lost(why, options);
    let isOver = false;
    const reader = new ClientFrameReader({
      bytes: (part) => connection.deliver(part.slice().buffer),
      text: (message) => connection.deliver(message),
      ping: (payload) => {
        this.#answer(payload);
      },
      close: () => isOver = true,
      violation: (what) => {
        isOver = true;
        connection.violated(what);
      },
    });
    let buffer = new Uint8Array(FIRST_READ_BYTES);
    try {
      reader.read(early);
      while (!isOver && !this.#isCut) {
        const length = await this.#carrier.read(buffer);
        if (length === null) break;
        reader.read(buffer.subarray(0, length));
        // Deno's client writes a header and a payload of more than 1 KiB one after the other and leaves Nagle's
        // algorithm on: the payload then waits for the header's acknowledgement, 40 ms, which anything sent carries.
        if (reader.awaitsPayload && !isOver) this.#answer(NOTHING);
        if (length === buffer.length && length < MAX_READ_BYTES) buffer = new Uint8Array(length * 4);
      }
      connection.lost("the other end closed it");
    } catch (error) {
      connection.lost("nothing can be read from it", { cause: error });
    }
    this.#endsWithQueue = true;
    void this.#drain();
  }

  /** A pong, also one that nobody asked for, which RFC 6455 section 5.5.3 allows. */
  #answer(payload: Uint8Array): void {
    this.#pong = pongFrame(payload);
    void this.#drain();
  }

  #send(outgoing: Outgoing): void {
    if (this.#isCut) return outgoing.settle();
    this.#queue.push(outgoing);
    if (this.#queue.length > MAX_QUEUED_FRAMES) {
      this.#cut();
      return this.#lost("the other end does not read");
    }
    void this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    for (let next = this.#next(); next !== null; next = this.#next()) await this.#write(next);
    this.#isWriting = false;
    if (this.#endsWithQueue) this.#cut();
  }

  async #write({ header, payload, settle }: Outgoing): Promise<void> {
    try {
      if (payload !== null && payload.length > JOINED_BYTES) {
        await this.#carrier.write(header);
        await this.#carrier.write(payload);
      } else await this.#carrier.write(joined(header, payload ?? NOTHING));
    } catch (error) {
      this.#cut();
      this.#lost("nothing can be written to it", { cause: error });
    }
    // Only now, so that whoever waits finds out that it was lost.
    settle();
  }

  #next(): Outgoing | null {
    const pong = this.#pong;
    this.#pong = null;
    if (pong !== null && !this.#isClosing) return { header: pong, payload: null, settle: () => {} };
    return this.#queue.shift() ?? null;
  }

  #cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#isClosing = true;
    this.#stopTimer();
    this.#carrier.close();
    for (const { settle } of this.#queue.splice(0)) settle();
  }
}

function joined(header: Uint8Array, payload: Uint8Array): Uint8Array {
  if (payload.length === 0) return header;
  const frame = new Uint8Array(header.length + payload.length);
  frame.set(header);
  frame.set(payload, header.length);
  return frame;
}
