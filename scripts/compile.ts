/** `deno task compile`: builds the executables of each role and target into `dist/`. `--help` says how. */
import { type Role, ROLES } from "../src/cli/command_spec.ts";
import { type BuildFacts, bundle } from "./build/bundle.ts";
import { BuildFailure } from "./build/build_failure.ts";
import { CHECKSUMS_NAME, writeChecksums } from "./build/checksums.ts";
import { sourceCommit } from "./build/commit.ts";
import { compileRole } from "./build/compile_role.ts";
import { findDenorts, hasDenorts } from "./build/denort.ts";
import { type CompileOptions, type Format, readOptions, USAGE, WrongUsage } from "./build/options.ts";
import { fetchRuntimePackage } from "./build/runtime_package.ts";
import { selfExtractingFile } from "./build/self_extracting_file.ts";
import { measureStart } from "./build/start_time.ts";
import { executableName, type Target } from "./build/targets.ts";
import { parseReleaseKey } from "../src/setup/update/release_signature.ts";
import { describeError, Failure } from "../src/system/failure.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const BUNDLE_NAME = "postern.js";
const EXECUTABLE_MODE = 0o755;
const EXIT_FAILED = 1, EXIT_USAGE = 2;

/** One file that was built. */
interface Built {
  readonly name: string;
  /** How to start it here; null if this machine cannot. */
  readonly start: readonly string[] | null;
}

async function main(): Promise<number> {
  try {
    const options = readOptions(Deno.args);
    if (options === null) print(USAGE);
    else await build(options);
    return 0;
  } catch (error) {
    if (error instanceof WrongUsage) {
      say(`error: ${error.message}`);
      say("hint: deno task compile --help");
      return EXIT_USAGE;
    }
    if (!(error instanceof BuildFailure) && !(error instanceof Failure)) throw error;
    for (const line of error.message.split("\n")) say(`error: ${line}`);
    return EXIT_FAILED;
  }
}

async function build(options: CompileOptions): Promise<void> {
  const { format, why } = await chooseFormat(options);
  say(`format: ${format} (${why})`);
  // Whatever is missing is said before anything is built.
  const denorts = format === "compile" ? await findDenorts(options.targets, options.denortFolder) : null;
  if (format === "self-extracting") refuseShellless(options.targets);
  if (options.configPath !== null && format !== "compile") {
    throw new BuildFailure(
      `cannot use --config: the ${format} format works out its permissions when it is started, accepted: --format compile`,
    );
  }
  const { releaseKeyPath } = options;
  const facts: BuildFacts = {
    root: ROOT,
    commit: await sourceCommit(ROOT),
    releaseKey: releaseKeyPath === null ? null : await readReleaseKey(releaseKeyPath),
  };
  const out = await makeFolder(options.out);
  const built: Built[] = [];
  if (denorts !== null) {
    for (const role of options.roles) {
      const code = await bundle(facts, role, "compile");
      for (const [target, denort] of denorts) {
        const name = executableName(role, target);
        const { configPath } = options;
        await compileRole({ role, target, denort, bundle: code, configPath }, `${out}/${name}`);
        built.push({ name, start: isThisMachine(target) ? [`${out}/${name}`] : null });
      }
    }
  } else if (format === "self-extracting") {
    built.push(...await buildSelfExtracting(facts, options.roles, options.targets, out));
  }
  await writeWhole(`${out}/${BUNDLE_NAME}`, await bundle(facts, null, "bundle"), 0o644);
  const start = [
    Deno.execPath(),
    "run",
    "--no-prompt",
    "--no-config",
    "--unstable-net",
    `${out}/${BUNDLE_NAME}`,
  ];
  built.push({ name: BUNDLE_NAME, start });
  await writeChecksums(out);
  say(
    `built from commit ${
      facts.commit ?? "unknown"
    } with Deno ${Deno.version.deno} into ${out}, sums in ${CHECKSUMS_NAME}`,
  );
  await report(built, out, options.quick);
}

