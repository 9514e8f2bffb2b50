/**
 * Calls of the other side: runs the handlers and answers.
 *
 *   call ->                                   call ->
 *        <- reply | error                          <- item ... end | error      (stream, duplex)
 *                                             item ... end | error ->           (upload, duplex)
 *   cancel ->  the handler's signal; the answer still comes when the handler has settled
 *
 * Each call has one answer (reply, error or end), sent once the handler has really settled, so that what is open
 * here is what the caller counts. Answers wait while the outbox has no room, and count as open meanwhile: whoever
 * calls without reading is stopped by the number of calls it was told.
 */
import { Context, type ContextGround } from "./call_context.ts";
import { CallIds, type Role } from "./call_ids.ts";
import { givesItems, takesItems } from "./contract.ts";
import { decodeCallError, encodeCallError } from "./error_body.ts";
import { ConnectionError, RpcError } from "./errors.ts";
import { type Frame, FRAME_KINDS } from "./frame.ts";
import type { ServedMethod } from "./implement.ts";
import { ReceivingStream } from "./receiving_stream.ts";
import { checked, isThenable } from "./schema_check.ts";
import { SendingStream } from "./sending_stream.ts";
import { decoded, malformed, ownValue, sendValue, type SessionGround } from "./session_ground.ts";
import { CANCEL_CODES, internalError, TheirCall } from "./their_call.ts";

/** What only calls of theirs need. */
export interface ServingGround {
  /** By number. */
  readonly methods: readonly ServedMethod[];
  /** Whose ids theirs are. */
  readonly caller: Role;
  readonly context: ContextGround;
  /** A handler failed in a way that its caller is not told of. */
  readonly handlerFailed: (method: string, error: unknown) => void;
}

/** All calls of the other side on one connection. */
export class TheirCalls {
  readonly #ground: SessionGround;
  readonly #serving: ServingGround;
  readonly #ids: CallIds;
  readonly #open = new Map<number, TheirCall>();
  /** What a new call is answered with. */
  #refusal: RpcError | null = null;
  /** Why the connection is gone. */
  #ended: RpcError | null = null;

  /** None yet. */
  constructor(ground: SessionGround, serving: ServingGround) {
    this.#ground = ground;
    this.#serving = serving;
    this.#ids = new CallIds(serving.caller);
  }

  /** Calls whose answer is not sent yet. */
  get size(): number {
    return this.#open.size;
  }

  /** Readers and sources of items that are not finished. */
  get streams(): number {
    let streams = 0;
    for (const { items, outputs } of this.#open.values()) {
      streams += (items?.isOpen === true ? 1 : 0) + (outputs === null ? 0 : 1);
    }
    return streams;
  }

  /** Whether the id is, or was, one of theirs. */
  knows(id: number): boolean {
    return this.#ids.wasUsed(id) || this.#open.has(id);
  }

  /** Answers every further call with an error. */
  refuse(error: RpcError): void {
    this.#refusal = error;
  }

  /** The connection has gone. Handlers are told; those that still run are counted until they have settled. */
  end(error: RpcError): void {
    this.#ended = error;
    for (const call of this.#open.values()) {
      this.#ground.deadlines.remove(call);
      call.abandon(error);
    }
  }

  /** A `call` frame. */
  call(frame: Frame): void {
    const { id, value } = frame;
    if (this.#open.has(id) || !this.#ids.use(id)) {
      throw malformed(`${id} cannot be the id of a new call`);
    }
    const method = this.#serving.methods[frame.method];
    if (method === undefined) {
      throw malformed(`no method has the number ${frame.method}`);
    }
    const { codec, limits, timers } = this.#ground;
    if (this.#open.size >= limits.maxConcurrentCalls) {
      throw new ConnectionError(
        "limit_exceeded",
        "here",
        `cannot take a call: ${this.#open.size} are open, which is the limit`,
      );
    }
    const call = new TheirCall(id, method, value === 0 ? Infinity : timers.monotonicMs() + value);
    if (this.#refusal !== null) {
      this.#fail(call, this.#refusal);
      return;
    }
    if (codec.views) {
      call.held = this.#ground.hold();
    }
    const input = decoded(codec, call.held?.body ?? frame.body);
    if (takesItems(method.shape)) {
      call.items = this.#itemsOf(call);
    }
    this.#check(call, input);
  }

  /** An `item` frame. */
  item(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    const items = this.#openItems(call);
    if (items.admit(frame.body.length)) {
      items.push(ownValue(this.#ground, frame), frame.body.length);
    }
  }

  /** An `end` frame: the caller's items are complete. */
  endItems(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call !== undefined) {
      this.#openItems(call).end();
    }
  }

  /** An `error` frame: the caller's items have failed. */
  failItems(frame: Frame): void {
    const error = decodeCallError(frame.value, frame.body);
    const call = this.#open.get(frame.id);
    if (call !== undefined) {
      this.#openItems(call).fail(error);
    }
  }

  /** A `credit` frame. */
  credit(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call !== undefined && call.outputs?.credit(frame.value) !== true) {
      throw malformed("it gives back more bytes of items than were sent");
    }
  }

  /** A `stop` frame. */
  stop(frame: Frame): void {
    const call = this.#open.get(frame.id);
    if (call === undefined) {
      return;
    }
    if (!givesItems(call.method.shape)) {
      throw malformed(`"${call.method.name}" gives no items that could be stopped`);
    }
    call.isStopped = true;
    call.leaveInput();
    call.outputs?.stop();
  }

  /** A `cancel` frame. */
  cancel(frame: Frame): void {
    const code = CANCEL_CODES.get(frame.value);
    if (code === undefined) {
      throw malformed(`${frame.value} is no code of a cancel`);
    }
    const call = this.#open.get(frame.id);
    call?.abandon(new RpcError(code, `the caller of "${call.method.name}" waits no more`));
  }

