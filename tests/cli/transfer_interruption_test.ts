/** The first Ctrl-C, and the second. */
import assert from "node:assert/strict";
import { until } from "../e2e/until.ts";

const probePath = new URL("./transfer_interruption_probe.ts", import.meta.url).pathname;

for (
  const [signal, named, exitCode] of [["SIGINT", "Ctrl-C", 130], ["SIGTERM", "SIGTERM", 143], [
    "SIGHUP",
    "SIGHUP",
    129,
  ]] as const
) {
  Deno.test({
    name: `the first ${signal} aborts, the second ends the program at once with the terminal set right`,
    timeout: 20_000,
    async fn(): Promise<void> {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", probePath],
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      let said = "";
      const reading = (async (): Promise<void> => {
        for await (const chunk of child.stderr) said += new TextDecoder().decode(chunk);
      })();
      await until("it is ready", () => said.endsWith("ready\n"));
      child.kill(signal);
      await until("it was aborted", () => said.endsWith(`the transfer was interrupted by ${named}\n`));
      assert(!said.includes("cleared"));
      child.kill(signal);
      const { code } = await child.status;
      await reading;
      assert.equal(code, exitCode);
      assert(said.endsWith("cleared\n"), said);
    },
  });
}
