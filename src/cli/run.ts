/**
 * Dispatches a command line: parse, drop what the command does not need, load its role, turn an error into an exit
 * code.
 *
 * Every role is loaded by a literal `import()`: literal, because after the permissions are dropped nothing else can
 * be imported; lazily, so that `client send` pays for nothing but itself.
 */
import { parse, type Request } from "./parse.ts";
import type { Invocation } from "./permission_audit.ts";
import { dropUnneededPermissions } from "./permissions.ts";
import { exit, EXIT_DONE, printFailure, printResult } from "./terminal.ts";

/** Runs one command line and ends the program. */
export async function run(invocation: Invocation): Promise<never> {
  let code = EXIT_DONE;
  try {
    const request = await parse(invocation.argv);
    dropUnneededPermissions(request.kind === "command" ? request.command : undefined);
    await serve(request, invocation);
  } catch (error) {
    // The words as they are: a program that asked for JSON gets it for a command line that is wrong, too.
    code = printFailure(error, invocation.argv.includes("--json"));
  }
  exit(code);
}

async function serve(request: Request, invocation: Invocation): Promise<void> {
  if (request.kind === "version") {
    const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
    return printResult(`postern ${version}\n`);
  }
  if (request.kind === "help") {
    const { helpPage } = await import("./help.ts");
    return printResult(helpPage(request.path, invocation.mainPath));
  }
  const { command, values } = request;
  switch (command.path.join(" ")) {
    case "client send":
      return await (await import("./client_send.ts")).clientSend(values);
    case "client gen":
      return await (await import("./client_gen.ts")).clientGen(values);
    case "client connect":
      return await (await import("./client_connect.ts")).clientConnect(values);
    case "client reseed":
      return await (await import("./client_reseed.ts")).clientReseed(values);
    case "server knock":
      return await (await import("./server_knock.ts")).serverKnock(values, invocation);
    case "commander knock":
      return await (await import("./commander_knock.ts")).commanderKnock(values, invocation);
    default:
      throw new TypeError(`command "${command.path.join(" ")}" has no code`);
  }
}
