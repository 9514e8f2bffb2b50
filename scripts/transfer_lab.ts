/**
 * A transfer laboratory: a real relay, senders and receivers as processes of their own, each started with exactly the
 * permission flags that its own command line calls for, and a cable between them that can be cut. The demo shows it to
 * people, the end-to-end tests drive it.
 */
import { CHECKOUT } from "../src/cli/build.ts";
import { parse } from "../src/cli/parse.ts";
import { permissionsFor } from "../src/cli/permission_table.ts";
import { permissionFlags, permissionSet } from "../src/system/permissions.ts";
import { repositoryFolder, type StartOptions } from "./lab.ts";
import { LoggedProcess } from "./process.ts";

export { Cable } from "./cable.ts";

const HOST = "127.0.0.1";
const MAIN_PATH = new URL("../main.ts", import.meta.url).pathname;

/** The `--allow-...` flags that a command line runs under as shipped. */
export async function shippedFlags(words: readonly string[]): Promise<string[]> {
  const request = await parse(words, CHECKOUT);
  if (request.kind !== "command") throw new TypeError(`"${words.join(" ")}" is no command`);
  return permissionFlags(permissionSet(await permissionsFor(request.command, request.values)));
}

/** The words after `deno` for a command line with its shipped permissions, never prompting. */
export async function shippedWords(words: readonly string[]): Promise<string[]> {
  return ["run", "--no-prompt", ...await shippedFlags(words), MAIN_PATH, ...words];
}

/** Starts `postern server relay` on a free port of loopback and waits until it listens. */
export async function startRelay(
  words: readonly string[] = [],
  options: StartOptions & { readonly address?: string } = {},
): Promise<{ process: LoggedProcess; port: number }> {
  const { address = `${HOST}:0`, ...start } = options;
  const line = ["server", "relay", "--bind", address, ...words, "--log", "json"];
  const process = new LoggedProcess(await shippedWords(line), { ...start, cwd: repositoryFolder });
  try {
    const ready = await process.line(({ fields }) => fields["message"] === "relay ready", {
      timeoutMs: 20_000,
    });
    return { process, port: Number(String(ready.fields["address"]).split(":").at(-1)) };
  } catch (error) {
    await process.stop("SIGKILL");
    throw error;
  }
}

export interface ClientOptions extends StartOptions {
  /** Where it keeps what it needs to go on after a restart; it finds it by XDG_STATE_HOME. */
  readonly stateHome: string;
  readonly env?: Record<string, string>;
}

/**
 * Starts `postern client share` or `receive` with `--json`; its events are lines on standard output.
 *
 * @param words the word and its options, such as `["receive", CODE, "--yes"]`
 */
export async function startTransfer(
  words: readonly string[],
  options: ClientOptions,
): Promise<LoggedProcess> {
  const { stateHome, env = {}, ...start } = options;
  const environment = { ...env, XDG_STATE_HOME: stateHome };
  const line = ["client", ...words, "--json"];
  return new LoggedProcess(await withEnvironment(environment, () => shippedWords(line)), {
    ...start,
    cwd: repositoryFolder,
    env: environment,
    reads: "stdout",
  });
}

/** The table of permissions asks the environment where the state lies, so it has to be that of the process to come. */
async function withEnvironment<T>(env: Readonly<Record<string, string>>, work: () => Promise<T>): Promise<T> {
  const before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

/** Waits for an event of a client and gives its fields. */
export async function event(
  process: LoggedProcess,
  name: string,
  options: { readonly timeoutMs?: number; readonly matches?: (fields: Fields) => boolean } = {},
): Promise<Fields> {
  const { timeoutMs = 60_000, matches = () => true } = options;
  const line = await process.line(({ fields }) => fields["event"] === name && matches(fields), { timeoutMs });
  return line.fields;
}

type Fields = Readonly<Record<string, unknown>>;
