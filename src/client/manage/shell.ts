/**
 * A shell on a host, in the terminal in front of the administrator.
 *
 *   keyboard -> escape keys -> items of `shell` -> host        output of `shell` -> recording -> screen
 *
 * A shell of `--detach` outlives its link. When that is lost, the host is reached again and the shell is attached to
 * with the number of bytes that were shown, so that none is doubled and none is missing without a word. What was typed
 * meanwhile is sent then.
 */
import { ResetError } from "../../protocol/manage/reset_code.ts";
import type { ShellOutput } from "../../protocol/manage/session_contract.ts";
import { RpcError } from "../../protocol/rpc/errors.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import { Failure } from "../../system/failure.ts";
import { ESCAPE_HELP, type EscapeCommand } from "./escape_keys.ts";
import { Keyboard, type LocalTerminal, Screen, termOf, windowOf } from "./local_terminal.ts";
import { mayPass, type Reach, reachAgain, type ReachedSession, reasonOf } from "./reattach.ts";
import type { ShellRecording } from "./shell_recording.ts";
import { firstReason, toldFailure } from "./told_failure.ts";

/** Exit code where there is none of the shell, as ssh has it. */
export const EXIT_NO_SESSION = 255;

/** How long a lost shell is tried to be reached again; its host may have given it up before. */
export const REATTACH_GRACE_MS = 3_600_000;

/** What a shell is run with. */
export interface ShellOptions {
  /** A session that is to be taken up; null: a new one. */
  readonly attach: string | null;
  /** A new one outlives its link. */
  readonly detach: boolean;
  readonly terminal: LocalTerminal;
  readonly reach: Reach;
  /** Null: it is not recorded. Closed by whoever made it. */
  readonly recording: ShellRecording | null;
  readonly timers: Timers;
  /** 0 to 1, without 1. */
  readonly random: () => number;
  /** Takes lines for people. */
  readonly onNotice: (line: string) => void;
  /** Leaves, as `~.` does. */
  readonly signal: AbortSignal;
  /** @default REATTACH_GRACE_MS */
  readonly graceMs?: number;
  /** Options that taking the shell up again needs too, such as " --dir DIR"; for what people are told. @default "" */
  readonly attachOptions?: string;
}

/**
 * Runs a shell until it ends or is left.
 *
 * @returns its exit code; 0 where it was left running, 255 where it was left otherwise
 * @throws {Failure} or {ResetError} if it could not be opened, or was lost or ended by somebody else
 */
export async function runShell(options: ShellOptions): Promise<number> {
  return await new Shell(options).run();
}

/** How looking at a session ended. */
type ViewEnd =
  | { readonly kind: "exit"; readonly exitCode: number }
  | { readonly kind: "ended"; readonly text: string }
  | { readonly kind: "left" }
  | { readonly kind: "lost"; readonly why: ResetError };

/** Nobody has said why. */
const NO_REASON = new ResetError("lost", "there", "");

