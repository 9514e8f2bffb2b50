/**
 * Finds and ends what is left of a run whose commander is gone. A shell text goes on when its commander is killed, and
 * would open the door after the undo that the next commander runs. So every run of a lease has a random id:
 *
 *   recorded in the lease, durably -> in the environment of the shell and of all it starts
 *   next commander: processes with the id -> SIGTERM -> SIGKILL 2 s later -> none is left -> undo
 *
 * What a process puts out of its environment (`env -i`, `sudo`, a job handed to another daemon) is not found.
 */
import { startDetachedShell } from "./shell.ts";

/** Variable that holds the run id. */
export const RUN_ID_VARIABLE = "POSTERN_RUN_ID";

const RUN_ID_BYTES = 16;

/** What is known after the search: nothing of the run is left, or that cannot be told here, or it would not end. */
export type RunEnding = "gone" | "cannot look" | "would not end";

/** Ends what is left of a run; the seam through which tests end nothing. */
export type EndRun = (runId: string, abandon?: AbortSignal) => Promise<RunEnding | null>;

const CANNOT_LOOK = 3;

// /proc/PID/environ is closed to the runtime, whatever it is allowed to read, but not to the shell. `$1` is the run id,
// and stands in no environment of this search itself. Looks again after each signal, since a process may have forked
// meanwhile; a zombie has no environment and counts as gone. grep ends with 2 whenever a process ends under its eyes,
// so only 126 and 127 (no grep, too many processes for one command line) say that it did not look.
const END_RUN = `
[ -r /proc/self/environ ] || exit ${CANNOT_LOOK}
told=' '
i=0
while [ "$i" -lt 70 ]; do
  paths=$(grep -lsF -- "${RUN_ID_VARIABLE}=$1" /proc/[0-9]*/environ)
  case $? in 126|127) exit ${CANNOT_LOOK} ;; esac
  [ -n "$paths" ] || exit 0
  for path in $paths; do
    pid=\${path#/proc/}
    pid=\${pid%/environ}
    if [ "$i" -ge 20 ]; then
      kill -s KILL "$pid" 2>/dev/null
      continue
    fi
    case $told in *" $pid "*) continue ;; esac
    told="$told$pid "
    kill -s TERM "$pid" 2>/dev/null
  done
  sleep 0.1 2>/dev/null || { sleep 1; i=$((i + 9)); }
  i=$((i + 1))
done
exit 1
`;

/** 32 lower-case hexadecimal digits. */
export function randomRunId(): string {
  return crypto.getRandomValues(new Uint8Array(RUN_ID_BYTES)).toHex();
}

/**
 * Ends every process of a run; takes 7 s at most.
 *
 * @returns null once `abandon` is signalled; the search goes on by itself
 */
export async function endRun(runId: string, abandon?: AbortSignal): Promise<RunEnding | null> {
  if (abandon?.aborted === true) return null;
  const child = startDetachedShell(END_RUN, runId);
  const abandoned = Promise.withResolvers<null>();
  const onAbandon = (): void => abandoned.resolve(null);
  abandon?.addEventListener("abort", onAbandon);
  const status = await Promise.race([child.status, abandoned.promise]);
  abandon?.removeEventListener("abort", onAbandon);
  if (status === null) {
    child.unref();
    return null;
  }
  if (status.code === 0) return "gone";
  return status.code === CANNOT_LOOK ? "cannot look" : "would not end";
}
