/** Programs of this bench that have to be fast or close to the system, in Python. */

/** Why one of these programs is not there, or null. */
export async function missingPrograms(...programs: readonly string[]): Promise<string | null> {
  for (const program of programs) {
    const { success } = await new Deno.Command("sh", {
      args: ["-c", 'command -v "$1"', "sh", program],
      stdout: "null",
    })
      .output();
    if (!success) return `${program} is not installed`;
  }
  return null;
}

/**
 * Runs one to its end and gives what it printed.
 *
 * @param input JSON on its standard input
 */
export async function runPython(
  path: string,
  args: readonly string[],
  input: unknown = null,
): Promise<string> {
  const child = new Deno.Command("python3", {
    args: [path, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = new Blob([JSON.stringify(input)]).stream().pipeTo(child.stdin).catch(() => {});
  const { success, stdout, stderr } = await child.output();
  await writing;
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${path} failed: ${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}
