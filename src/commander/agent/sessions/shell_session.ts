/**
 * A shell on the host, and who looks at it:
 *
 * ```
 * opened -> shell() -> viewed <-> detached (viewer lost; taken up again by attach())
 *                        |            |
 *                        |            +-> nobody came within detachGraceMs       -> "abandoned"
 *                        +-> the shell ended                                    -> "done"
 *                        +-> the viewer's items ended, or it cancelled           -> "closed"
 *                        +-> its link broke, and the session does not outlive it -> "lost"
 * ```
 *
 * Output goes through a ring, so that whoever takes the shell up again gets what was missed. A viewer that reads slowly
 * makes the shell's programs wait, as ssh does, and nothing is skipped for it; with nobody there the oldest output is
 * dropped and the programs go on.
 */
import type { SessionEnding } from "../../../protocol/manage/control_contract.ts";
import type { ShellInput, ShellStart, WindowSize } from "../../../protocol/manage/session_contract.ts";
import { shownText } from "../../../protocol/manage/shown_text.ts";
import type { CallContext } from "../../../protocol/rpc/contract.ts";
import { ApplicationError, RpcError } from "../../../protocol/rpc/errors.ts";
import { describeError } from "../../../system/failure.ts";
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
import { OutputRing } from "./output_ring.ts";
import { Recording } from "./recording.ts";
import { ShellView } from "./shell_view.ts";
import { Terminal } from "./terminal.ts";

const KIB = 1024;
/** Output that a viewer may leave untaken before the shell's programs wait. */
const MAX_LAG_BYTES = 64 * KIB;
/** What one read of the terminal gives at most. */
const MAX_READ_BYTES = 64 * KIB;

const NOTHING: { readonly done: true; readonly value?: undefined } = { done: true };

/** Begins a session that has one shell. */
export function hostShell(ground: SessionGround, options: { readonly outlivesLink: boolean }): HostedSession {
  return new ShellSession(ground, options.outlivesLink);
}

class ShellSession implements HostedSession {
  readonly action = "shell";
  readonly handlers: SessionHandlers;
  readonly ended: Promise<SessionResult>;
  readonly #ground: SessionGround;
  readonly #outlivesLink: boolean;
  readonly #ring: OutputRing;
  readonly #startOnce: () => void;
  readonly #stopListening: () => void;
  #resolveEnded: (result: SessionResult) => void = () => {};
  #terminal: Terminal | null = null;
  /** Settles when the terminal is there, or will never be. */
  #starting: Promise<unknown> = Promise.resolve();
  #recording: Recording | null = null;
  #view: ShellView | null = null;
  /** Which viewer may begin or type; the ones before were replaced. */
  #viewer = 0;
  #callOffWaiting: () => void = () => {};
  #taken: (() => void) | null = null;
  #ending: SessionEnding | null = null;
  #exitCode: number | null = null;
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(ground: SessionGround, outlivesLink: boolean) {
    this.#ground = ground;
    this.#outlivesLink = outlivesLink;
    this.#startOnce = onlyOnce(ground);
    // Beside a viewer's lag there must be room for one more read, or something would be skipped for it.
    this.#ring = new OutputRing(Math.max(ground.config.scrollbackBytes, MAX_LAG_BYTES + MAX_READ_BYTES));
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.handlers = handlersOf(ground, "shell", { shell: (...call) => this.#begin(...call) });
    this.#waitAtMost(START_WITHIN_MS);
    this.#stopListening = endOnSignal(ground.signal, (ending) => this.end(ending));
  }

  get isDetached(): boolean {
    return this.#view === null;
  }

  viewerLost(): void {
    if (this.#outlivesLink || this.#ending !== null) {
      void this.#view?.return();
    } else {
      this.end("lost");
    }
  }

  attach(): SessionHandlers {
    if (this.#ending !== null || this.#terminal === null) {
      return handlersOf(this.#ground, null, {});
    }
    const viewer = ++this.#viewer, once = onlyOnce(this.#ground);
    const old = this.#view;
    this.#view = null;
    this.#waitAtMost(this.#ground.config.detachGraceMs);
    old?.cut({
      ended: "replaced",
      text: `${this.#ground.hostName} handed the session over: it was taken up elsewhere`,
    });
    this.#taken?.();
    return handlersOf(this.#ground, "shell", {
      shell: (start, items, context) => {
        once();
        this.#requireViewer(viewer);
        this.#resize(start);
        return this.#show(start.seenBytes, items, context);
      },
    });
  }

  end(ending: SessionEnding): void {
    if (this.#ending === null) {
      void this.#end(ending);
    } else {
      // It is over already, but for what the viewer has not taken.
      void this.#view?.return();
    }
  }

  #resize({ rows, columns }: WindowSize): void {
    this.#terminal?.resize({ rows, columns });
    // What cannot be recorded is seen with the next output.
    this.#recording?.resize({ rows, columns }).catch(() => {});
  }

  async #begin(
    start: ShellStart,
    items: AsyncIterableIterator<ShellInput>,
    context: CallContext,
  ): Promise<ShellView> {
    this.#startOnce();
    this.#callOffWaiting();
    const starting = this.#start(start);
    this.#starting = starting.catch(() => {});
    let terminal: Terminal;
    try {
      terminal = await starting;
    } catch (error) {
      this.end("failed");
      throw error;
    }
    if (this.#ending === null) {
      void this.#pump(terminal);
    }
    this.#requireViewer(0);
    return this.#show(0, items, context);
  }

