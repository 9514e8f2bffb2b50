/**
 * Memory of programs that connections are writing. It is not used again meanwhile, whoever lets go of it: the rest of
 * the write would send what it is used for next.
 */

/** How many times each buffer is being written now. Weak: what a failed write left behind stays lent for ever. */
const lent = new WeakMap<ArrayBufferLike, number>();

/** Says that a connection is going to write it. */
export function lend(buffer: ArrayBufferLike): void {
  lent.set(buffer, (lent.get(buffer) ?? 0) + 1);
}

/** Says that one `lend` of it is over: it was written. */
export function takeBack(buffer: ArrayBufferLike): void {
  const times = lent.get(buffer) ?? 0;
  if (times > 1) lent.set(buffer, times - 1);
  else lent.delete(buffer);
}

/** Whether a connection may still be reading it. */
export function isLent(buffer: ArrayBufferLike): boolean {
  return lent.has(buffer);
}
