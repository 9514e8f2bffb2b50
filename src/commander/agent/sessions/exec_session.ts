/**
 * A program on the host, without a shell and without a terminal:
 *
 * ```
 * opened -> exec(command) -> its standard input from the items, its two outputs apart
 *             |
 *             +-> it ended: all that it left behind is killed, what stands in its pipes is sent -> exit code -> "done"
 *             +-> the caller cancelled -> "closed";  its link broke -> "lost"
 * ```
 *
 * Output that the caller does not take stays in the program's pipes, and the program waits.
 */
import type { SessionEnding } from "../../../protocol/manage/control_contract.ts";
import type { ExecStart } from "../../../protocol/manage/session_contract.ts";
import type { CallContext } from "../../../protocol/rpc/contract.ts";
import { ApplicationError } from "../../../protocol/rpc/errors.ts";
import { describeError } from "../../../system/failure.ts";
import { ExecView } from "./exec_view.ts";
import {
  endedItem,
  endOnSignal,
  handlersOf,
  type HostedSession,
  isLost,
  onlyOnce,
  type SessionGround,
  type SessionHandlers,
  type SessionResult,
  START_WITHIN_MS,
  untilTaken,
} from "./hosted_session.ts";
import {
  endSessions,
  EXEC_AS_USER,
  type SessionProcess,
  startScript,
  userEnvironment,
} from "./session_process.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Begins a session that runs one program. */
export function hostExec(ground: SessionGround): HostedSession {
  return new ExecSession(ground);
}

class ExecSession implements HostedSession {
  readonly action = "exec";
  readonly isDetached = false;
  readonly handlers: SessionHandlers;
  readonly ended: Promise<SessionResult>;
  readonly #ground: SessionGround;
  readonly #stopListening: () => void;
  readonly #callOffWaiting: () => void;
  #resolveEnded: (result: SessionResult) => void = () => {};
  #process: SessionProcess | null = null;
  #view: ExecView | null = null;
  #ending: SessionEnding | null = null;
  #exitCode: number | null = null;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(ground: SessionGround) {
    this.#ground = ground;
    const once = onlyOnce(ground);
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.handlers = handlersOf(ground, "exec", {
      exec: (start, items, context) => {
        once();
        return this.#begin(start, items, context);
      },
    });
    this.#callOffWaiting = ground.timers.after(START_WITHIN_MS, () => this.end("abandoned"));
    this.#stopListening = endOnSignal(ground.signal, (ending) => this.end(ending));
  }

  viewerLost(): void {
    this.end("lost");
  }

  attach(): SessionHandlers {
    return handlersOf(this.#ground, "exec", {});
  }

  end(ending: SessionEnding): void {
    if (this.#ending === null) {
      void this.#end(ending);
    } else {
      // It is over already, but for what the caller has not taken.
      void this.#view?.return();
    }
  }

  #begin({ command }: ExecStart, items: AsyncIterableIterator<Bytes>, context: CallContext): ExecView {
    const refusal = this.#ground.mayRun(command);
    if (refusal !== null || this.#ending !== null) {
      this.end("failed");
      throw new ApplicationError("refused_by_host", refusal ?? `${this.#ground.hostName} ended the session`);
    }
    this.#callOffWaiting();
    const process = this.#start(command);
    const { child } = process;
    const view = new ExecView({
      stdout: child.stdout,
      stderr: child.stderr,
      timers: this.#ground.timers,
      taken: (bytes) => this.#bytesOut += bytes,
      over: () => this.#left(context.signal),
    });
    this.#process = process;
    this.#view = view;
    void this.#feed(items, process, () => context.signal.aborted);
    void process.exitCode.then((exitCode) => this.#exited(exitCode));
    return view;
  }

  #start(command: readonly string[]): SessionProcess {
    try {
      return startScript(EXEC_AS_USER, command, userEnvironment(this.#ground.config));
    } catch (error) {
      const { session, hostName, log } = this.#ground;
      log.error("program not started", { session, error: describeError(error) });
      this.end("failed");
      throw new ApplicationError("internal", `${hostName} cannot start a program`);
    }
  }

  /** Standard input, until its end, or until the program takes no more. @param isLeft whether the caller has gone */
  async #feed(
    items: AsyncIterableIterator<Bytes>,
    { child, exitCode }: SessionProcess,
    isLeft: () => boolean,
  ): Promise<void> {
    const writer = child.stdin.getWriter();
    writer.closed.catch(() => {});
    let isCut = false;
    try {
      for await (const bytes of items) {
        if (bytes.length === 0 || !await writer.write(bytes).then(() => true, () => false)) {
          break;
        }
        this.#bytesIn += bytes.length;
      }
    } catch {
      isCut = true;
    }
    // Cut off, perhaps in the middle of a line by somebody who wants half of it to be run: the program must not find the
    // end of its input there. It is ended first; whoever has gone is noticed elsewhere.
    if (isCut && !isLeft()) {
      this.end("closed");
    }
    if (isCut || isLeft()) {
      await exitCode;
    }
    await writer.close().catch(() => {});
  }

  async #exited(exitCode: number): Promise<void> {
    if (this.#ending === null) {
      this.#exitCode = exitCode;
      this.#view?.finish({ exitCode });
      await this.#end("done");
    }
  }

  /** The caller takes no more. */
  #left(signal: AbortSignal): void {
    this.#view = null;
    if (this.#ending === null) {
      // The signal comes right after the items were stopped.
      queueMicrotask(() => this.#ending === null && this.end(isLost(signal) ? "lost" : "closed"));
    }
  }

  async #end(ending: SessionEnding): Promise<void> {
    this.#ending = ending;
    this.#callOffWaiting();
    this.#stopListening();
    if (ending !== "done") {
      const last = endedItem(this.#ground, ending);
      void (last === null ? this.#view?.return() : this.#view?.cut(last));
    }
    const process = this.#process;
    if (process !== null && !(await endSessions([process]))) {
      this.#ground.log.warn("processes of a session would not end", { session: this.#ground.session });
    }
    await untilTaken(this.#view, ending, this.#ground);
    this.#resolveEnded({
      ending,
      exitCode: this.#exitCode,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    });
  }
}