class Shell {
  readonly #options: ShellOptions;
  readonly #screen: Screen;
  readonly #keyboard: Keyboard;
  readonly #leaving = new AbortController();
  /** Whether the shell outlives its link. */
  readonly #isLasting: boolean;
  #seenBytes = 0;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#screen = new Screen(options.terminal);
    this.#keyboard = new Keyboard(options.terminal, options.timers, (command) => this.#obey(command));
    this.#isLasting = options.detach || options.attach !== null;
  }

  async run(): Promise<number> {
    const { reach, attach, terminal, signal } = this.#options;
    const session = await reach({ attach, again: false, signal });
    this.#tellBeginning(session.session);
    const leave = (): void => this.#leaving.abort(signal.reason);
    signal.addEventListener("abort", leave, { once: true });
    if (signal.aborted) leave();
    const unlisten = terminal.onResize(() => this.#options.recording?.resize(windowOf(terminal)));
    terminal.setRaw(true);
    try {
      // What can go wrong at a keyboard is that it has gone.
      this.#keyboard.start(() => this.#leaving.abort());
      return await this.#goOn(session);
    } finally {
      this.#keyboard.close();
      unlisten();
      signal.removeEventListener("abort", leave);
      terminal.setRaw(false);
    }
  }

  /** Over as many links as it takes. */
  async #goOn(first: ReachedSession): Promise<number> {
    for (let session = first;;) {
      const end = await this.#view(session);
      switch (end.kind) {
        case "exit":
          await session.done();
          return end.exitCode;
        case "ended":
          await session.done();
          throw new Failure(`the shell on ${session.host} was ended: ${end.text}`);
        case "left":
          await this.#letGo(session);
          return this.#hasLeft(session);
        case "lost": {
          const again = await this.#again(session, end.why);
          if (again === null) return this.#hasLeft(session);
          session = again;
        }
      }
    }
  }

  /** What outlives its link goes on; anything else is ended, which the host is told. */
  async #letGo(session: ReachedSession): Promise<void> {
    await (this.#isLasting ? session.detach() : session.close());
  }

  async #view(session: ReachedSession): Promise<ViewEnd> {
    const { terminal } = this.#options;
    const start = { ...windowOf(terminal), term: termOf(terminal), seenBytes: this.#seenBytes };
    try {
      const outputs = session.client.shell(start, this.#keyboard.items(), { signal: this.#leaving.signal });
      for await (const output of outputs) {
        const end = await this.#take(output);
        if (end !== null) return end;
      }
    } catch (error) {
      if (!this.#leaving.signal.aborted && !isLoss(error)) {
        await this.#letGo(session);
        throw toldFailure(error, session.host);
      }
    }
    if (this.#leaving.signal.aborted) return { kind: "left" };
    // First, so that there is an end of waiting for the reason, whatever the host does.
    await this.#letGo(session);
    return { kind: "lost", why: await session.ended ?? NO_REASON };
  }

  async #take(output: ShellOutput): Promise<ViewEnd | null> {
    if (output instanceof Uint8Array) {
      this.#options.recording?.output(output);
      this.#seenBytes += output.length;
      await this.#screen.write(output);
      return null;
    }
    if ("skippedBytes" in output) {
      this.#seenBytes += output.skippedBytes;
      this.#options.onNotice(
        `${output.skippedBytes} bytes of output are missing here: the host keeps no more of what nobody saw`,
      );
      return null;
    }
    return "exitCode" in output
      ? { kind: "exit", exitCode: output.exitCode }
      : { kind: "ended", text: output.text };
  }

  /** The session on another link; null if it was left meanwhile. */
  async #again({ session, host }: ReachedSession, why: ResetError): Promise<ReachedSession | null> {
    const { reach, timers, random, onNotice, graceMs = REATTACH_GRACE_MS } = this.#options;
    if (!this.#isLasting || !mayPass(why)) throw this.#lost(host, session, why);
    onNotice(
      `connection to ${host} lost (${reasonOf(why, host)}); trying again, ~. leaves`,
    );
    const { signal } = this.#leaving;
    try {
      const again = await reachAgain(reach, { attach: session, timers, random, graceMs, signal });
      onNotice(`connected to ${host} again`);
      return again;
    } catch (error) {
      if (signal.aborted) return null;
      throw this.#lost(host, session, error);
    }
  }

  #lost(host: string, session: string, why: unknown): unknown {
    const told = toldFailure(firstReason(why), host);
    if (!mayPass(why) || !(told instanceof Failure)) return told;
    return new Failure(`connection to ${host} lost: ${told.message}`, {
      cause: told.cause,
      hint: this.#isLasting
        ? `if the host still has it, this takes it up: ${this.#attachLine(session)}`
        : "postern client shell --detach begins a shell that outlives a lost link",
    });
  }

  #attachLine(session: string): string {
    return `postern client shell --attach ${session}${this.#options.attachOptions ?? ""}`;
  }

  #tellBeginning(session: string): void {
    if (!this.#isLasting) return;
    this.#options.onNotice(`session ${session} outlives a lost link; ~d leaves it running`);
  }

  /** The exit code of who has left. */
  #hasLeft({ session, host }: ReachedSession): number {
    if (!this.#isLasting) {
      this.#options.onNotice(`connection to ${host} closed`);
      return EXIT_NO_SESSION;
    }
    this.#options.onNotice(
      `session ${session} goes on; this takes it up: ${this.#attachLine(session)}`,
    );
    return 0;
  }

  #obey(command: EscapeCommand): void {
    if (command === "help") return ESCAPE_HELP.forEach(this.#options.onNotice);
    if (command === "detach" && !this.#isLasting) {
      return this.#options.onNotice(
        "this shell ends with its link: only one begun with --detach can be left running",
      );
    }
    this.#leaving.abort();
  }
}

/** Whether a call failed because its link did. */
function isLoss(error: unknown): boolean {
  return error instanceof RpcError && (error.code === "disconnected" || error.code === "unavailable");
}
