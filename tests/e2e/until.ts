/** Waiting for what another process does. */

const DEFAULT_POLL_MS = 10;
const DEFAULT_TIMEOUT_MS = 15_000;

/**
 * Asks the probe again and again until it has an answer, which is anything but undefined and false.
 *
 * @throws {Error} naming what was waited for, when the time is over
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  options: { timeoutMs?: number; pollMs?: number } = {},
): Promise<T> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, pollMs = DEFAULT_POLL_MS } = options;
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    const answer = await probe();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() >= deadlineMs) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await pause(pollMs);
  }
}

/** For pacing what a test sends; never for hoping that something has happened meanwhile. */
export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** The text of a file, or undefined if there is none. */
export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The lines of a file that commands append to; none if there is no file. */
export async function linesOf(path: string): Promise<string[]> {
  return ((await textOf(path)) ?? "").split("\n").filter((line) => line !== "");
}
