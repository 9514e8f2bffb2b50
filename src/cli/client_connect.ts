/** `postern client connect`. */
import { connectThroughKnock } from "../client/knock/connect.ts";
import { UsageFailure } from "../system/failure.ts";
import { knockOptions } from "./knock_options.ts";
import type { OptionValues } from "./parse.ts";
import { printNotice } from "./terminal.ts";

/** Knocks until the port opens, then is a pipe to it. Standard output carries the connection's bytes alone. */
export async function clientConnect(values: OptionValues): Promise<void> {
  if (values.text("key") === "-") {
    throw new UsageFailure(
      "cannot read the key from standard input: it carries the connection here, accepted: -K FILE",
      { hint: "postern client connect --help" },
    );
  }
  await connectThroughKnock(
    { knock: await knockOptions(values), to: values.requiredText("to"), waitMs: values.number("wait") },
    { input: Deno.stdin, output: Deno.stdout },
    printNotice,
  );
}
