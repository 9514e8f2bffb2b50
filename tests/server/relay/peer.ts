/** A client of a relay, as far as the relay is concerned. */
import assert from "node:assert/strict";
import { connect } from "node:net";

/** Beyond this a test has failed. */
const LIMIT_MS = 15_000;

export const IDENTIFIER_BYTES = 33;

/** An identifier; different texts give different ones. */
export function identifierOf(text: string, bytes = IDENTIFIER_BYTES): Uint8Array<ArrayBuffer> {
  const identifier = new Uint8Array(bytes);
  new TextEncoder().encodeInto(text, identifier);
  return identifier;
}

/** Bytes that show where they belong: a counter of 32-bit numbers that begins at `start`. */
export function pattern(bytes: number, start = 0): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(bytes / Uint32Array.BYTES_PER_ELEMENT));
  for (let at = 0; at < words.length; at++) words[at] = start + at;
  return new Uint8Array(words.buffer, 0, bytes);
}

/** One connection. */
export class Peer implements Disposable {
  readonly connection: Deno.TcpConn;
  #isClosed = false;

  constructor(connection: Deno.TcpConn) {
    this.connection = connection;
  }

  /** @param address as the relay's `address` has it */
  static async connect(address: string): Promise<Peer> {
    return new Peer(await Deno.connect(addressOf(address)));
  }

  /** Connects and says an identifier, and perhaps more in the same breath. */
  static async come(address: string, identifier: string, more = ""): Promise<Peer> {
    const peer = await Peer.connect(address);
    await peer.say(new Uint8Array([...identifierOf(identifier), ...new TextEncoder().encode(more)]));
    return peer;
  }

  async say(what: string | Uint8Array): Promise<void> {
    const bytes = typeof what === "string" ? new TextEncoder().encode(what) : what;
    for (let at = 0; at < bytes.length;) at += await this.connection.write(bytes.subarray(at));
  }

  /** Exactly so many bytes. */
  async hear(bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const heard = new Uint8Array(bytes);
    for (let at = 0; at < bytes;) {
      const got = await this.#within(`${bytes} bytes`, this.connection.read(heard.subarray(at)));
      assert(got !== null, `the connection ended after ${at} of ${bytes} bytes`);
      at += got;
    }
    return heard;
  }

  /** Exactly this text. */
  async hears(text: string): Promise<void> {
    const heard = await this.hear(new TextEncoder().encode(text).length);
    assert.equal(new TextDecoder().decode(heard), text);
  }

  /** Says that it will say no more. */
  async finish(): Promise<void> {
    await this.connection.closeWrite();
  }

  /** Waits for the other side to end, which says nothing before; whether in peace. */
  async end(): Promise<"end" | "reset"> {
    const rest = new Uint8Array(64);
    try {
      const got = await this.#within("the end", this.connection.read(rest));
      assert.equal(got, null, `heard ${new TextDecoder().decode(rest.subarray(0, got ?? 0))}`);
      return "end";
    } catch (error) {
      if (error instanceof Deno.errors.ConnectionReset) return "reset";
      throw error;
    }
  }

  /** The end of everything that comes until then. */
  async hearAll(): Promise<Uint8Array<ArrayBuffer>> {
    const pieces: Uint8Array[] = [];
    for (;;) {
      const piece = new Uint8Array(65_536);
      const got = await this.#within("more", this.connection.read(piece));
      if (got === null) break;
      pieces.push(piece.subarray(0, got));
    }
    return new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  }

  /** Hangs up; with something unread that is a reset. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #within<T>(what: string, work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.close(), LIMIT_MS);
    try {
      return await work;
    } catch (error) {
      if (!this.#isClosed) throw error;
      throw new Error(`waited ${LIMIT_MS} ms in vain for ${what}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Comes, and is gone with a reset, in one breath. */
export async function connectAndReset(address: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const { hostname, port } = addressOf(address);
  const socket = connect({ host: hostname, port }, () => socket.resetAndDestroy());
  socket.on("error", () => {});
  socket.on("close", () => resolve());
  await promise;
}

function addressOf(address: string): { hostname: string; port: number } {
  const [, hostname = "", port = ""] = /^\[?([^\]]+?)\]?:([0-9]+)$/.exec(address) ?? [];
  return { hostname, port: Number(port) };
}
