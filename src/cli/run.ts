/**
 * Dispatches a command line: parse, drop what the command does not need, load its role, turn an error into an exit
 * code.
 */
import type { Handlers } from "./handlers.ts";
import { parse, type Request } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { dropUnneededPermissions } from "./permissions.ts";
import { exit, EXIT_DONE, printFailure, printResult, tellInWords } from "./terminal.ts";

/** Runs one command line and ends the program. */
export async function run(invocation: Invocation, handlers: Handlers): Promise<never> {
  const { argv, build: { role } } = invocation;
  let code = EXIT_DONE;
  try {
    if (role !== null) {
      const { inWordsOf } = await import("./program_words.ts");
      tellInWords((text) => inWordsOf(role, text));
    }
    const request = await parse(argv, invocation.build);
    dropUnneededPermissions(request.kind === "command" ? request.command : undefined);
    await serve(request, invocation, handlers);
  } catch (error) {
    // The words as they are: a program that asked for JSON gets it for a command line that is wrong, too.
    code = printFailure(error, argv.includes("--json"));
  }
  exit(code);
}

async function serve(request: Request, invocation: Invocation, handlers: Handlers): Promise<void> {
  if (request.kind === "version") {
    const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
    const { commit } = invocation.build;
    return printResult(commit === null ? `postern ${version}\n` : `postern ${version} (commit ${commit})\n`);
  }
  if (request.kind === "help") {
    const { helpPage } = await import("./help.ts");
    return printResult(helpPage(request.path, invocation));
  }
  const { command, values } = request;
  const handler = handlers[command.path.join(" ")];
  if (handler === undefined) throw new TypeError(`command "${command.path.join(" ")}" has no code`);
  await handler(values, invocation);
}
