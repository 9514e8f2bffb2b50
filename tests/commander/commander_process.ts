/** The commander as a process of its own, without the command line around it: CONFIG [COMMANDS]. */
import { loadCommanderConfig } from "../../src/commander/knock/config.ts";
import { runCommander } from "../../src/commander/knock/run.ts";
import { describeError } from "../../src/system/failure.ts";

const [configPath = "", commandsPath] = Deno.args;

function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

// Tests ask in this way what the process may still do.
Deno.addSignalListener("SIGUSR1", () => {
  say(
    JSON.stringify({ message: "net permission", state: Deno.permissions.querySync({ name: "net" }).state }),
  );
});

try {
  await runCommander(await loadCommanderConfig(configPath, commandsPath), { logFormat: "json" });
} catch (error) {
  say(describeError(error));
  Deno.exitCode = 1;
}
