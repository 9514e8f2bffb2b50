/**
 * The program with a stranger inside: at SIGUSR1 it tries what a relay must not be able to do, and tells on standard
 * error what came of it. `--max-parked` is the port of a service on loopback.
 */
import { CHECKOUT } from "../../src/cli/build.ts";
import { SERVER_HANDLERS } from "../../src/cli/handlers.ts";
import { run } from "../../src/cli/run.ts";

const port = Number(Deno.args[Deno.args.indexOf("--max-parked") + 1]);

const ATTEMPTS: Readonly<Record<string, () => unknown>> = {
  "connect": async () => (await Deno.connect({ hostname: "127.0.0.1", port })).close(),
  "connect to itself": async () => (await Deno.connect({ hostname: "127.0.0.1", port: 8080 })).close(),
  "listen": () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close(),
  "listen on a datagram socket": () =>
    Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 }).close(),
  "resolve a name": () => Deno.resolveDns("localhost", "A", { nameServer: { ipAddr: "127.0.0.1", port } }),
  "fetch": () => fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(1000) }),
  "read a file": () => Deno.readTextFile("/etc/hostname"),
  "write a file": () => Deno.writeTextFile("/tmp/postern-relay-stranger", "x"),
  "run a program": () => new Deno.Command("/bin/true").output(),
  "see the environment": () => Deno.env.get("PATH"),
  "see the machine": () => Deno.hostname(),
  "load a library": () => Deno.dlopen("libc.so.6", {}),
};

async function outcomeOf(act: () => unknown): Promise<string> {
  try {
    await act();
    return "done";
  } catch (error) {
    return error instanceof Deno.errors.NotCapable ? "refused" : String(error);
  }
}

Deno.addSignalListener("SIGUSR1", async () => {
  const attempts: Record<string, string> = {};
  for (const [what, act] of Object.entries(ATTEMPTS)) attempts[what] = await outcomeOf(act);
  Deno.stderr.writeSync(new TextEncoder().encode(`${JSON.stringify({ attempts })}\n`));
});

await run(
  { mainPath: import.meta.filename ?? "", argv: Deno.args, build: CHECKOUT },
  SERVER_HANDLERS,
);
