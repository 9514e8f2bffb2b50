/** Fetches a target's runtime from the npm registry, by npm itself: whatever registry its settings name holds here too. */
import { BuildFailure } from "./build_failure.ts";
import { npmIntegrity, sha256Hex } from "./hash.ts";
import { outputOf } from "./program.ts";
import type { RuntimePin } from "./targets.ts";

/** Where the program lies in the package. */
const PROGRAM_PATH = "package/deno";
/** Of what npm says when it fails: the first ones tell what is wrong. */
const NPM_LINES = 6;

/**
 * The package (.tgz) as it is published.
 *
 * Its integrity must be both what the registry says and what `runtime_pins.json` says: a registry that was changed is
 * refused however consistent its answers are.
 *
 * @throws {BuildFailure} if it cannot be had or is another one
 */
export async function fetchRuntimePackage(pin: RuntimePin): Promise<Uint8Array<ArrayBuffer>> {
  const spec = `${pin.package}@${pin.version}`;
  const what = `cannot use the runtime ${spec}`;
  const said = (await npm(what, ["view", spec, "dist.integrity"])).trim();
  if (said !== pin.integrity) {
    throw new BuildFailure(`${what}: the registry says its integrity is ${said}, accepted: ${pin.integrity}`);
  }
  const bytes = await packRuntime(pin.package, pin.version);
  const found = await npmIntegrity(bytes);
  if (found !== pin.integrity) {
    throw new BuildFailure(`${what}: the integrity of what came is ${found}, accepted: ${pin.integrity}`);
  }
  const program = await programSha256(bytes);
  if (program !== pin.sha256) {
    throw new BuildFailure(`${what}: the SHA-256 of its program is ${program}, accepted: ${pin.sha256}`);
  }
  return bytes;
}

/**
 * The package as npm gives it, whatever is in it.
 *
 * @throws {BuildFailure} if there is none
 */
export async function packRuntime(name: string, version: string): Promise<Uint8Array<ArrayBuffer>> {
  const what = `cannot get the runtime ${name}@${version}`;
  const folder = await Deno.makeTempDir({ prefix: "postern-runtime-" });
  try {
    await npm(what, ["pack", `${name}@${version}`, "--pack-destination", folder]);
    const [entry] = await Array.fromAsync(Deno.readDir(folder));
    if (entry === undefined) throw new BuildFailure(`${what}: npm pack wrote no file`);
    return await Deno.readFile(`${folder}/${entry.name}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs npm; its failure names the registry, and leaves out where in npm it happened. */
async function npm(what: string, words: readonly string[]): Promise<string> {
  try {
    return await outputOf(what, "npm", [...words, "--loglevel=error"]);
  } catch (error) {
    if (!(error instanceof BuildFailure)) throw error;
    const lines = error.message.split("\n").filter((line) =>
      !/^npm (?:error|ERR!)\s+(?:at |[a-z]+:|\}|$)/.test(line)
    );
    throw new BuildFailure(
      [...lines.slice(0, NPM_LINES), "it needs an npm registry: npm config get registry"].join("\n"),
    );
  }
}

/** SHA-256 of the program in a package, unpacked as the executables do it. */
export async function programSha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const tar = new Deno.Command("tar", { args: ["-xzOf", "-", PROGRAM_PATH], stdin: "piped", stdout: "piped" })
    .spawn();
  const [program] = await Promise.all([
    new Response(tar.stdout).arrayBuffer(),
    new Blob([bytes]).stream().pipeTo(tar.stdin),
  ]);
  const { success } = await tar.status;
  if (!success) throw new BuildFailure(`cannot unpack a runtime: it has no ${PROGRAM_PATH}`);
  return await sha256Hex(new Uint8Array(program));
}
