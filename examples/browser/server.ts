/**
 * A program and a page in a browser that call each other over one WebSocket. Run it and open the address it prints:
 *
 *   deno run -A examples/browser/server.ts
 */
// deno-lint-ignore-file no-console
import { Node, webSocket } from "@postern/postern";
import { desk, page } from "./contracts.ts";

const html = await Deno.readTextFile(new URL("page.html", import.meta.url));
const script = await bundled("page.ts");

// The page and the WebSockets have an address each, so the listener has to be told whose pages may connect.
const pages = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, servePage);
const origin = `http://127.0.0.1:${pages.addr.port}`;

const running = await new Node()
  .serve(desk, webSocket("ws://127.0.0.1:0/", { origins: [origin] }), {
    greet: async ({ name }, { client }) =>
      `Hello, ${name}! Your page is called "${await client.title(null)}".`,
    async *countdown({ from, everyMs }, { signal }): AsyncGenerator<number> {
      for (let left = from; left > 0 && !signal.aborted; left--) {
        yield left;
        await new Promise((resolve) => setTimeout(resolve, everyMs));
      }
    },
    report: ({ shown }) => {
      console.log("a page shows:", shown);
      return null;
    },
  }, { calls: page })
  .start();

console.log("open", `${origin}/`);

function servePage(request: Request): Response {
  const { pathname } = new URL(request.url);
  if (pathname === "/page.js") return answer(script, "text/javascript");
  if (pathname !== "/") return new Response("nothing is here\n", { status: 404 });
  return answer(html.replace("{{address}}", running.addresses[0] ?? ""), "text/html");
}

function answer(body: string, type: string): Response {
  const security = `default-src 'self'; connect-src ${running.addresses[0]}`;
  return new Response(body, {
    headers: { "content-type": `${type}; charset=utf-8`, "content-security-policy": security },
  });
}

/** The page's program and all it imports as one script. */
async function bundled(file: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform=browser", `${import.meta.dirname}/${file}`],
  }).output();
  if (!success) throw new Error(`cannot bundle ${file}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}
