/** Notices of changes in a folder. */

/** How often is looked where the system gives no notice, or has no more to give. */
const POLL_MS = 1_000;

/**
 * Calls `changed` after changes in the folder, a lock given back by a dying process included (on Linux: closing a
 * file that was open for writing is one). Where the folder cannot be watched, every second.
 *
 * @returns a function that ends it
 */
export function watchFolder(folder: string, changed: () => void): () => void {
  const watcher = openWatcher(folder);
  if (watcher === null) return everyNowAndThen(changed);
  let poll = (): void => {};
  let isEnded = false;
  void follow(watcher, changed).finally(() => {
    // The notices have stopped by themselves: go on without them.
    if (!isEnded) poll = everyNowAndThen(changed);
  });
  return () => {
    isEnded = true;
    poll();
    closeQuietly(watcher);
  };
}

/** Null where there is no such folder yet, no more watches to be had, or no way to watch at all. */
function openWatcher(folder: string): Deno.FsWatcher | null {
  try {
    return Deno.watchFs(folder, { recursive: false });
  } catch {
    return null;
  }
}

async function follow(watcher: Deno.FsWatcher, changed: () => void): Promise<void> {
  try {
    for await (const _event of watcher) changed();
  } catch {
    // Polling follows.
  }
}

function everyNowAndThen(changed: () => void): () => void {
  const timer = setInterval(changed, POLL_MS);
  return () => clearInterval(timer);
}

function closeQuietly(watcher: Deno.FsWatcher): void {
  try {
    watcher.close();
  } catch {
    // It had ended by itself.
  }
}
