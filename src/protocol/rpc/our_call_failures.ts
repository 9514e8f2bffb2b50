/** What a call of ours fails with where it is not the other side that says so. */
import { RpcError } from "./errors.ts";
import type { OurCall } from "./our_call.ts";

/** The program's signal was given. */
export function cancelled(call: OurCall, signal: AbortSignal): RpcError {
  return new RpcError("cancelled", `the call of "${call.method.name}" was cancelled`, {
    cause: signal.reason,
  });
}

/** Its time is over. */
export function deadlineExceeded(call: OurCall): RpcError {
  return new RpcError(
    "deadline_exceeded",
    `"${call.method.name}" did not answer within ${Math.round(call.deadlineMs)} ms, its deadline`,
  );
}

/** It was not begun. */
export function unavailable(call: OurCall, cause: unknown): RpcError {
  const options = cause === undefined ? {} : { cause };
  return new RpcError(
    "unavailable",
    `cannot call "${call.method.name}": no more calls are begun here`,
    options,
  );
}

/** It was begun, and nobody knows how far it came. */
export function disconnected(call: OurCall, cause: Error): RpcError {
  return new RpcError("disconnected", `the connection went before "${call.method.name}" was answered`, {
    cause,
  });
}
