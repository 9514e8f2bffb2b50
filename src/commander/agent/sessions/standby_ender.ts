/**
 * A shell that waits to end sessions when no other process is to be had any more: a program that multiplies without end
 * (a fork bomb) takes every process that the service may have, and with that also grep and sleep, by which sessions are
 * ended else. Nobody could come in again to stop it. This one is there already, and starts nothing: all that it does are
 * builtins of the shell.
 */
import { SHELL } from "../../knock/shell_path.ts";

// All are stopped first: what is stopped does not multiply, and holds its place until it is killed. Behind the last
// parenthesis of /proc/PID/stat come "STATE PPID PGRP SESSION ...", whatever a program calls itself.
const ENDER = `
set -f
sweep() {
  found=0
  set +f
  for path in /proc/[0-9]*/stat; do
    set -f
    { read -r line <"$path"; } 2>/dev/null || continue
    rest=\${line##*) }
    set -- "$1" $rest
    case $2 in [ZX]) continue ;; esac
    case "|$ids|" in *"|$5|"*) ;; *) continue ;; esac
    found=1
    path=\${path#/proc/}
    kill -s "$1" "\${path%/stat}" 2>/dev/null
  done
  set -f
}
while read -r ids; do
  sweep STOP
  sweep STOP
  i=0
  while sweep KILL; [ "$found" = 1 ] && [ "$i" -lt 20 ]; do i=$((i + 1)); done
  printf '%s\\n' "$found"
done
`;

const NONE_LEFT = "0";

/** The shell. */
export class StandbyEnder implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #orders: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #answers: ReadableStreamDefaultReader<string>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#orders = child.stdin.getWriter();
    this.#orders.closed.catch(() => {});
    this.#answers = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Starts it. @throws {Error} of the runtime when no process is to be had */
  static start(): StandbyEnder {
    return new StandbyEnder(
      new Deno.Command(SHELL, {
        args: ["-c", ENDER],
        clearEnv: true,
        cwd: "/",
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
        detached: true,
      }).spawn(),
    );
  }

  /** Kills all processes of sessions; whether nothing is left. Never rejects. */
  end(sessionIds: readonly number[]): Promise<boolean> {
    const done = this.#last.then(() => this.#end(sessionIds)).catch(() => false);
    this.#last = done;
    return done;
  }

  async #end(sessionIds: readonly number[]): Promise<boolean> {
    await this.#orders.write(new TextEncoder().encode(`${sessionIds.join("|")}\n`));
    const { value } = await this.#answers.read();
    return value?.trim() === NONE_LEFT;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#orders.close().catch(() => {});
    await this.#answers.cancel().catch(() => {});
    await this.#child.status;
  }
}
