/** Run by role_program_test.ts: the program as an executable of the role that is its first argument would be. */
import * as handlers from "../../src/cli/handlers.ts";
import { run } from "../../src/cli/run.ts";
import { ROLES } from "../../src/cli/table.ts";

const [word, ...argv] = Deno.args;
const role = ROLES.find((each) => each === word) ?? null;
const commit = role === null ? null : "abc1234";
const build = { role, commit, releaseKey: null, executablePath: null };
await run({ mainPath: import.meta.filename ?? "", argv, build }, {
  ...handlers.CLIENT_HANDLERS,
  ...handlers.SERVER_HANDLERS,
  ...handlers.COMMANDER_HANDLERS,
  ...handlers.SETUP_HANDLERS,
  ...handlers.COMMON_HANDLERS,
});
