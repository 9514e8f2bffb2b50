/** Starts a built executable and says what came of it. */
export interface Started {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartOptions {
  /** The whole environment; nothing of the test's own. */
  readonly env?: Record<string, string>;
  readonly stdin?: string;
  readonly cwd?: string;
  /** Words before the program, such as `setpriv --reuid 1`. */
  readonly launcher?: readonly string[];
}

/** Runs a program to its end. */
export async function start(
  path: string,
  words: readonly string[],
  options: StartOptions = {},
): Promise<Started> {
  const [program = "", ...args] = [...(options.launcher ?? []), path, ...words];
  const child = new Deno.Command(program, {
    args,
    clearEnv: true,
    env: { PATH: "/usr/bin:/bin", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const feeding = options.stdin === undefined ? null : new Blob([options.stdin]).stream().pipeTo(child.stdin);
  const { code, stdout, stderr } = await child.output();
  await feeding;
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
