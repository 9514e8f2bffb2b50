/**
 * Shows of a command line that each of its permissions is needed: one after the other is taken away, and every time the
 * program must refuse to start and say which flag it misses.
 */
import assert from "node:assert/strict";
import { isWithin } from "../src/system/path.ts";

/** How a program is started under given flags of the runtime: by `deno run`, or as an executable does it itself. */
export interface Startable {
  command(flags: readonly string[]): { readonly program: string; readonly args: readonly string[] };
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One flag, or one scope of it, that is taken away. */
export interface Reduction {
  /** Such as `--allow-read=/etc/postern`. */
  readonly removed: string;
  /** Such as `--allow-read`. */
  readonly name: string;
  /** What was taken away; none of a whole kind. */
  readonly scopes: readonly string[];
  /** What is left. */
  readonly flags: readonly string[];
}

/** Every way to take away one whole flag, or one scope of a flag that has several. */
export function reductions(flags: readonly string[]): Reduction[] {
  return flags.flatMap((flag, index) => {
    const [name = "", list] = flag.split(/=(.*)/s);
    const scopes = list === undefined ? [] : list.split(",");
    const without = (replacement: readonly string[]): string[] => flags.toSpliced(index, 1, ...replacement);
    const whole: Reduction = { removed: flag, name, scopes, flags: without([]) };
    if (scopes.length < 2) return [whole];
    return [
      whole,
      ...scopes.map((scope): Reduction => ({
        removed: `${name}=${scope}`,
        name,
        scopes: [scope],
        flags: without([`${name}=${scopes.filter((each) => each !== scope).join(",")}`]),
      })),
    ];
  });
}

/** Long enough for a start on a busy machine; a program that is still there then has started. */
const START_LIMIT_MS = 20_000;

/**
 * Starts the program once without each flag and each scope.
 *
 * @param options.optional scopes that it starts without, too; they are left alone
 * @param options.code what it must end with. @default 1
 * @returns what was taken away, one line each
 * @throws {AssertionError} if it starts all the same, ends otherwise than so, or does not name what it misses
 */
export async function eachFlagIsNeeded(
  startable: Startable,
  flags: readonly string[],
  options: { optional?: ReadonlySet<string>; code?: number } = {},
): Promise<string[]> {
  const { code: expected = 1 } = options;
  const tried: string[] = [];
  for (const { removed, name, scopes, flags: left } of reductions(flags)) {
    if (scopes.length > 0 && scopes.every((scope) => options.optional?.has(`${name}=${scope}`))) continue;
    const { code, stderr } = await runToEnd(startable, left);
    assert.equal(
      code,
      expected,
      `without ${removed} it ended with ${code}, accepted is ${expected}; it said:\n${stderr}`,
    );
    assert.ok(
      namesFlag(stderr, name, scopes),
      `without ${removed} it did not name that flag; it said:\n${stderr}`,
    );
    tried.push(`${removed}  ->  ${stderr.split("\n", 1)[0]}`);
  }
  return tried;
}

/** Runs it to its end; a program that does not end is one that started. */
export async function runToEnd(
  { command, cwd, env }: Startable,
  flags: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { program, args } = command(flags);
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    signal: AbortSignal.timeout(START_LIMIT_MS),
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: { ...env } }),
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/**
 * Whether a text names a flag with one of these scopes. A file in a folder that was taken away counts: before the
 * configuration is read, nobody can know that the whole folder will be needed.
 */
export function namesFlag(text: string, name: string, scopes: readonly string[]): boolean {
  const named = [...text.matchAll(/--[a-z]+-[a-z]+(?:=[^\s']+)?/g)].map(([flag]) => flag);
  if (scopes.length === 0) return named.some((flag) => flag === name || flag.startsWith(`${name}=`));
  return named
    .filter((flag) => flag.startsWith(`${name}=`))
    .flatMap((flag) => flag.slice(name.length + 1).split(","))
    .some((found) => scopes.some((scope) => found === scope || isWithin(found, scope)));
}
