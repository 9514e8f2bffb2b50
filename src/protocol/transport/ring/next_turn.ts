/** Letting the rest of the program have its turn. */

type SetImmediate = (act: () => void) => unknown;

/** Deno and Node have it; a browser has not. */
const { setImmediate: immediately = null } = globalThis as { readonly setImmediate?: SetImmediate };

/**
 * Settles in the next turn of the event loop, after timers and other connections had theirs. Memory is always ready:
 * a loop that reads what another thread goes on writing would otherwise never leave its microtasks.
 *
 * In Deno `setImmediate` takes 1 microsecond, keeps the program alive and leaves sockets the most; a timer of 0 ms
 * would take 1 to 2 milliseconds, a message to oneself 3 microseconds and a port that must be closed.
 */
export function nextTurn(): Promise<unknown> {
  return immediately === null ? wokenAtOnce() : new Promise<void>(immediately);
}

/** A word that always is 0 and that only this thread knows. */
let ownWord: Int32Array | null = null;

/** A wait on a word that is ended at once: 1.5 microseconds. It does not keep a program alive, but a page needs not that. */
async function wokenAtOnce(): Promise<void> {
  ownWord ??= new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const { value } = Atomics.waitAsync(ownWord, 0, 0);
  Atomics.notify(ownWord, 0);
  await value;
}
