/** One connection of a forward, between the items of its call and a socket. */
import { MAX_ITEM_BYTES } from "../../../protocol/manage/session_contract.ts";
import { ApplicationError } from "../../../protocol/rpc/errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;
type Result = IteratorResult<Bytes, undefined>;

/** What a connection tells its session. */
export interface ForwardedHooks {
  /** Bytes that came from the administrator and were written to the target. */
  cameIn(bytes: number): void;
  /** Bytes of the target that were given to the administrator. */
  wentOut(bytes: number): void;
  closed(): void;
}

const DONE: Result = { done: true, value: undefined };
const BROKEN = "the target broke the connection";
const NO_BYTES: Bytes = new Uint8Array(0);

/** What the call is given: an empty item, what the target sends, an empty item when it has ended. */
export class ForwardedConnection implements AsyncIterableIterator<Bytes> {
  readonly #socket: Deno.TcpConn;
  readonly #hooks: ForwardedHooks;
  readonly #fed: Promise<void>;
  // One for all reads: an item is on its way, encoded, before the next one is asked for.
  readonly #buffer: Bytes = new Uint8Array(MAX_ITEM_BYTES);
  readonly #closing = Promise.withResolvers<void>();
  #wasGreeted = false;
  #isReadOut = false;
  #isClosed = false;
  #error: Error | null = null;

  /** Begins to write what comes from the administrator. */
  constructor(socket: Deno.TcpConn, items: AsyncIterableIterator<Bytes>, hooks: ForwardedHooks) {
    this.#socket = socket;
    this.#hooks = hooks;
    this.#fed = this.#feed(items);
  }

  /** The next item. */
  async next(): Promise<Result> {
    if (!this.#wasGreeted) {
      this.#wasGreeted = true;
      return { done: false, value: NO_BYTES };
    }
    if (this.#isReadOut) {
      await Promise.race([this.#fed, this.#closing.promise]);
    }
    if (this.#isReadOut || this.#isClosed) {
      this.close();
      return this.#end();
    }
    try {
      const count = await this.#socket.read(this.#buffer);
      this.#isReadOut = count === null;
      this.#hooks.wentOut(count ?? 0);
      return { done: false, value: count === null ? NO_BYTES : this.#buffer.subarray(0, count) };
    } catch (error) {
      this.close(new ApplicationError("lost", BROKEN, { cause: error }));
      return this.#end();
    }
  }

  /** The administrator takes no more. */
  return(): Promise<Result> {
    this.close();
    return Promise.resolve(DONE);
  }

  /** Itself. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Cuts the connection, for a reason that the administrator is told if there is one. Only the first time counts. */
  close(error: Error | null = null): void {
    if (!this.#isClosed) {
      this.#isClosed = true;
      this.#error ??= error;
      this.#socket.close();
      this.#closing.resolve();
      this.#hooks.closed();
    }
  }

  #end(): Result {
    const error = this.#error;
    this.#error = null;
    if (error !== null) {
      throw error;
    }
    return DONE;
  }

  async #feed(items: AsyncIterableIterator<Bytes>): Promise<void> {
    try {
      for await (const bytes of items) {
        if (bytes.length === 0) {
          break;
        }
        if (!(await this.#write(bytes))) {
          return;
        }
        this.#hooks.cameIn(bytes.length);
      }
      await this.#socket.closeWrite();
    } catch {
      // The administrator is gone, which ends the call; or the target, which the next read tells.
    }
  }

  /** Whether the target took it. What it had sent before it broke the connection is still read, then told. */
  async #write(bytes: Bytes): Promise<boolean> {
    try {
      for (let rest = bytes; rest.length > 0;) {
        rest = rest.subarray(await this.#socket.write(rest));
      }
      return true;
    } catch (cause) {
      this.#error ??= new ApplicationError("lost", BROKEN, { cause });
      return false;
    }
  }
}
