/**
 * Server and client in one process: a call, and a stream.
 *
 *   deno run --allow-net examples/loopback.ts
 */
// deno-lint-ignore-file no-console
import { call, contract, Node, stream, tcp } from "@postern/postern";

// What can be called, with the types of what goes in and comes out. Both sides build it from the same source.
const math = contract({
  add: call<{ a: number; b: number }, number>(),
  countdown: stream<{ from: number }, number>(),
});

// Port 0: any free one. A node that connects over the very transport it serves on finds itself.
const transport = tcp("127.0.0.1:0");

// `await using` closes the connection and the listener at the end, also when something throws.
await using client = await new Node()
  .serve(math, transport, {
    add: ({ a, b }) => a + b,
    async *countdown({ from }): AsyncGenerator<number> {
      for (let left = from; left > 0; left--) yield left;
    },
  })
  .connect(math, transport)
  .start();

console.log("1 + 2 =", await client.add({ a: 1, b: 2 }));
for await (const left of client.countdown({ from: 3 })) console.log(left);
