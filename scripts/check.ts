/**
 * The gate, `deno task check`: runs every check and changes nothing. One line a check; what a broken one found is
 * shown below it. Ends with 1 if any is broken.
 */
import { exampleFileName, typescriptBlocks } from "./doc_examples.ts";
import {
  forbiddenImports,
  hotPathProblems,
  type Import,
  isRuled,
  loadedAtOnce,
  readImports,
} from "./import_rules.ts";
import { permissionsPageProblems } from "./permissions_page.ts";
import { denoUses, fileNameProblem, reservedUses } from "./source_rules.ts";

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const SOURCE_FOLDERS = ["src", "tests", "scripts", "bench", "examples"];
/** `client send` begins with these; the second is what the first imports for it. */
const HOT_PATH = ["main.ts", "src/cli/client_send.ts"];
/** What the package's "./browser" begins with. */
const BROWSER_ENTRY = "src/protocol/rpc/browser.ts";

/** Shown of what one check found; the rest is more of the same. */
const MAX_LINES = 60;

/** One check; gives what it found wrong, in lines. */
interface Check {
  readonly name: string;
  readonly run: () => Promise<readonly string[]>;
}

async function main(): Promise<number> {
  const sources = await typescriptFiles();
  const ruled = sources.filter(isRuled);
  let imports: Promise<Import[]> | null = null;
  const ruledImports = (): Promise<Import[]> => imports ??= readImports(root, ruled);

  const checks: readonly Check[] = [
    { name: "format", run: () => deno("fmt", "--check") },
    { name: "lint", run: () => deno("lint") },
    { name: "types", run: () => deno("check", "--quiet", ...sources) },
    { name: "import directions", run: async () => forbiddenImports(await ruledImports()) },
    { name: "hot path of client send", run: async () => hotPathProblems(await ruledImports(), HOT_PATH) },
    {
      name: "no Deno in what browsers load",
      run: async () => await eachText(loadedAtOnce(await ruledImports(), [BROWSER_ENTRY]), denoUses),
    },
    {
      name: "public documentation",
      run: () => deno("doc", "--lint", "mod.ts", BROWSER_ENTRY),
    },
    {
      name: "file names",
      run: () => Promise.resolve(sources.map(fileNameProblem).filter((each) => each !== null)),
    },
    { name: "output and exit in one place", run: () => eachText(ruled, reservedUses) },
    { name: "examples in the documentation", run: checkExamples },
    { name: "permissions page", run: permissionsPageProblems },
  ];
  let broken = 0;
  for (const { name, run } of checks) {
    const startMs = performance.now();
    const found = await outcomeOf(run);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    print(`${found.length === 0 ? "ok    " : "BROKEN"} ${name} (${seconds} s)`);
    for (const line of found.slice(0, MAX_LINES)) print(`         ${line}`);
    if (found.length > MAX_LINES) print(`         ... and ${found.length - MAX_LINES} more lines`);
    if (found.length > 0) broken++;
  }
  print(broken === 0 ? "all checks passed" : `${broken} of ${checks.length} checks are broken`);
  return broken === 0 ? 0 : 1;
}

async function outcomeOf(run: Check["run"]): Promise<readonly string[]> {
  try {
    return await run();
  } catch (error) {
    return String(error instanceof Error ? error.message : error).split("\n");
  }
}

/** Runs a command of the runtime; gives its output if it fails. */
async function deno(...args: readonly string[]): Promise<string[]> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: root,
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0" },
  }).output();
  if (success) return [];
  const output = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
  return output.split("\n").filter((line) => line.trim() !== "");
}

async function eachText(
  paths: readonly string[],
  check: (path: string, text: string) => readonly string[],
): Promise<string[]> {
  const found = await Promise.all(
    paths.map(async (path) => check(path, await Deno.readTextFile(`${root}/${path}`))),
  );
  return found.flat();
}

/** Type-checks every example as a program or a file of one, with this repository as its library. */
async function checkExamples(): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "postern-examples-" });
  try {
    const paths: string[] = [];
    for (const document of await documents()) {
      const blocks = typescriptBlocks(document, await Deno.readTextFile(`${root}/${document}`));
      const documentFolder = `${folder}/${document.replaceAll(/[^A-Za-z0-9]/g, "_")}`;
      await Deno.mkdir(documentFolder);
      for (const [index, block] of blocks.entries()) {
        const path = `${documentFolder}/${exampleFileName(block) ?? `example_${index + 1}.ts`}`;
        await Deno.writeTextFile(path, block, { createNew: true });
        paths.push(path);
      }
    }
    if (paths.length === 0) return ["found no example at all"];
    return await deno("check", "--quiet", `--config=${root}/deno.json`, ...paths);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function documents(): Promise<string[]> {
  const found = ["README.md", "mod.ts"];
  for await (const entry of Deno.readDir(`${root}/docs`)) {
    if (entry.name.endsWith(".md")) found.push(`docs/${entry.name}`);
  }
  return found.sort();
}

async function typescriptFiles(): Promise<string[]> {
  const found = ["main.ts", "mod.ts"];
  async function walk(folder: string): Promise<void> {
    for await (const entry of Deno.readDir(`${root}/${folder}`)) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory) await walk(path);
      else if (entry.name.endsWith(".ts")) found.push(path);
    }
  }
  for (const folder of SOURCE_FOLDERS) await walk(folder);
  return found.sort();
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) Deno.exit(await main());
