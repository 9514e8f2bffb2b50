/** Runs another program to its end. */
import { BuildFailure } from "./build_failure.ts";

/**
 * What a program printed.
 *
 * @param what what it is for, as the message about its failure begins
 * @throws {BuildFailure} with what it said on standard error
 */
export async function outputOf(
  what: string,
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
): Promise<string> {
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(program, { args: [...args], stdin: "null", ...options }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new BuildFailure(`${what}: ${program} is not installed`);
  }
  const decoder = new TextDecoder();
  if (!output.success) {
    throw new BuildFailure(
      `${what}: ${program} ended with ${output.code}:\n${decoder.decode(output.stderr).trim()}`,
    );
  }
  return decoder.decode(output.stdout);
}
