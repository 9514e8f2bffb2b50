/**
 * Runs one shell text for one address:
 *
 *   a ready shell (session of its own, clean environment) gets the text, stdin from /dev/null
 *   -> it ends by itself                    -> status
 *   -> time limit: SIGTERM to its group, SIGKILL 2 s later to what is left of it -> status
 *   -> output is read until its end, or shortly after the status if a background process keeps it open
 */
import type { IpAddress } from "../../protocol/knock/address.ts";
import { Capture } from "./capture.ts";
import type { ReadyShell, ReadyShells } from "./ready_shell.ts";
import { startDetachedShell } from "./shell.ts";

export interface Execution {
  /** Shell text from commands.toml or from a lease. */
  readonly text: string;
  /** Reaches the text as RUROCO_IP and POSTERN_IP. */
  readonly ip: IpAddress;
  readonly timeoutMs: number;
  /** Marks all processes of this run, so that they are found when this commander is gone. */
  readonly runId?: string;
  /** Lets go of the child without ending it: the commander stops, the child may finish. */
  readonly abandon?: AbortSignal;
}

export interface ExecutionResult {
  /** Exit code; 128 + n after signal n. */
  readonly status: number;
  readonly timedOut: boolean;
  readonly durationMs: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Bytes of both outputs that came after the cap. */
  readonly droppedBytes: number;
}

/** Runs a shell text; the seam through which tests run none. */
export type Execute = (execution: Execution) => Promise<ExecutionResult>;

/** The commander stopped before the child did. */
export class Abandoned extends Error {
  override name = "Abandoned";
}

/** How long output is still read after the child itself has ended. */
const OUTPUT_GRACE_MS = 250;

// `$1` is the process group, which is the pid of a child that was started by setsid. `Deno.kill` would need run
// permission for every program. The script looks for the group before each signal: once it is gone, its number may
// belong to somebody else; and it waits for what it has killed, which an undo must not overlap. It is a process of its
// own so that it carries on should the commander be stopped.
const END_GROUP = `
kill -s TERM -- "-$1" 2>/dev/null || exit 0
i=0
while [ "$i" -lt 20 ]; do
  kill -s 0 -- "-$1" 2>/dev/null || exit 0
  sleep 0.1 2>/dev/null || sleep 1
  i=$((i + 1))
done
kill -s KILL -- "-$1" 2>/dev/null
while [ "$i" -lt 30 ]; do
  kill -s 0 -- "-$1" 2>/dev/null || exit 0
  sleep 0.1 2>/dev/null || sleep 1
  i=$((i + 1))
done
exit 0
`;

/**
 * @throws {Abandoned} once `abandon` is signalled
 * @throws {Error} of the runtime when the shell cannot be started
 */
export async function execute(execution: Execution, shells: ReadyShells): Promise<ExecutionResult> {
  const isAbandoned = (): boolean => execution.abandon?.aborted === true;
  if (isAbandoned()) throw new Abandoned();
  const startedMs = performance.now();
  const { child } = await startShell(execution, shells);
  const outputs = [new Capture(child.stdout), new Capture(child.stderr)] as const;
  const abandoned = Promise.withResolvers<never>();
  abandoned.promise.catch(() => {});
  const onAbandon = (): void => abandoned.reject(new Abandoned());
  execution.abandon?.addEventListener("abort", onAbandon);
  // The signal may have come while the shell was handed its text, and it comes only once.
  if (isAbandoned()) onAbandon();
  let ending: GroupEnding | undefined;
  const limit = setTimeout(() => ending = endGroup(child), execution.timeoutMs);
  try {
    const status = await Promise.race([child.status, abandoned.promise]);
    clearTimeout(limit);
    // What is left of the group must be gone before an undo may start; that takes until its SIGKILL at most.
    await Promise.race([ending?.done, abandoned.promise]);
    await Promise.race([readOut(outputs), abandoned.promise]);
    return {
      status: status.code,
      timedOut: ending !== undefined,
      durationMs: Math.round(performance.now() - startedMs),
      stdout: outputs[0].text(),
      stderr: outputs[1].text(),
      droppedBytes: outputs[0].droppedBytes + outputs[1].droppedBytes,
    };
  } catch (error) {
    child.unref();
    ending?.unref();
    await Promise.all(outputs.map((output) => output.stop()));
    throw error;
  } finally {
    clearTimeout(limit);
    execution.abandon?.removeEventListener("abort", onAbandon);
  }
}

/** A waiting shell may have been killed; a second one is new. What it was handed has not run: see `ready_shell.ts`. */
async function startShell(execution: Execution, shells: ReadyShells): Promise<ReadyShell> {
  const { text, ip, runId } = execution;
  const first = shells.take(runId);
  try {
    await first.start(text, ip);
    return first;
  } catch {
    void first.discard();
    const second = shells.take(runId);
    await second.start(text, ip);
    return second;
  }
}

async function readOut(outputs: readonly Capture[]): Promise<void> {
  const grace = Promise.withResolvers<void>();
  const timer = setTimeout(grace.resolve, OUTPUT_GRACE_MS);
  await Promise.race([Promise.all(outputs.map((output) => output.done)), grace.promise]);
  clearTimeout(timer);
  await Promise.all(outputs.map((output) => output.stop()));
}

interface GroupEnding {
  /** Resolves when no process of the group is left, but for what SIGKILL cannot end. */
  readonly done: Promise<void>;
  unref(): void;
}

function endGroup(child: Deno.ChildProcess): GroupEnding {
  try {
    const ender = startDetachedShell(END_GROUP, String(child.pid));
    return { done: ender.status.then(() => {}), unref: (): void => ender.unref() };
  } catch {
    // No process to be had for the group's end: at least the leader can be ended without one.
    child.kill("SIGKILL");
    return { done: Promise.resolve(), unref: (): void => {} };
  }
}
