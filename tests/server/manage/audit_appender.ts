/** A program that appends to the audit of a folder until it is killed or has done its part, and prints each number. */
import { openDataFolder } from "../../../src/server/manage/data_folder.ts";
import { Registry } from "../../../src/server/manage/registry.ts";

const [folder = "", name = "", count = "0"] = Deno.args;
const encoder = new TextEncoder();
using registry = await Registry.open(await openDataFolder(folder));
for (let n = 0; n < Number(count); n++) {
  const { number } = registry.audit.append("link_up", { host: name, n, filler: "x".repeat(n % 500) });
  // Printed when it is durable, never before.
  Deno.stdout.writeSync(encoder.encode(`${number} ${name} ${n}\n`));
}
