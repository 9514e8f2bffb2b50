/**
 * Pins the Deno runtimes that self-extracting executables carry:
 *
 *   deno run -A scripts/pin_runtimes.ts VERSION [TARGET...]
 *
 * Fetches the package of each target (all of them by default) and writes its integrity and the SHA-256 of its program
 * into scripts/build/runtime_pins.json. Compare the integrity with what others see before you commit it: from then on
 * every build believes it.
 */
import { npmIntegrity } from "./build/hash.ts";
import { packRuntime, programSha256 } from "./build/runtime_package.ts";
import { type RuntimePin, TARGETS } from "./build/targets.ts";
import pins from "./build/runtime_pins.json" with { type: "json" };

const PINS_URL = new URL("./build/runtime_pins.json", import.meta.url);

const [version, ...triples] = Deno.args;
const isKnown = (triple: string): boolean =>
  TARGETS.some((each) => each.triple === triple && each.runtime !== null);
if (version === undefined || !/^\d+\.\d+\.\d+$/.test(version) || !triples.every(isKnown)) {
  Deno.stderr.writeSync(
    new TextEncoder().encode("usage: deno run -A scripts/pin_runtimes.ts VERSION [TARGET...]\n"),
  );
  Deno.exit(2);
}
const found: Record<string, RuntimePin> = { ...pins };
for (const { triple, runtime } of TARGETS) {
  if (runtime === null || (triples.length > 0 && !triples.includes(triple))) continue;
  const bytes = await packRuntime(runtime.package, version);
  found[triple] = {
    package: runtime.package,
    version,
    integrity: await npmIntegrity(bytes),
    sha256: await programSha256(bytes),
  };
}
await Deno.writeTextFile(PINS_URL, `${JSON.stringify(found, null, 2)}\n`);
