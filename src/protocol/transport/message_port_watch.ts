/**
 * Noticing that the thread at the other end of a port has gone. Each end tells the id of its thread, whose lock it
 * holds from before the connection stands until that is closed; see agent_lock.ts.
 */
import { systemTimers } from "../rpc/timers.ts";
import { type AgentLock, hasLocks, joinAgentLock, whenAgentGone } from "./ring/agent_lock.ts";

/** What it sent before it went may still lie in the port, its "close" included, and comes first. */
const LAST_WORDS_MS = 100;
const AGENT = /^[0-9a-f-]{36}$/;

/** Takes part in the lock of this thread; null where the runtime has no locks, and nobody can be watched. */
export async function joinThread(): Promise<AgentLock | null> {
  return hasLocks() ? await joinAgentLock() : null;
}

/** Whether that can be the id of a thread, or says that it has none. */
export function isAgent(agent: unknown): agent is string | null {
  return agent === null || (typeof agent === "string" && AGENT.test(agent));
}

/**
 * Holds the lock of this thread and watches another one.
 *
 * @param agent its id; null if it cannot be watched
 * @param gone called when it has gone
 * @returns what ends both
 */
export function watchThread(agent: string | null, gone: () => void): () => void {
  const own = joinThread().catch(() => null);
  let stopTimer = (): void => {};
  const unwatch = agent === null || !hasLocks() ? () => {} : whenAgentGone(agent, () => {
    stopTimer = systemTimers.after(LAST_WORDS_MS, gone);
  });
  return () => {
    unwatch();
    stopTimer();
    void own.then((lock) => lock?.leave());
  };
}
