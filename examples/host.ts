/**
 * Host and guest publish themselves under a name and wait for each other, in whichever order they are started. Nobody
 * is told an address: the services that run are listed in a folder that only this user can read.
 *
 *   deno run --allow-net --allow-read --allow-write --allow-env=XDG_RUNTIME_DIR,HOME --allow-sys=uid examples/host.ts
 */
// deno-lint-ignore-file no-console
import { Node, tcp } from "@postern/postern";
import { guest, host } from "./host_and_guest.ts";

const reported = Promise.withResolvers<void>();

await using client = await new Node()
  // Port 0: any free one. Its number is part of what is published.
  .serve(host, tcp("127.0.0.1:0"), {
    report: (line) => {
      console.log("the guest reports:", line);
      reported.resolve();
    },
  })
  .publish("HOST")
  .connect(guest, tcp())
  .waitFor("GUEST")
  .start();

console.log("the guest adds up:", await client.sum([1, 2, 3]));
await reported.promise;
