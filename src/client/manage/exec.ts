/** A program on one host: its standard streams over one session, and its exit code. */
import type { ExecOutput } from "../../protocol/manage/session_contract.ts";
import { MAX_ITEM_BYTES } from "../../protocol/manage/session_contract.ts";
import { Failure } from "../../system/failure.ts";
import type { OpenSession } from "./open_session.ts";
import { firstReason, toldFailure } from "./told_failure.ts";

/** Where standard input comes from; as `Deno.stdin`. */
export interface ByteSource {
  read(buffer: Uint8Array): Promise<number | null>;
}

/** What a program is run with. */
export interface ExecOptions {
  /** Name of the host, for messages. */
  readonly host: string;
  /** The program and its arguments. */
  readonly command: readonly string[];
  /** Null: the program finds the end of its input at once. */
  readonly stdin: ByteSource | null;
  /** What it prints; no more is taken from the host until the promise settles. */
  readonly onStdout: (bytes: Uint8Array) => Promise<void> | void;
  readonly onStderr: (bytes: Uint8Array) => Promise<void> | void;
  /** Ends the program; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/** Standard input could not be read. */
class InputBroken extends Failure {}

const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/**
 * Runs a program in a session that was opened for it, and waits for its end, also where standard input stays open.
 *
 * @returns its exit code
 * @throws {Failure} if it was refused, ended by the server or the host, or lost; whatever the two callbacks throw; the
 * signal's reason
 */
export async function exec(session: OpenSession, options: ExecOptions): Promise<number> {
  const { host, command, stdin, signal } = options;
  const input = new Input(stdin);
  try {
    const outputs = session.peer.client.exec({ command }, input, { signal });
    for await (const output of outputs) {
      const exitCode = await take(output, options);
      if (exitCode === null) continue;
      // The program may have taken it for the end of its input.
      if (input.failure !== null) throw input.failure;
      return exitCode;
    }
    throw new Failure(`${host} ended the session without an exit code`);
  } catch (error) {
    signal?.throwIfAborted();
    if (input.failure !== null) throw input.failure;
    throw await sessionLoss(error, session, host);
  }
}

/** The exit code; null of anything else. */
async function take(output: ExecOutput, { host, onStdout, onStderr }: ExecOptions): Promise<number | null> {
  if ("stdout" in output) await onStdout(output.stdout);
  else if ("stderr" in output) await onStderr(output.stderr);
  else if ("exitCode" in output) return output.exitCode;
  else throw new Failure(`${host} has ended the program: ${output.text}`);
  return null;
}

/** The flow knows better than the call why it is gone. */
async function sessionLoss(error: unknown, session: OpenSession, host: string): Promise<unknown> {
  const isGone = error instanceof Error && "code" in error &&
    (error.code === "disconnected" || error.code === "unavailable");
  if (!isGone) return toldFailure(error, host);
  const reason = await session.ended;
  const told = toldFailure(firstReason(reason ?? error), host);
  return told instanceof Failure
    ? new Failure(`${told.message}; what ran on ${host} ends with its session`, {
      hint: told.hint,
      cause: told.cause,
    })
    : told;
}

/**
 * Standard input as items. An object, not a generator: one that waits for input could not be told that nobody wants
 * any more.
 */
class Input implements AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
  /** Why it could not be read. */
  failure: Failure | null = null;
  readonly #source: ByteSource | null;
  #isEnded = false;

  constructor(source: ByteSource | null) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array<ArrayBuffer>, undefined>> {
    if (this.#isEnded) return { done: true, value: undefined };
    // Fresh each time: long items are not copied on their way.
    const buffer = new Uint8Array(MAX_ITEM_BYTES);
    const count = this.#source === null ? null : await this.#read(this.#source, buffer);
    if (count !== null) return { done: false, value: buffer.subarray(0, count) };
    this.#isEnded = true;
    return { done: false, value: NOTHING };
  }

  return(): Promise<IteratorReturnResult<undefined>> {
    this.#isEnded = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  async #read(source: ByteSource, buffer: Uint8Array): Promise<number | null> {
    try {
      let count = await source.read(buffer);
      // An item of nothing would be the end.
      while (count === 0) count = await source.read(buffer);
      return count;
    } catch (cause) {
      this.failure = new InputBroken("cannot read standard input", { cause });
      throw this.failure;
    }
  }
}
