import { ipNetwork, tryParseIp } from "../../protocol/knock/address.ts";
import type { Located } from "./room.ts";

/** What a relay needs of a TCP connection. */
export type RelayConnection =
  & Pick<Deno.TcpConn, "read" | "write" | "closeWrite" | "close" | "setNoDelay" | "setKeepAlive">
  & { readonly remoteAddr: { readonly hostname: string } };

/**
 * Bytes of a caller that are kept before anybody listens; with more, its own TCP window holds it back, and then its end
 * is not seen before its time is over. Whoever opens a conversation says less.
 */
export const EARLY_BYTES = 4096;

/** What a caller had said when somebody came for it. */
export interface EarlyBytes {
  /** What followed the identifier. */
  readonly said: Uint8Array<ArrayBuffer>;
  /** A read that is under way; it fills the beginning of `rest`. null: none is. */
  readonly reading: Promise<number | null> | null;
  /** The room that is left; empty if the caller was held back. */
  readonly rest: Uint8Array<ArrayBuffer>;
}

/**
 * A connection as long as it is alone: its identifier is read, then what it says into the wind, and with that its end is
 * seen when it hangs up.
 */
export class Caller implements Located {
  readonly connection: RelayConnection;
  /** Canonical text of the peer's address; an IPv4 peer of a `[::]` socket is IPv4. */
  readonly address: string;
  readonly network: string;
  readonly #identifierBytes: number;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #filledBytes = 0;
  #reading: Promise<number | null> | null = null;
  #isTaken = false;
  #isClosed = false;
  #atClose: () => void = () => {};

  constructor(connection: RelayConnection, identifierBytes: number) {
    const { hostname } = connection.remoteAddr;
    const ip = tryParseIp(hostname);
    this.connection = connection;
    this.address = ip ?? hostname;
    this.network = ip === null ? hostname : ipNetwork(ip);
    this.#identifierBytes = identifierBytes;
    this.#buffer = new Uint8Array(identifierBytes + EARLY_BYTES);
  }

  /** Reads until the identifier is there: as hexadecimal digits, to be compared; null if the connection ended before. */
  async readIdentifier(): Promise<string | null> {
    while (this.#filledBytes < this.#identifierBytes) {
      if (!await this.#readOn()) return null;
    }
    this.#prepare();
    return this.#buffer.subarray(0, this.#identifierBytes).toHex();
  }

  /** Small messages go at once; of a peer that vanished the kernel tells in the end. */
  #prepare(): void {
    try {
      this.connection.setNoDelay(true);
      this.connection.setKeepAlive(true);
    } catch {
      // It has been reset meanwhile, which the next read tells.
    }
  }

  /**
   * Reads on while nobody has come for it.
   *
   * @returns true if the connection has ended; false if it was taken over, or has said so much that its end cannot be seen
   */
  async hasHungUp(): Promise<boolean> {
    while (this.#filledBytes < this.#buffer.length) {
      const isThere = await this.#readOn();
      // Then what has just been read is the staple's, which waits for the same read.
      if (this.#isTaken) return false;
      if (!isThere) return true;
    }
    return false;
  }

  /** Hands over what was said, and with it all further reading. */
  takeOver(): EarlyBytes {
    this.#isTaken = true;
    return {
      said: this.#buffer.subarray(this.#identifierBytes, this.#filledBytes),
      reading: this.#reading,
      rest: this.#buffer.subarray(this.#filledBytes),
    };
  }

  /** Has something done when it is closed, by whomever: what waits for a clock does not notice by itself. */
  atClose(act: () => void): void {
    this.#atClose = act;
  }

  /** Ends the connection, and with it whatever waits for it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.connection.close();
    this.#atClose();
  }

  /** false: there is no more to come. */
  async #readOn(): Promise<boolean> {
    this.#reading = this.connection.read(this.#buffer.subarray(this.#filledBytes));
    let bytes: number | null;
    try {
      bytes = await this.#reading;
    } catch {
      bytes = null;
    }
    this.#reading = null;
    if (bytes === null || this.#isClosed) return false;
    this.#filledBytes += bytes;
    return true;
  }
}
