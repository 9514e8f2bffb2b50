/** Started by host.ts, which see. Standard output carries the calls: a plugin prints to standard error, if at all. */
import { Node, stdio } from "@postern/postern";
import { host, plugin } from "./contracts.ts";

await new Node()
  .serve(plugin, stdio(), {
    // `client` is the other side of the very connection that this call came on.
    render: async ({ text }, { client }) => `${await client.setting("greeting")}: ${text}`,
  }, { calls: host })
  .start();
