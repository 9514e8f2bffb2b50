/** Run by transfer_interruption_test.ts: a transfer that takes for ever to end. */
import { Interruption } from "../../src/cli/transfer_interruption.ts";
import { printPrompt } from "../../src/cli/terminal.ts";

using interruption = new Interruption(() => printPrompt("cleared\n"));
interruption.signal.addEventListener("abort", () => printPrompt(`${interruption.signal.reason.message}\n`));
// A pending promise alone keeps no program alive.
setInterval(() => {}, 1000);
printPrompt("ready\n");
await new Promise(() => {});
