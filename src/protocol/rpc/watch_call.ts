/** How long a call of ours may take, and who may give it up. */
import type { CallOptions } from "./contract.ts";
import type { RpcError } from "./errors.ts";
import type { OurCall } from "./our_call.ts";
import { cancelled } from "./our_call_failures.ts";
import type { SessionGround } from "./session_ground.ts";

/** The longest that a `call` frame can say: about 49 days. */
const MAX_DEADLINE_MS = 0xffff_ffff;

/**
 * Watches deadline and signal of a call that begins.
 *
 * @param giveUp called when the signal is given
 * @returns why it cannot begin, or null
 */
export function watchCall(
  call: OurCall,
  options: CallOptions | undefined,
  ground: SessionGround,
  giveUp: (call: OurCall, error: RpcError) => void,
): Error | null {
  // A stream that ends after 30 s because nobody thought of a deadline would surprise.
  const defaultMs = call.method.shape === "call" ? ground.limits.defaultDeadlineMs : 0;
  const deadlineMs = options?.deadlineMs ?? defaultMs, signal = options?.signal;
  const refused = refusedDeadline(call.method.name, deadlineMs);
  if (refused !== null) {
    return refused;
  }
  if (signal?.aborted === true) {
    return cancelled(call, signal);
  }
  if (signal !== undefined) {
    const act = (): void => giveUp(call, cancelled(call, signal));
    signal.addEventListener("abort", act);
    call.unlisten = () => signal.removeEventListener("abort", act);
  }
  if (deadlineMs > 0 && deadlineMs !== Infinity) {
    call.deadlineMs = deadlineMs;
    call.expiresMs = ground.timers.monotonicMs() + deadlineMs;
    ground.deadlines.add(call);
  }
  return null;
}

/** Why a call cannot have such a deadline; null if it can. */
export function refusedDeadline(method: string, deadlineMs: unknown): TypeError | null {
  return typeof deadlineMs === "number" && deadlineMs >= 0
    ? null
    : new TypeError(`cannot call "${method}": deadlineMs wants a number from 0 on`);
}

/** As the wire has it: 0 for none, and never less than 1 otherwise. */
export function wireDeadline(leftMs: number): number {
  return leftMs === Infinity ? 0 : Math.max(1, Math.min(Math.ceil(leftMs), MAX_DEADLINE_MS));
}
