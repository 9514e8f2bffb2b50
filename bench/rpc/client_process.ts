/**
 * The calling process. Each line of its input is a load, each line of its output what that gave:
 *
 *   client_process.ts PROGRAM tcp|unix ADDRESS text|bytes
 *   client_process.ts PROGRAM worker|memory - text|bytes
 */
import { type Load, makeBody, runLoad } from "./load.ts";
import { load, LOCAL_PROGRAMS, PROGRAMS } from "./programs.ts";
import { type Caller, type Payload, payloadOf, wireOf } from "./subject.ts";

async function connect(name: string, way: string, address: string, payload: Payload): Promise<Caller> {
  if (way === "memory") return await (await load(LOCAL_PROGRAMS, name)).loop(payload);
  if (way !== "worker") return await (await load(PROGRAMS, name)).connect(wireOf(way), address, payload);
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const ready = Promise.withResolvers<void>();
  worker.addEventListener("message", ({ data }) => {
    if (data === "ready") ready.resolve();
  });
  worker.addEventListener("error", (event) => ready.reject(new Error(event.message)));
  worker.postMessage({ program: name, payload });
  await ready.promise;
  return await (await load(LOCAL_PROGRAMS, name)).connect(worker, payload);
}

async function* loads(): AsyncGenerator<Load> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield JSON.parse(line);
  }
}

const [name = "", way = "", address = "", word = ""] = Deno.args;
const payload = payloadOf(word);
const caller = await connect(name, way, address, payload);
for await (const wanted of loads()) {
  const measured = await runLoad(caller, makeBody(payload, wanted.bodyBytes), wanted);
  await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(measured)}\n`));
}
Deno.exit(0);
