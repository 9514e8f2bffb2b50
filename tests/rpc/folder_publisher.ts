/** Publishes a service in the folder that is its argument, says so on a line, and stays until it is killed. */
import { folderDiscovery } from "../../src/rpc/discovery_folder.ts";

const [folder = "", name = "MATH"] = Deno.args;
const { record } = await folderDiscovery({ folder }).publish({
  name,
  transport: "tcp",
  codec: "json",
  addresses: ["127.0.0.1:1"],
});
await Deno.stdout.write(new TextEncoder().encode(`${record.instance}\n`));
await new Promise(() => setInterval(() => {}, 1_000));