/** Its path without links. */
async function makeFolder(path: string): Promise<string> {
  try {
    await Deno.mkdir(path, { recursive: true });
    return await Deno.realPath(path);
  } catch (error) {
    throw new BuildFailure(`cannot make the folder --out ${path}: ${describeError(error)}`);
  }
}

async function readReleaseKey(path: string): Promise<string> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new BuildFailure(`cannot read the release key: ${describeError(error)}`);
  }
  return parseReleaseKey(text, `--release-key ${path}`).toBase64();
}

async function chooseFormat(options: CompileOptions): Promise<{ format: Format; why: string }> {
  if (options.format !== null) return { format: options.format, why: "as asked for" };
  return await hasDenorts(options.targets, options.denortFolder)
    ? { format: "compile", why: "denort is at hand" }
    : { format: "self-extracting", why: "no denort is at hand; --format compile says what it needs" };
}

function refuseShellless(targets: readonly Target[]): void {
  const refused = targets.filter(({ runtime }) => runtime === null);
  if (refused.length === 0) return;
  throw new BuildFailure(
    refused.map(({ triple }) =>
      `cannot build a self-extracting executable for ${triple}: it has no shell to unpack it; ` +
      `build it with --format compile, or run ${BUNDLE_NAME} there with deno.exe`
    ).join("\n"),
  );
}

async function buildSelfExtracting(
  facts: BuildFacts,
  roles: readonly Role[],
  targets: readonly Target[],
  out: string,
): Promise<Built[]> {
  const built: Built[] = [];
  const code = await Promise.all(
    ROLES.map(async (role) => [role, await bundle(facts, role, "self-extracting")]),
  );
  const bundles = Object.fromEntries(code) as Record<Role, Uint8Array<ArrayBuffer>>;
  for (const target of targets) {
    const { triple, runtime } = target;
    if (runtime === null) continue;
    say(`fetching ${runtime.package} ${runtime.version}`);
    const runtimePackage = await fetchRuntimePackage(runtime);
    const parts = { target: triple, bundles, runtimePackage, runtimeSha256: runtime.sha256 };
    for (const role of roles) {
      const name = executableName(role, target);
      await writeWhole(`${out}/${name}`, await selfExtractingFile(parts, role), EXECUTABLE_MODE);
      built.push({ name, start: isThisMachine(target) ? [`${out}/${name}`] : null });
    }
  }
  return built;
}

function isThisMachine({ triple }: Target): boolean {
  return triple === Deno.build.target;
}

/** Never half a file, and never a change under the feet of one that runs. */
async function writeWhole(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const temporary = await Deno.makeTempFile({ dir: path.slice(0, path.lastIndexOf("/")), prefix: ".new-" });
  await Deno.writeFile(temporary, bytes);
  await Deno.chmod(temporary, mode);
  await Deno.rename(temporary, path);
}

/** Prints sizes and start times, those of an empty program first. */
async function report(built: readonly Built[], out: string, quick: boolean): Promise<void> {
  const rows = [["", "MB", "cold ms", "warm ms"]];
  const empty = `${await Deno.makeTempDir({ prefix: "postern-empty-" })}/empty.js`;
  try {
    await Deno.writeTextFile(empty, "");
    if (!quick) rows.push(["an empty file by deno run", "", ...await times([Deno.execPath(), "run", empty])]);
  } finally {
    await Deno.remove(empty.replace(/\/[^/]*$/, ""), { recursive: true });
  }
  for (const { name, start } of built) {
    const { size } = await Deno.stat(`${out}/${name}`);
    const words = start === null || quick ? null : [...start, "--version"];
    rows.push([name, (size / 1e6).toFixed(2), ...words === null ? ["", ""] : await times(words)]);
  }
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of rows) {
    print(
      row.map((cell, at) => at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)).join(
        "  ",
      ),
    );
  }
}

async function times([program = "", ...args]: readonly string[]): Promise<[cold: string, warm: string]> {
  const measured = await measureStart(program, args);
  return measured === null ? ["fails", "fails"] : [measured.coldMs.toFixed(0), measured.warmMs.toFixed(1)];
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
}

if (import.meta.main) Deno.exit(await main());
