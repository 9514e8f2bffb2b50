/**
 * The other half of host.ts.
 *
 *   deno run --allow-net --allow-read --allow-write --allow-env=XDG_RUNTIME_DIR,HOME --allow-sys=uid examples/guest.ts
 */
// deno-lint-ignore-file no-console
import { Node, tcp } from "@postern/postern";
import { guest, host } from "./host_and_guest.ts";

const asked = Promise.withResolvers<void>();

await using client = await new Node()
  .serve(guest, tcp("127.0.0.1:0"), {
    sum: (numbers) => {
      asked.resolve();
      return numbers.reduce((sum, each) => sum + each, 0);
    },
  })
  .publish("GUEST")
  .connect(host, tcp())
  .waitFor("HOST")
  .start();

await client.report("ready");
console.log("the host was told");
// At the end, `await using` closes in order: the answer that is on its way still gets there.
await asked.promise;
