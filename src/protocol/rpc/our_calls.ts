/**
 * Calls of ours: sends them as far as the other side takes them, and gives its answers to the program.
 *
 * A call that the program gives up, or whose deadline passes, is over for the program at once. Its place among those
 * that the other side takes at once is free only when the other side has ended it: its handler may still run.
 */
import { CallIds, type Role } from "./call_ids.ts";
import { type CallOptions, takesItems } from "./contract.ts";
import { decodeCallError, encodeCallError } from "./error_body.ts";
import { CALL_ERROR_NUMBERS, RpcError } from "./errors.ts";
import { type Frame, FRAME_KINDS } from "./frame.ts";
import { type CalledMethod, OurCall } from "./our_call.ts";
import { deadlineExceeded, disconnected, unavailable } from "./our_call_failures.ts";
import { ReceivingStream } from "./receiving_stream.ts";
import { checked } from "./schema_check.ts";
import { SendingStream } from "./sending_stream.ts";
import { malformed, ownValue, sendValue, type SessionGround } from "./session_ground.ts";
import { watchCall, wireDeadline } from "./watch_call.ts";
import { WaitingCalls } from "./waiting_calls.ts";

/** All calls of this side on one connection. */
export class OurCalls {
  readonly #ground: SessionGround;
  readonly #ids: CallIds;
  readonly #open = new Map<number, OurCall>();
  readonly #waiting = new WaitingCalls();
  readonly #givenUp = (call: OurCall, error: RpcError): void => this.#giveUp(call, error);
  readonly #expired = (call: OurCall): void => this.#giveUp(call, deadlineExceeded(call));
  #waitsForRoom = false;
  /** Sources of items that have not ended; they may outlive their call. */
  #sources = 0;
  /** Why no more calls are begun. */
  #refusal: RpcError | null = null;

  /** None yet. */
  constructor(ground: SessionGround, role: Role) {
    this.#ground = ground;
    this.#ids = new CallIds(role);
  }

  /** Calls that the other side has not ended. */
  get size(): number {
    return this.#open.size;
  }

  /** Calls that were not sent. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Readers and sources of items that are not finished. */
  get streams(): number {
    let streams = this.#sources;
    for (const { many } of this.#open.values()) {
      streams += many?.isOpen === true ? 1 : 0;
    }
    return streams;
  }

  /** Whether the id is, or was, one of ours. */
  knows(id: number): boolean {
    return this.#ids.wasUsed(id) || this.#open.has(id);
  }

  /** Begins a call with one output. */
  one(method: CalledMethod, input: unknown, source: unknown, options?: CallOptions): Promise<unknown> {
    const call = new OurCall(method, input, source, this.#expired);
    return new Promise((resolve, reject) => {
      call.one = { resolve, reject };
      this.#begin(call, options);
    });
  }

  /** Begins a call that gives items. */
  many(
    method: CalledMethod,
    input: unknown,
    source: unknown,
    options?: CallOptions,
  ): AsyncIterableIterator<unknown> {
    const call = new OurCall(method, input, source, this.#expired);
    const { output: schema } = method.schemas;
    call.many = new ReceivingStream(this.#ground.limits.streamWindowBytes, {
      credit: (bytes) => this.#ground.sink.add(FRAME_KINDS.credit, 0, call.id, bytes, null),
      stopped: () =>
        this.#giveUp(call, new RpcError("cancelled", `the items of "${method.name}" are read no more`)),
      check: schema === undefined ? null : (item) => checked(schema, item, `an item of "${method.name}"`),
    });
    this.#begin(call, options);
    return call.many;
  }

  /** Begins no more calls, and gives up those that wait; those that are open go on. */
  refuse(error: RpcError): void {
    this.#refusal ??= error;
    for (let call = this.#waiting.shift(); call !== null; call = this.#waiting.shift()) {
      this.#settle(call, unavailable(call, error.cause));
    }
  }

  /** The connection has gone: everything ends at once. */
  end(cause: Error): void {
    this.refuse(new RpcError("unavailable", "the connection is closed", { cause }));
    const calls = [...this.#open.values()];
    this.#open.clear();
    for (const call of calls) {
      call.inputs?.stop();
      if (!call.isSettled) {
        this.#settle(call, disconnected(call, cause), "afterwards");
      }
    }
  }

  /** A `reply` frame. */
  reply(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (call.many !== null) {
      throw malformed(`"${call.method.name}" is not answered with one output`);
    }
    if (!call.isSettled) {
      const output = ownValue(this.#ground, frame);
      this.#release(call);
      this.#resolve(call, output);
    }
    this.#close(call);
  }

  /** An `error` frame: the call has failed. */
  fail(frame: Frame): void {
    const error = decodeCallError(frame.value, frame.body);
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (call.sourceError !== undefined) {
      // The other side only knows that our items failed; here we know with what.
      error.cause = call.sourceError;
    }
    this.#settle(call, error, "afterwards");
    this.#close(call);
  }

  /** An `end` frame: the handler's items are complete. */
  endItems(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (call.many === null) {
      throw malformed(`"${call.method.name}" gives no items that could end`);
    }
    this.#release(call);
    call.many.end();
    this.#close(call);
  }

  /** An `item` frame. */
  item(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (call.many === null) {
      throw malformed(`"${call.method.name}" gives no items`);
    }
    if (call.many.admit(frame.body.length)) {
      call.many.push(ownValue(this.#ground, frame), frame.body.length);
    }
  }

  /** A `credit` frame. */
  credit(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call !== undefined && call.inputs?.credit(frame.value) !== true) {
      throw malformed("it gives back more bytes of items than were sent");
    }
  }

  /** A `stop` frame: the handler reads no more items. */
  stop(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (call.inputs === null) {
      throw malformed(`"${call.method.name}" takes no items that could be stopped`);
    }
    call.inputs.stop();
  }

  #begin(call: OurCall, options: CallOptions | undefined): void {
    if (this.#refusal !== null) {
      this.#settle(call, unavailable(call, this.#refusal.cause));
      return;
    }
    const error = watchCall(call, options, this.#ground, this.#givenUp);
    if (error !== null) {
      this.#settle(call, error);
      return;
    }
    if (this.#maySend && this.#waiting.size === 0) {
      this.#send(call, call.deadlineMs);
    } else if (this.#waiting.size < this.#ground.limits.maxWaitingCalls) {
      this.#waiting.push(call);
      this.#awaitRoom();
    } else {
      this.#settle(call, new RpcError("exhausted", `cannot call "${call.method.name}": too many calls wait`));
    }
  }

  get #maySend(): boolean {
    return this.#open.size < this.#ground.told.maxConcurrentCalls && this.#ground.sink.hasRoom;
  }

  /** Calls wait for an end of others, which `#close` sees, or for room, which has to be asked for. */
  #awaitRoom(): void {
    if (this.#waiting.size > 0 && !this.#waitsForRoom && !this.#ground.sink.hasRoom) {
      this.#waitsForRoom = true;
      this.#ground.sink.whenRoom(() => {
        this.#waitsForRoom = false;
        this.#sendWaiting();
      });
    }
  }

