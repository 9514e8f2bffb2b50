/** What the demonstrations share: how they tell what they show, and how they end, also on Ctrl-C. */

const color = Deno.stdout.isTerminal() && Deno.env.get("NO_COLOR") === undefined;
const encoder = new TextEncoder();

export function print(text: string): void {
  Deno.stdout.writeSync(encoder.encode(text + "\n"));
}

let stepNumber = 0;
export function step(text: string): void {
  stepNumber++;
  print(`${color ? "\x1b[1m" : ""}${stepNumber}. ${text}${color ? "\x1b[0m" : ""}`);
}

export function seen(text: string): void {
  print(`   ${color ? "\x1b[32m" : ""}ok${color ? "\x1b[0m" : ""}  ${text}`);
}

export function detail(text: string): void {
  print(`       ${text}`);
}

export class DemoFailure extends Error {}

/** What a demonstration plays in: made before the first step, gone after the last one, however it ends. */
export interface Demonstration {
  /** Longest time it may take. */
  readonly limitMs: number;
  /** Shown at the end. */
  readonly next: readonly string[];
  /** Plays it; begins nothing new once the signal is aborted. Everything that has to go is given to `cleanup`. */
  play(cleanup: AsyncDisposableStack, signal: AbortSignal): Promise<void>;
}

/** Plays a demonstration and gives the exit code. */
export async function perform({ limitMs, next, play }: Demonstration): Promise<number> {
  const started = performance.now();
  const ending = new AbortController();
  const end = (why: string): void => ending.abort(new DemoFailure(why));
  const onSignal = (): void => end("interrupted");
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, onSignal);
  const watchdog = setTimeout(() => end("it took too long"), limitMs);
  try {
    await untilEnded(play, ending.signal);
    print(
      `\nDone in ${
        ((performance.now() - started) / 1000).toFixed(1)
      } s; the folder and all processes are gone.`,
    );
    for (const line of next) print(line);
    return 0;
  } catch (error) {
    print(`\nThe demo did not finish: ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    clearTimeout(watchdog);
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, onSignal);
  }
}

/** What was begun is cleaned up before this settles, also what the play began while it was being ended. */
async function untilEnded(play: Demonstration["play"], signal: AbortSignal): Promise<void> {
  await using cleanup = new AsyncDisposableStack();
  const { promise: ended, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  ended.catch(() => {});
  const playing = play(cleanup, signal);
  playing.catch(() => {});
  await Promise.race([playing, ended]);
}