  #requireViewer(viewer: number): void {
    if (viewer !== this.#viewer || this.#ending !== null) {
      const { hostName } = this.#ground;
      throw new ApplicationError(
        "replaced",
        `${hostName} refuses: a session that is over, or was taken up elsewhere`,
      );
    }
  }

  async #start(start: ShellStart): Promise<Terminal> {
    const { session, hostName, adminName, timers, config, log } = this.#ground;
    if (config.record !== null) {
      try {
        const recording = { ...start, folder: config.record, session, adminName, timers };
        this.#recording = await Recording.start(recording);
      } catch (error) {
        log.error("shell refused: it cannot be recorded", { session, error: describeError(error) });
        throw new ApplicationError("refused_by_host", `${hostName} refuses: a shell that cannot be recorded`);
      }
    }
    try {
      this.#terminal = await Terminal.start({ ...start, config }, timers);
    } catch (error) {
      log.error("shell not started", { session, error: describeError(error) });
      throw new ApplicationError(
        "internal",
        `${hostName} cannot start a shell: ${shownText(describeError(error))}`,
      );
    }
    return this.#terminal;
  }

  #show(seenBytes: number, items: AsyncIterableIterator<ShellInput>, context: CallContext): ShellView {
    this.#callOffWaiting();
    const viewer = this.#viewer;
    const view = new ShellView(this.#ring, seenBytes, {
      taken: (bytes) => {
        this.#bytesOut += bytes;
        this.#taken?.();
      },
      over: () => this.#left(view, context.signal),
    });
    this.#view = view;
    void this.#type(items, view, viewer);
    return view;
  }

  /** Types what comes from the viewer, until it leaves. */
  async #type(items: AsyncIterableIterator<ShellInput>, view: ShellView, viewer: number): Promise<void> {
    try {
      for await (const item of items) {
        if (viewer !== this.#viewer || this.#ending !== null) {
          return;
        }
        if (item instanceof Uint8Array) {
          this.#bytesIn += item.length;
          await this.#terminal?.write(item);
        } else {
          this.#resize(item);
        }
      }
    } catch (error) {
      // Of a shell that has ended, or a call that was given up, both of which others tell.
      if (error instanceof RpcError && error.code === "invalid_argument") {
        view.fail(error);
      }
      return;
    }
    if (view === this.#view && this.#ending === null) {
      this.end("closed");
    }
  }

  /** Reads the terminal, until the shell has ended. */
  async #pump(terminal: Terminal): Promise<void> {
    for (;;) {
      const { done, value } = await terminal.output.read().catch(() => NOTHING);
      if (done || !(await this.#record(value))) {
        break;
      }
      this.#ring.push(value);
      this.#view?.wake();
      while (this.#view !== null && this.#view.lagBytes >= MAX_LAG_BYTES && this.#ending === null) {
        await new Promise<void>((resolve) => this.#taken = resolve);
      }
    }
    const exitCode = this.#ending === null ? await terminal.exitCode : null;
    if (this.#ending === null) {
      this.#exitCode = exitCode;
      this.end("done");
    }
  }

  /** Ends the session where output could not be recorded. */
  async #record(output: Uint8Array): Promise<boolean> {
    try {
      await this.#recording?.output(output);
      return true;
    } catch (error) {
      const { session, hostName, log } = this.#ground;
      log.error("shell ended: it cannot be recorded any more", { session, error: describeError(error) });
      const text = `${hostName} ended the session: it cannot be recorded any more`;
      this.#view?.fail(new ApplicationError("internal", text));
      this.end("failed");
      return false;
    }
  }

  /** A viewer takes no more. */
  #left(view: ShellView, signal: AbortSignal): void {
    if (view !== this.#view) {
      return;
    }
    this.#view = null;
    this.#taken?.();
    if (this.#ending !== null) {
      return;
    }
    if (this.#outlivesLink) {
      this.#waitAtMost(this.#ground.config.detachGraceMs);
    } else {
      // The signal comes right after the items were stopped.
      queueMicrotask(() => this.#ending === null && this.end(isLost(signal) ? "lost" : "closed"));
    }
  }

  #waitAtMost(ms: number): void {
    this.#callOffWaiting();
    this.#callOffWaiting = this.#ground.timers.after(ms, () => this.end("abandoned"));
  }

  async #end(ending: SessionEnding): Promise<void> {
    this.#ending = ending;
    this.#callOffWaiting();
    this.#stopListening();
    this.#tellViewer(ending);
    this.#taken?.();
    await this.#starting;
    const isGone = await this.#terminal?.end() ?? true;
    if (!isGone) {
      this.#ground.log.warn("processes of a session would not end", { session: this.#ground.session });
    }
    await this.#recording?.end();
    await untilTaken(this.#view, ending, this.#ground);
    this.#resolveEnded({
      ending,
      exitCode: this.#exitCode,
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
    });
  }

  #tellViewer(ending: SessionEnding): void {
    const view = this.#view, last = endedItem(this.#ground, ending);
    if (ending === "done" && this.#exitCode !== null) {
      view?.finish({ exitCode: this.#exitCode });
    } else if (last !== null) {
      view?.cut(last);
    } else if (ending !== "failed") {
      // Nobody is there; and one whose session failed has an error to take.
      void view?.return();
    }
  }
}
