/** What a built program costs to start. */

const WARM_ROUNDS = 15;

export interface StartTimes {
  /** The first start, from an empty cache, in milliseconds. */
  readonly coldMs: number;
  /** Median of later ones. */
  readonly warmMs: number;
}

/**
 * Starts a program for `--version`: once with an empty cache folder, then until the median is steady.
 *
 * @returns null if it does not start here
 */
export async function measureStart(program: string, args: readonly string[]): Promise<StartTimes | null> {
  const folder = await Deno.makeTempDir({ prefix: "postern-start-" });
  try {
    const env = { POSTERN_CACHE_DIR: `${folder}/cache`, DENO_DIR: `${folder}/deno` };
    const command = new Deno.Command(program, {
      args: [...args],
      env,
      stdin: "null",
      stdout: "null",
      stderr: "null",
    });
    const coldMs = timeOne(command);
    if (coldMs === null) return null;
    const times: number[] = [];
    for (let round = 0; round < WARM_ROUNDS; round++) times.push(timeOne(command) ?? NaN);
    return { coldMs, warmMs: times.sort((a, b) => a - b)[Math.floor(WARM_ROUNDS / 2)] ?? NaN };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function timeOne(command: Deno.Command): number | null {
  const startMs = performance.now();
  const { success } = command.outputSync();
  return success ? performance.now() - startMs : null;
}
