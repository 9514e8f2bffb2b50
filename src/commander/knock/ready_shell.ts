/**
 * A shell that waits for the next command. Starting a process in a session of its own is the slowest step between a
 * knock and its command, so it is done beforehand, while nobody waits:
 *
 * ```
 *   idle:   spawn /bin/sh (setsid), it reads standard input and blocks
 *   knock:  write   RUROCO_IP=...; export ...; eval 'TEXT' </dev/null; exit   and close
 *   idle:   spawn the next one
 * ```
 *
 * The shell parses the quoted text as a whole before it runs any of it, so a write that fails has run nothing. It
 * sees the end of its input, and is gone, as soon as the commander is, however that ended.
 */
import type { IpAddress } from "../../protocol/knock/address.ts";
import { SHELL } from "./shell_path.ts";
import { cleanEnvironment } from "./shell.ts";
import { randomRunId, RUN_ID_VARIABLE } from "./survivors.ts";

/** Long enough to stay out of the way of the command that was just started. */
const REFILL_DELAY_MS = 20;
/** Run ids given out whose runs have not begun; an older one is given a new shell when it does. */
const MAX_RESERVED = 8;
const encoder = new TextEncoder();

/** One shell, good for one command. */
export class ReadyShell {
  /** Value of `POSTERN_RUN_ID` in this shell and all it starts. */
  readonly runId: string;
  readonly child: Deno.ChildProcess;
  #gone = false;

  constructor(home: string, runId: string) {
    this.runId = runId;
    this.child = new Deno.Command(SHELL, {
      clearEnv: true,
      // From the start: what is exported later stands in no /proc/PID/environ of the shell itself.
      env: { ...cleanEnvironment(home), [RUN_ID_VARIABLE]: runId },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
    void this.child.status.then(() => this.#gone = true);
  }

  get isGone(): boolean {
    return this.#gone;
  }

  /**
   * Hands the shell its text and closes its input.
   *
   * @throws {Error} if the shell is gone; then nothing of the text has run
   */
  async start(text: string, ip: IpAddress): Promise<void> {
    const script = `RUROCO_IP=${ip}; POSTERN_IP=${ip}; export RUROCO_IP POSTERN_IP
eval ${quote(text)} </dev/null
exit
`;
    const writer = this.child.stdin.getWriter();
    await writer.write(encoder.encode(script));
    // The text is with the shell now: an error from here on must not look as if it could be handed out again.
    await writer.close().catch(() => {});
  }

  /** Lets an unused shell end. */
  async discard(): Promise<void> {
    await Promise.all([
      this.child.stdin.close().catch(() => {}),
      this.child.stdout.cancel(),
      this.child.stderr.cancel(),
    ]);
    await this.child.status;
  }
}

/** Keeps one shell ready. */
export class ReadyShells implements AsyncDisposable {
  readonly #home: string;
  /** Shells whose run ids were given out, oldest first. */
  readonly #reserved = new Map<string, ReadyShell>();
  readonly #ending = new Set<Promise<void>>();
  #waiting: ReadyShell | null = null;
  #refill: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** @param home the commands' HOME */
  constructor(home: string) {
    this.#home = home;
    this.#scheduleRefill(0);
  }

  /** Whether a shell waits. */
  get isReady(): boolean {
    return this.#waiting !== null;
  }

  /**
   * Gives the id of a run that will begin soon, so that it can be recorded before. The waiting shell is kept for it;
   * an id whose run never begins costs nothing but that shell.
   */
  reserve(): string {
    const shell = this.#takeWaiting();
    if (shell === null) return randomRunId();
    this.#reserved.set(shell.runId, shell);
    for (const [runId, oldest] of this.#reserved) {
      if (this.#reserved.size <= MAX_RESERVED) break;
      this.#reserved.delete(runId);
      this.#discard(oldest);
    }
    return shell.runId;
  }

  /** A shell with this run id, or with any if none is given: a ready one if there is, else a new one. */
  take(runId?: string): ReadyShell {
    if (runId === undefined) return this.#takeWaiting() ?? new ReadyShell(this.#home, randomRunId());
    const reserved = this.#reserved.get(runId);
    this.#reserved.delete(runId);
    if (reserved !== undefined && !reserved.isGone) return reserved;
    if (reserved !== undefined) this.#discard(reserved);
    return new ReadyShell(this.#home, runId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#refill);
    if (this.#waiting !== null) this.#discard(this.#waiting);
    for (const shell of this.#reserved.values()) this.#discard(shell);
    await Promise.all(this.#ending);
  }

  #takeWaiting(): ReadyShell | null {
    const waiting = this.#waiting;
    this.#waiting = null;
    this.#scheduleRefill(REFILL_DELAY_MS);
    if (waiting === null || !waiting.isGone) return waiting;
    this.#discard(waiting);
    return null;
  }

  #discard(shell: ReadyShell): void {
    const ending = shell.discard();
    this.#ending.add(ending);
    void ending.finally(() => this.#ending.delete(ending));
  }

  #scheduleRefill(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#refill);
    this.#refill = setTimeout(() => {
      try {
        this.#waiting ??= new ReadyShell(this.#home, randomRunId());
      } catch {
        // No process to be had now: the next knock tries for itself, and says so if it cannot either.
      }
    }, delayMs);
  }
}

/** Single quotes keep every byte as it is but themselves. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
