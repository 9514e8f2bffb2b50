/**
 * Noticing that a thread has gone. No message tells it: after `Worker.terminate()`, `close()` or an error nothing comes
 * any more from a port or from shared memory. But a Web Lock (https://www.w3.org/TR/web-locks/) that the thread held
 * is given to whoever waits for it, about 2 ms later. A thread takes one for as long as it has connections: one for
 * all of them, because runtimes are slow with thousands.
 *
 * A lock that is held or waited for also keeps a program of Deno alive, which a pending `Atomics.waitAsync` does not.
 */

/** The part of `navigator.locks` that is used here; Deno's types do not know it. */
interface LockManager {
  request<T>(
    name: string,
    options: { readonly signal?: AbortSignal },
    act: () => T | Promise<T>,
  ): Promise<T>;
}

/** Web Locks of this runtime; null if it has none. */
function locksHere(): LockManager | null {
  return (globalThis.navigator as { readonly locks?: LockManager } | undefined)?.locks ?? null;
}

/** Whether this runtime has what is needed here. */
export function hasLocks(): boolean {
  return locksHere() !== null;
}

/**
 * Takes a lock that nobody else knows of yet.
 *
 * @returns once it is held, what gives it back; null if this runtime or page has none
 */
function holdLock(name: string): Promise<(() => void) | null> {
  const { promise, resolve } = Promise.withResolvers<(() => void) | null>();
  const locks = locksHere();
  if (locks === null) resolve(null);
  else {
    locks.request(name, {}, () => {
      const held = Promise.withResolvers<void>();
      resolve(held.resolve);
      return held.promise;
    }).catch(() => resolve(null));
  }
  return promise;
}

/**
 * Calls `act` once when nobody holds the lock any more.
 *
 * @returns what calls that off
 */
function whenUnlocked(name: string, act: () => void): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  locksHere()?.request(name, { signal }, () => {
    if (!signal.aborted) act();
  }).catch(() => {
    // Called off.
  });
  return () => controller.abort();
}

function lockName(agent: string): string {
  return `postern-agent/${agent}`;
}

/** The part that one connection has in the lock of its thread. */
export interface AgentLock {
  /** Id of this thread, a UUID, by which others see whether it lives. */
  readonly agent: string;
  /** Gives it up; the lock goes with the last part. Does nothing the second time. */
  leave(): void;
}

interface OwnLock {
  readonly agent: string;
  readonly held: Promise<(() => void) | null>;
  parts: number;
}

let own: OwnLock | null = null;

/** Takes part in the lock of this thread; settles when it is held. */
export async function joinAgentLock(): Promise<AgentLock> {
  const agent = crypto.randomUUID();
  const lock = own ??= { agent, held: holdLock(lockName(agent)), parts: 0 };
  lock.parts++;
  const release = await lock.held;
  let isOver = false;
  return {
    agent: lock.agent,
    leave(): void {
      if (isOver) return;
      isOver = true;
      if (--lock.parts > 0) return;
      release?.();
      if (own === lock) own = null;
    },
  };
}

interface Watch {
  readonly acts: Set<() => void>;
  readonly stop: () => void;
}

/** Who wants to know of the end of a thread, by its id: they wait for its lock together. */
const watches = new Map<string, Watch>();

/**
 * Calls `act` once when a thread holds its lock no more.
 *
 * @param agent its id; it has to hold the lock already
 * @returns what calls that off
 */
export function whenAgentGone(agent: string, act: () => void): () => void {
  const watch = watches.get(agent) ?? beginWatch(agent);
  watch.acts.add(act);
  return () => {
    if (!watch.acts.delete(act) || watch.acts.size > 0) return;
    watch.stop();
    if (watches.get(agent) === watch) watches.delete(agent);
  };
}

function beginWatch(agent: string): Watch {
  const acts = new Set<() => void>();
  const stop = whenUnlocked(lockName(agent), () => {
    watches.delete(agent);
    const told = [...acts];
    acts.clear();
    for (const act of told) act();
  });
  const watch = { acts, stop };
  watches.set(agent, watch);
  return watch;
}
