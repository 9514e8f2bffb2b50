/**
 * The one program the commander may run, and the environment it runs in. Questions that the runtime answers only with
 * wider permissions (who am I, who may write this folder) go through the shell as well: stat of a folder would need
 * read permission on all it holds.
 */
import { Failure } from "../../system/failure.ts";
import { SHELL } from "./shell_path.ts";

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** What every shell starts from, whatever environment the commander was started in. */
export function cleanEnvironment(home: string): Record<string, string> {
  return { PATH, LANG: "C.UTF-8", HOME: home };
}

/**
 * Runs a script of ours and returns what it printed, without the final newline.
 *
 * @param args reach the script as `$1`, `$2`, ...: never put into its text
 * @throws {Failure} when it does not exit with 0
 */
export async function askShell(script: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(SHELL, {
    args: ["-c", script, "sh", ...args],
    clearEnv: true,
    env: cleanEnvironment("/"),
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).output();
  if (!output.success) {
    throw new Failure(`could not ask the shell: ${JSON.stringify(script)} ended with status ${output.code}`);
  }
  return new TextDecoder().decode(output.stdout).replace(/\n$/, "");
}

/**
 * Starts a script of ours that carries on by itself should the commander be stopped: in a session of its own, with no
 * input and no output. `args` as for `askShell`.
 */
export function startDetachedShell(script: string, ...args: string[]): Deno.ChildProcess {
  return new Deno.Command(SHELL, {
    args: ["-c", script, "sh", ...args],
    clearEnv: true,
    env: cleanEnvironment("/"),
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
}
