/**
 * Serves only; connect.ts is the other side.
 *
 *   deno run --allow-net examples/serve.ts
 */
// deno-lint-ignore-file no-console
import { ApplicationError, Node, tcp } from "@postern/postern";
import { greeter } from "./greeter.ts";

const running = await new Node()
  .serve(greeter, tcp(Deno.args[0] ?? "127.0.0.1:7412"), {
    greet: ({ name }) => {
      // The caller gets the reason and the message. Of any other error it would learn no more than "internal".
      if (name === "") throw new ApplicationError("no_name", "whom shall I greet?");
      return `Hello, ${name}!`;
    },
  })
  .start();

console.log("listening on", ...running.addresses);
