/**
 * The program: `deno run main.ts client send ...`. It only hands the command line to `src/cli`; what the library
 * offers to other programs is in `mod.ts`.
 */
import { CHECKOUT } from "./src/cli/build.ts";
import * as handlers from "./src/cli/handlers.ts";
import { run } from "./src/cli/run.ts";

if (import.meta.main) {
  await run({ mainPath: import.meta.filename ?? "main.ts", argv: Deno.args, build: CHECKOUT }, {
    ...handlers.CLIENT_HANDLERS,
    ...handlers.SERVER_HANDLERS,
    ...handlers.COMMANDER_HANDLERS,
    ...handlers.SETUP_HANDLERS,
    ...handlers.COMMON_HANDLERS,
  });
}
