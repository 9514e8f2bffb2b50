/**
 * Connects only; serve.ts is the other side and must be running.
 *
 *   deno run --allow-net examples/connect.ts
 */
// deno-lint-ignore-file no-console
import { ApplicationError, Node, tcp } from "@postern/postern";
import { greeter } from "./greeter.ts";

await using client = await new Node()
  .connect(greeter, tcp(Deno.args[0] ?? "127.0.0.1:7412"))
  .start();

// Without a deadline of its own a call has 30 seconds.
console.log(await client.greet({ name: "world" }, { deadlineMs: 500 }));
try {
  await client.greet({ name: "" });
} catch (error) {
  if (!(error instanceof ApplicationError)) throw error;
  console.log(`refused (${error.reason}): ${error.message}`);
}
