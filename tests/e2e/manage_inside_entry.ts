/**
 * A command of the manage job with a stranger inside: at SIGUSR1 it tries, in the process itself, what that command must
 * not be able to do, and tells on standard error what came of it. Then it works on.
 *
 *   manage_inside_entry.ts PLACES WORDS...     PLACES is JSON; without words the stranger is alone, and tries at once
 */
import { CHECKOUT } from "../../src/cli/build.ts";
import { CLIENT_HANDLERS, COMMANDER_HANDLERS, SERVER_HANDLERS } from "../../src/cli/handlers.ts";
import { run } from "../../src/cli/run.ts";
import { outcomeOf } from "./inside_attempts.ts";

/** Where it reaches for. */
export interface StrangerPlaces {
  /** A folder that has nothing to do with it, with a file `file` in it. */
  readonly elsewhere: string;
  /** Somebody listens there on 127.0.0.1. */
  readonly port: number;
}

const ATTEMPTS: Readonly<Record<string, (places: StrangerPlaces) => unknown>> = {
  "run a program": () => new Deno.Command("/bin/true").output(),
  "run a program by its name": () => new Deno.Command("true").output(),
  "run another shell": () => new Deno.Command("/bin/bash", { args: ["-c", "true"] }).output(),
  "run the runtime": () => new Deno.Command(Deno.execPath(), { args: ["--version"] }).output(),
  "signal another process": () => Deno.kill(Deno.ppid, "SIGCONT"),
  "load a library": () => Deno.dlopen("/lib/x86_64-linux-gnu/libc.so.6", {}).close(),
  "see the environment": () => Deno.env.toObject(),
  "see a variable": () => Deno.env.get("PATH"),
  "see the host's name": () => Deno.hostname(),
  "see the interfaces": () => Deno.networkInterfaces(),
  "read a file of the system": () => Deno.readTextFile("/etc/hostname"),
  "read elsewhere": ({ elsewhere }) => Deno.readTextFile(`${elsewhere}/file`),
  "list a folder elsewhere": ({ elsewhere }) => Array.fromAsync(Deno.readDir(elsewhere)),
  "write elsewhere": ({ elsewhere }) => Deno.writeTextFile(`${elsewhere}/planted`, "x"),
  "remove elsewhere": ({ elsewhere }) => Deno.remove(`${elsewhere}/file`),
  "write into /tmp": () => Deno.remove(Deno.makeTempFileSync({ dir: "/tmp" })),
  "make a database elsewhere": async ({ elsewhere }) => {
    const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(`${elsewhere}/planted.db`).close();
  },
  "attach a database elsewhere": async ({ elsewhere }) => {
    const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(":memory:").exec(`ATTACH '${elsewhere}/attached.db' AS other`);
  },
  "connect elsewhere": ({ port }) => Deno.connect({ hostname: "127.0.0.1", port }).then((c) => c.close()),
  "connect elsewhere by node:net": async ({ port }) => {
    const { connect } = await import("node:net");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect(port, "127.0.0.1", resolve).on("error", reject);
    await promise.finally(() => socket.destroy());
  },
  "fetch": async ({ port }) => {
    await (await fetch(`http://127.0.0.1:${port}/`)).body?.cancel();
  },
  "ask the DNS": () => Deno.resolveDns("postern.invalid", "A"),
  "listen on every address": () => Deno.listen({ hostname: "0.0.0.0", port: 0 }).close(),
  "listen on another address": () => Deno.listen({ hostname: "127.0.0.2", port: 0 }).close(),
  "listen for datagrams": () =>
    Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.2", port: 0 }).close(),
  "import a computed path": ({ elsewhere }) => import(`file://${elsewhere}/file`),
  "import from the network": ({ port }) => import(`http://127.0.0.1:${port}/module.js`),
  "ask for more": async () => {
    const { state } = await Deno.permissions.request({ name: "run" });
    if (state !== "granted") throw new Deno.errors.NotCapable(state);
  },
};

async function attempt(places: StrangerPlaces): Promise<void> {
  const attempts: Record<string, string> = {};
  for (const [what, act] of Object.entries(ATTEMPTS)) attempts[what] = await outcomeOf(() => act(places));
  Deno.stderr.writeSync(new TextEncoder().encode(`${JSON.stringify({ attempts })}\n`));
}

if (import.meta.main) {
  const [text = "", ...argv] = Deno.args;
  const places: StrangerPlaces = JSON.parse(text);
  if (argv.length === 0) {
    await attempt(places);
    Deno.exit(0);
  }
  Deno.addSignalListener("SIGUSR1", () => void attempt(places));
  await run({ mainPath: import.meta.filename ?? "", argv, build: CHECKOUT }, {
    ...CLIENT_HANDLERS,
    ...SERVER_HANDLERS,
    ...COMMANDER_HANDLERS,
  });
}
