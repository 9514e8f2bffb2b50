/** Stands in for the commander and keeps what the server delivers. */
import { toHex } from "./hex.ts";

/** Listens on the commander's socket; each connection is read to its end. */
export class Recorder implements AsyncDisposable {
  /** What each connection delivered, as hex, in the order in which they ended. */
  readonly messages: string[] = [];
  readonly #listener: Deno.UnixListener;
  readonly #accepting: Promise<void>;
  readonly #reading = new Set<Promise<void>>();

  constructor(socketPath: string) {
    this.#listener = Deno.listen({ transport: "unix", path: socketPath });
    this.#accepting = this.#accept();
  }

  async #accept(): Promise<void> {
    for await (const connection of this.#listener) {
      const reading = this.#read(connection);
      this.#reading.add(reading);
      void reading.then(() => this.#reading.delete(reading));
    }
  }

  async #read(connection: Deno.Conn): Promise<void> {
    // Reading the stream to its end closes the connection.
    this.messages.push(toHex(await new Response(connection.readable).bytes()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    await Promise.all(this.#reading);
  }
}
