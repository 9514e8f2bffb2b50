/**
 * Starts a plugin as a child process and talks to it over its standard input and output. The plugin has no permission
 * at all: what it needs, it asks the host for.
 *
 *   deno run --allow-run=deno examples/plugin/host.ts
 */
// deno-lint-ignore-file no-console
import { childStdio, implement, Node } from "@postern/postern";
import { host, plugin } from "./contracts.ts";

const settings = new Map([["greeting", "Good morning"]]);

await using client = await new Node()
  .connect(
    plugin,
    childStdio({ command: "deno", args: ["run", "--no-prompt", import.meta.resolve("./plugin.ts")] }),
    {
      serves: implement(host, { setting: (name) => settings.get(name) ?? null }),
    },
  )
  .start();

console.log(await client.render({ text: "the plugin lives" }));
