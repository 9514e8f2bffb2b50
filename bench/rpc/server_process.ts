/**
 * The answering process, until it is killed; prints its address:
 *
 *   server_process.ts PROGRAM tcp|unix ADDRESS text|bytes
 */
import { load, PROGRAMS } from "./programs.ts";
import { payloadOf, wireOf } from "./subject.ts";

const [name = "", wire = "", address = "", payload = ""] = Deno.args;
const program = await load(PROGRAMS, name);
const server = await program.serve(wireOf(wire), address, payloadOf(payload));
await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(server)}\n`));
