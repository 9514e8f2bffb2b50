/**
 * The program with a stranger inside: runs `postern server` or `postern commander` as main.ts does, under the flags this
 * was started with. With `attempts` the stranger is alone.
 */
import { attempted } from "./inside_stranger.ts";
import { CHECKOUT } from "../../src/cli/build.ts";
import { COMMANDER_HANDLERS, SERVER_HANDLERS } from "../../src/cli/handlers.ts";
import { run } from "../../src/cli/run.ts";

if (Deno.args[0] === "attempts") {
  await attempted;
  Deno.exit(0);
}
await run({ mainPath: "inside_entry.ts", argv: Deno.args, build: CHECKOUT }, {
  ...SERVER_HANDLERS,
  ...COMMANDER_HANDLERS,
});
