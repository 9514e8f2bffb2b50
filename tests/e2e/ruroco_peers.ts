/**
 * The other project's halves at the 24-byte socket, as ruroco 0.14 behaves there, without any code of ours: its
 * server opens a fresh connection, writes 24 bytes and closes; its commander takes one connection after the other,
 * reads exactly 24 bytes and closes.
 */
import { toHex } from "./hex.ts";

const MESSAGE_BYTES = 24;

/** What ruroco's server does with a knock it has accepted. */
export async function forwardAsRuroco(socketPath: string, message: Uint8Array): Promise<void> {
  using connection = await Deno.connect({ transport: "unix", path: socketPath });
  for (let sent = 0; sent < message.length;) sent += await connection.write(message.subarray(sent));
}

/** Ruroco's commander up to the point where it would run a command. */
export class RurocoCommander implements AsyncDisposable {
  /** Each message read, as hex. */
  readonly messages: string[] = [];
  readonly #listener: Deno.UnixListener;
  readonly #serving: Promise<void>;

  constructor(socketPath: string) {
    this.#listener = Deno.listen({ transport: "unix", path: socketPath });
    this.#serving = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const connection of this.#listener) {
      using _closing = connection;
      const message = new Uint8Array(MESSAGE_BYTES);
      let length = 0;
      while (length < MESSAGE_BYTES) {
        const count = await connection.read(message.subarray(length));
        if (count === null) break;
        length += count;
      }
      this.messages.push(toHex(message.subarray(0, length)));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
  }
}
