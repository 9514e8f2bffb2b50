/**
 * The program of the page: calls the server, is called by it, and shows a stream. Bundled by server.ts.
 */
/// <reference lib="dom" />
import { implement, NodeBuilder, webSocket } from "@postern/postern/browser";
import { desk, page } from "./contracts.ts";

/** Shows a line of text; never as HTML, for it comes from elsewhere. */
function show(id: string, text: string): void {
  const line = document.getElementById(id);
  if (line !== null) line.textContent = text;
}

const server = await new NodeBuilder()
  .connect(desk, webSocket(document.body.dataset["address"]), {
    serves: implement(page, { title: () => document.title }),
  })
  .start();

const greeting = await server.greet({ name: "browser" });
show("greeting", greeting);

const seen: number[] = [];
for await (const left of server.countdown({ from: 3, everyMs: 20 })) {
  seen.push(left);
  show("countdown", seen.join(" "));
}
await server.report({ shown: document.body.innerText.trim().replaceAll(/\s+/g, " ") });
