import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../../src/protocol/transport/conformance.ts";
import { mmapRing } from "../../../../src/protocol/transport/ring/mmap.ts";
import { unsupportedSystem } from "../../../../src/protocol/transport/ring/mmap_libc.ts";
import { privateFolder } from "./private_folder.ts";

const problem = unsupportedSystem(Deno.build.os, Deno.build.arch);
const reason = problem === null ? "" : ` (skipped: ${problem})`;

const folder = privateFolder();
const transport = mmapRing(`${folder}/ring.sock`);

for (const { name, run } of transportConformance(pairsOf(transport))) {
  Deno.test({ name: `mmapRing(): a connection ${name}${reason}`, ignore: problem !== null, fn: run });
}
for (const { name, run } of listenerConformance(transport)) {
  Deno.test({ name: `mmapRing(): a listener ${name}${reason}`, ignore: problem !== null, fn: run });
}
