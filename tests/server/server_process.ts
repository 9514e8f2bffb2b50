/**
 * The smallest program around the knock server: `server_process.ts CONFIG`. Tests run it as a process of its own,
 * with exactly the server's permissions, and without what the command line adds.
 */
import { loadServerConfig } from "../../src/server/knock/config.ts";
import { runServer } from "../../src/server/knock/run.ts";
import { describeError } from "../../src/system/failure.ts";

try {
  const config = await loadServerConfig(Deno.args[0] ?? "");
  await runServer(config, { logFormat: "json" });
} catch (error) {
  Deno.stderr.writeSync(new TextEncoder().encode(`error: ${describeError(error)}\n`));
  Deno.exit(1);
}
Deno.exit(0);