  #itemsOf(call: TheirCall): ReceivingStream {
    const { id, method: { name, schemas: { item: schema } } } = call;
    const { limits, sink } = this.#ground;
    return new ReceivingStream(limits.streamWindowBytes, {
      credit: (bytes) => sink.add(FRAME_KINDS.credit, 0, id, bytes, null),
      stopped: () => sink.add(FRAME_KINDS.stop, 0, id, 0, null),
      check: schema === undefined ? null : (item) => checked(schema, item, `an item for "${name}"`),
    });
  }

  #openItems(call: TheirCall): ReceivingStream {
    if (call.items === null || call.items.isEnded) {
      throw malformed(`"${call.method.name}" takes no items now`);
    }
    return call.items;
  }

  #check(call: TheirCall, input: unknown): void {
    const { name, schemas: { input: schema } } = call.method;
    if (schema === undefined) {
      this.#run(call, input);
      return;
    }
    let value: unknown;
    try {
      value = checked(schema, input, `the input of "${name}"`);
    } catch (error) {
      this.#fail(call, error);
      return;
    }
    if (value instanceof Promise) {
      this.#keep(call);
      value.then((late) => this.#run(call, late), (error) => this.#fail(call, error));
    } else {
      this.#run(call, value);
    }
  }

  #run(call: TheirCall, input: unknown): void {
    if (call.abandoned !== null) {
      this.#fail(call, call.abandoned);
      return;
    }
    let output: unknown, promise: Promise<unknown> | null;
    try {
      output = call.method.handle(input, call.items, new Context(call, this.#serving.context));
      // One of somebody's own making may throw, or settle twice; wrapped in a real one it does neither.
      promise = !givesItems(call.method.shape) && isThenable(output) ? Promise.resolve(output) : null;
    } catch (error) {
      this.#fail(call, error);
      return;
    }
    if (givesItems(call.method.shape)) {
      this.#keep(call);
      void this.#sendItems(call, output);
    } else if (promise !== null) {
      this.#keep(call);
      promise.then((late) => this.#reply(call, late), (error) => this.#fail(call, error));
    } else {
      this.#reply(call, output);
    }
  }

  async #sendItems(call: TheirCall, output: unknown): Promise<void> {
    try {
      const items = isThenable(output) ? await output : output;
      const { sink, told } = this.#ground;
      const outputs = new SendingStream(
        sink,
        told.streamWindowBytes,
        (item) => sendValue(this.#ground, FRAME_KINDS.item, 0, call.id, 0, item),
      );
      if (call.isStopped || call.abandoned !== null) {
        outputs.stop();
      }
      call.outputs = outputs;
      await outputs.run(items);
    } catch (error) {
      this.#fail(call, error);
      return;
    }
    this.#endOutputs(call);
  }

  /** Frames of the call can come from now on, and its handler is told what happens to it. */
  #keep(call: TheirCall): void {
    if (call.isOpen) {
      return;
    }
    call.isOpen = true;
    this.#open.set(call.id, call);
    if (this.#ended !== null) {
      call.abandon(this.#ended);
    } else if (call.expiresMs !== Infinity) {
      this.#ground.deadlines.add(call);
    }
  }

  #reply(call: TheirCall, output: unknown): void {
    if (this.#mustWait) {
      this.#wait(call, () => this.#reply(call, output));
      return;
    }
    try {
      sendValue(this.#ground, FRAME_KINDS.reply, 0, call.id, 0, output);
    } catch (error) {
      this.#serving.handlerFailed(call.method.name, error);
      call.leaveInput();
      this.#answerError(call, error instanceof RpcError ? error : internalError(call));
    }
    this.#finish(call);
  }

  #endOutputs(call: TheirCall): void {
    if (call.abandoned !== null) {
      // Not `end`: a caller that still listens would take what it has for everything there was.
      this.#fail(call, call.abandoned);
    } else if (this.#mustWait) {
      this.#wait(call, () => this.#endOutputs(call));
    } else {
      this.#ground.sink.add(FRAME_KINDS.end, 0, call.id, 0, null);
      this.#finish(call);
    }
  }

  #fail(call: TheirCall, thrown: unknown): void {
    if (this.#mustWait) {
      this.#wait(call, () => this.#fail(call, thrown));
      return;
    }
    call.leaveInput();
    if (thrown instanceof RpcError) {
      this.#answerError(call, thrown);
    } else if (call.abandoned !== null) {
      this.#answerError(call, call.abandoned);
    } else {
      this.#serving.handlerFailed(call.method.name, thrown);
      this.#answerError(call, internalError(call));
    }
    this.#finish(call);
  }

  #answerError(call: TheirCall, error: RpcError): void {
    const { value, body } = encodeCallError(error);
    this.#ground.sink.add(FRAME_KINDS.error, 0, call.id, value, body);
  }

  get #mustWait(): boolean {
    return !this.#ground.sink.hasRoom && this.#ended === null;
  }

  #wait(call: TheirCall, act: () => void): void {
    this.#keep(call);
    this.#ground.sink.whenRoom(act);
  }

  /** The answer is queued: the call is over. */
  #finish(call: TheirCall): void {
    // A caller that has gone is no end of what it sends: whoever reads still, and is busy with an item, is to be told.
    if (call.abandoned === null) {
      call.items?.close();
    }
    if (call.isOpen) {
      this.#open.delete(call.id);
      this.#ground.deadlines.remove(call);
    }
    if (call.held !== null) {
      const { held } = call;
      // Not before it is written: what the handler gave back may lie on the input.
      this.#ground.sink.afterWritten(() => held.release());
    }
    this.#ground.changed();
  }
}
