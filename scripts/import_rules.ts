/**
 * Which file may import which: the trust diagram, enforced.
 *
 *   main -> cli -> setup -> client | server | commander -> protocol, system
 *   mod  -> client, rpc, protocol, system
 *   rpc  -> protocol, system
 *
 * Client, server and commander never import each other, and nobody of them imports setup, which installs and examines
 * them all and runs as root for a moment; rpc, the machine's part of the RPC library, is nobody's but the library's;
 * protocol and system know nobody, and not each other. What `client send` loads
 * at once, its hot path, takes nothing from `node:` and nothing from npm but the ciphers.
 */

/** One import as the runtime resolves it. Paths are relative to the repository. */
export interface Import {
  readonly from: string;
  /** A path in the repository, or `npm:...`, `node:...` and the like. */
  readonly to: string;
  readonly isDynamic: boolean;
}

const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["cli"],
  "mod.ts": ["client", "rpc", "protocol", "system"],
  cli: ["cli", "setup", "client", "server", "commander", "protocol", "system"],
  setup: ["setup", "client", "server", "commander", "protocol", "system"],
  client: ["client", "protocol", "system"],
  server: ["server", "protocol", "system"],
  commander: ["commander", "protocol", "system"],
  rpc: ["rpc", "protocol", "system"],
  protocol: ["protocol"],
  system: ["system"],
};

/** The version in `deno.json` is the one file outside of `src/` that a source may read. */
const VERSION_FILE = "deno.json";
/** The files that an installation begins with, taken as text; what reads a setting's default from them too. */
const INSTALLED_FILES = /^deploy\//;
const EXTERNAL = /^[a-z]+:/;
/** Audited, without dependencies but each other: the ciphers, hashes and curves, and the list of words. */
const NOBLE = /^npm:\/?(?:@noble\/|@scure\/bip39@[^/]*\/wordlists\/english\.js)/;

/** The sources the rules are for: `main.ts`, `mod.ts` and everything below `src/`. */
export function isRuled(path: string): boolean {
  return layerOf(path) !== null;
}

/** Every import that is against the rules, in words. */
export function forbiddenImports(imports: readonly Import[]): string[] {
  const found: string[] = [];
  for (const each of imports) {
    const { from, to } = each;
    const problem = isFreeSpace(each) || isPinnedTls(each) ? null : problemOf(from, to);
    if (problem !== null) found.push(`${from} imports ${to}: ${problem}`);
  }
  return found;
}

/** Deno has no statfs of its own. */
function isFreeSpace({ from, to, isDynamic }: Import): boolean {
  return from === "src/client/transfer/free_space.ts" && to === "node:fs/promises" && isDynamic;
}

/** Deno's own TLS shows no certificate to the side that dials, and cannot be held to version 1.3. */
function isPinnedTls({ from, to }: Import): boolean {
  return from === "src/protocol/transport/pinned_tls.ts" && to === "node:tls";
}

function problemOf(from: string, to: string): string | null {
  const layer = layerOf(from);
  if (layer === null) return null;
  const external = EXTERNAL.exec(to)?.[0];
  if (external !== undefined) {
    if (external !== "npm:" && external !== "node:") {
      return "only npm and node are allowed besides the repository";
    }
    if (layer === "protocol" && !NOBLE.test(to)) {
      return "protocol takes nothing but @noble, and the words of @scure/bip39, from outside";
    }
    if (/^node:fs\b/.test(to)) return "files are used by Deno's own functions";
    return null;
  }
  if (to === VERSION_FILE && layer === "cli") return null;
  if (INSTALLED_FILES.test(to) && (layer === "cli" || layer === "setup")) return null;
  const target = layerOf(to);
  if (target === null) return "it lies outside of the sources";
  const allowed = MAY_IMPORT[layer] ?? [];
  return allowed.includes(target) ? null : `${layer} may import ${allowed.join(", ")}`;
}

/** `main.ts`, `mod.ts`, or the folder below `src/`; null for anything else. */
function layerOf(path: string): string | null {
  if (path === "main.ts" || path === "mod.ts") return path;
  const folder = /^src\/([^/]+)\/.+\.ts$/.exec(path)?.[1];
  return folder !== undefined && folder in MAY_IMPORT ? folder : null;
}

/**
 * What is on the hot path and must not be there.
 *
 * @param entries the files it begins with: the program, and what it imports dynamically on this path
 */
export function hotPathProblems(imports: readonly Import[], entries: readonly string[]): string[] {
  const found: string[] = [];
  for (const from of loadedAtOnce(imports, entries)) {
    if (!imports.some((each) => each.from === from || each.to === from)) {
      found.push(`${from} is no source of this program`);
    }
    for (const { to } of imports.filter((each) => each.from === from && !each.isDynamic)) {
      if (EXTERNAL.test(to) && !NOBLE.test(to)) {
        found.push(`${from} imports ${to} at once, and client send would pay for it`);
      }
    }
  }
  return found;
}

/** Every file of the repository that is loaded with the entries, these included; a dynamic import is not followed. */
export function loadedAtOnce(imports: readonly Import[], entries: readonly string[]): string[] {
  const reached = new Set(entries);
  for (const from of reached) {
    for (const each of imports) {
      if (each.from === from && !each.isDynamic && !EXTERNAL.test(each.to)) reached.add(each.to);
    }
  }
  return [...reached];
}

/**
 * Asks the runtime what the given files import; code and types count alike.
 *
 * @param root folder of the repository, with its deno.json
 * @param paths files relative to it
 * @throws {Error} if a file cannot be parsed or an import not be resolved
 */
export async function readImports(root: string, paths: readonly string[]): Promise<Import[]> {
  const folder = await Deno.makeTempDir({ prefix: "postern-imports-" });
  try {
    const rootsPath = `${folder}/roots.ts`;
    await Deno.writeTextFile(rootsPath, paths.map((path) => `import "file://${root}/${path}";\n`).join(""));
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", `--config=${root}/deno.json`, rootsPath],
    }).output();
    if (!success) throw new Error(`cannot read imports: ${new TextDecoder().decode(stderr)}`);
    return importsOf(JSON.parse(new TextDecoder().decode(stdout)), root, new Set(paths));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

interface Resolved {
  readonly specifier?: string;
  readonly error?: string;
}

interface ModuleGraph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly specifier: string;
      readonly code?: Resolved;
      readonly type?: Resolved;
      readonly isDynamic?: boolean;
    }[];
  }[];
}

function importsOf(graph: ModuleGraph, root: string, paths: ReadonlySet<string>): Import[] {
  const imports: Import[] = [];
  const seen = new Set<string>();
  for (const { specifier, error, dependencies = [] } of graph.modules) {
    const from = relative(specifier, root);
    if (!paths.has(from)) continue;
    if (error !== undefined) throw new Error(`cannot read ${from}: ${error}`);
    seen.add(from);
    for (const dependency of dependencies) {
      const resolved = dependency.code ?? dependency.type;
      if (resolved?.specifier === undefined) {
        throw new Error(
          `cannot resolve "${dependency.specifier}" in ${from}: ${resolved?.error ?? "no such file"}`,
        );
      }
      imports.push({
        from,
        to: relative(resolved.specifier, root),
        isDynamic: dependency.isDynamic === true,
      });
    }
  }
  for (const path of paths) {
    if (!seen.has(path)) throw new Error(`cannot read the imports of ${path}: the runtime does not list it`);
  }
  return imports;
}

function relative(specifier: string, root: string): string {
  const prefix = `file://${root}/`;
  return specifier.startsWith(prefix) ? specifier.slice(prefix.length) : specifier;
}
