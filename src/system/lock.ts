import { Failure } from "./failure.ts";
import { foreignFileHint } from "./foreign_file.ts";

const POLL_MIN_MS = 2;
const POLL_MAX_MS = 20;

export interface LockOptions {
  /** How long another holder is waited for; 0 tries once. */
  timeoutMs: number;
  /** What to do when the lock is held, for the hint of the failure. */
  hint?: string;
  /** Whose file it should be, for the hint when it belongs to somebody else. @default "USER" */
  user?: string;
  /** Called once, before the first wait for another holder. */
  onWait?: () => void;
  /** Ends the waiting; its reason is thrown. */
  signal?: AbortSignal;
}

/**
 * Takes an exclusive flock on the file at `path` (created 0600 when missing) and holds it until it is disposed of or
 * the process dies, by whatever cause: the kernel gives it back.
 *
 * The file is never removed: whoever did that would let a second process lock a new file of the same name while the
 * first still holds the old one.
 *
 * @throws {Failure} naming `path` when it cannot be opened, or is still held by another after `timeoutMs`; the
 * signal's reason when that has come
 */
export async function acquireLock(path: string, options: LockOptions): Promise<Disposable> {
  const { signal } = options;
  const file = await openLockFile(path, options.user ?? "USER");
  let isWaiting = false;
  try {
    const deadlineMs = performance.now() + options.timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      if (await file.tryLock(true)) break;
      const remainingMs = deadlineMs - performance.now();
      if (remainingMs <= 0) {
        throw new Failure(
          `could not lock ${path}: another process holds it` +
            (options.timeoutMs > 0 ? `, waited ${options.timeoutMs} ms` : ""),
          { hint: options.hint },
        );
      }
      if (!isWaiting) options.onWait?.();
      isWaiting = true;
      // Random, so that a crowd of waiters does not wake in step.
      const pauseMs = POLL_MIN_MS + Math.random() * (POLL_MAX_MS - POLL_MIN_MS);
      await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, remainingMs)));
    }
  } catch (error) {
    file.close();
    const isOurs = error instanceof Failure || signal?.aborted === true;
    throw isOurs ? error : new Failure(`could not lock ${path}`, { cause: error });
  }
  return file;
}

async function openLockFile(path: string, user: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    if (Object(error).code === "EROFS") return await openToRead(path);
    throw new Failure(`could not open the lock file ${path}`, {
      cause: error,
      hint: await foreignFileHint(path, error, user),
    });
  }
}

/** On a disk that cannot be written, as after an error of it: what may be open to read alone can be locked as well. */
async function openToRead(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { read: true });
  } catch (error) {
    throw new Failure(`could not open the lock file ${path}`, { cause: error });
  }
}