  #sendWaiting(): void {
    while (this.#waiting.size > 0 && this.#maySend) {
      const call = this.#waiting.shift();
      if (call !== null) {
        this.#send(call, call.expiresMs - this.#ground.timers.monotonicMs());
      }
    }
    this.#awaitRoom();
  }

  #send(call: OurCall, leftMs: number): void {
    const { method, input } = call;
    const id = this.#ids.next(this.#open);
    try {
      sendValue(this.#ground, FRAME_KINDS.call, method.number, id, wireDeadline(leftMs), input);
    } catch (error) {
      this.#settle(
        call,
        error instanceof Error ? error : new RpcError("unencodable", "cannot send the input"),
      );
      return;
    }
    call.id = id;
    this.#open.set(id, call);
    if (takesItems(method.shape)) {
      void this.#sendItems(call);
    }
  }

  async #sendItems(call: OurCall): Promise<void> {
    const { sink, told } = this.#ground;
    const inputs = new SendingStream(
      sink,
      told.streamWindowBytes,
      (item) => sendValue(this.#ground, FRAME_KINDS.item, 0, call.id, 0, item),
    );
    call.inputs = inputs;
    this.#sources++;
    try {
      await inputs.run(call.source);
      if (this.#isAwaited(call)) {
        sink.add(FRAME_KINDS.end, 0, call.id, 0, null);
      }
    } catch (error) {
      call.sourceError = error;
      if (this.#isAwaited(call)) {
        const told = error instanceof RpcError
          ? error
          : new RpcError("internal", "the caller's items failed");
        const { value, body } = encodeCallError(told);
        sink.add(FRAME_KINDS.error, 0, call.id, value, body);
      }
    } finally {
      this.#sources--;
      this.#ground.changed();
    }
  }

  #isAwaited(call: OurCall): boolean {
    return !call.isSettled && this.#open.get(call.id) === call;
  }

  #resolve(call: OurCall, output: unknown): void {
    const { method: { name, schemas: { output: schema } }, one } = call;
    if (schema === undefined) {
      one?.resolve(output);
      return;
    }
    try {
      // A promise, where the schema gives one, is followed.
      one?.resolve(checked(schema, output, `the output of "${name}"`));
    } catch (error) {
      one?.reject(error instanceof Error ? error : new RpcError("invalid_argument", "the schema failed"));
    }
  }

  #giveUp(call: OurCall, error: RpcError): void {
    if (call.isSettled) {
      return;
    }
    const { id } = call;
    this.#settle(call, error);
    if (call.isWaiting) {
      this.#waiting.remove(call);
    } else if (this.#open.get(id) === call) {
      call.inputs?.stop();
      const code = error.code === "deadline_exceeded" ? "deadline_exceeded" : "cancelled";
      this.#ground.sink.add(FRAME_KINDS.cancel, 0, id, CALL_ERROR_NUMBERS[code], null);
    }
  }

  /** Gives the program an error, at once or when it has read the items that have come. */
  #settle(call: OurCall, error: Error, when: "at once" | "afterwards" = "at once"): void {
    if (call.isSettled) {
      return;
    }
    this.#release(call);
    call.one?.reject(error);
    if (when === "afterwards") {
      call.many?.fail(error);
    } else {
      call.many?.giveUp(error);
    }
  }

  /** The program has its outcome, or is about to. */
  #release(call: OurCall): void {
    call.isSettled = true;
    this.#ground.deadlines.remove(call);
    call.unlisten?.();
    call.unlisten = null;
  }

  /** The other side has ended the call. */
  #close(call: OurCall): void {
    this.#open.delete(call.id);
    call.inputs?.stop();
    this.#sendWaiting();
    this.#ground.changed();
  }
}
