/** Bundles of JavaScript: one for each role, and one of the whole program. */
import { type Role, ROLES } from "../../src/cli/command_spec.ts";
import { outputOf } from "./program.ts";

/** How the bundle is started, which decides where it finds the words and its own executable. */
export type BundleForm = "self-extracting" | "compile" | "bundle";

/** What is written into a bundle, besides its role. */
export interface BuildFacts {
  /** Folder of the repository. */
  readonly root: string;
  readonly commit: string | null;
  /** Ed25519 public key in base64. */
  readonly releaseKey: string | null;
}

const MAX_ATTEMPTS = 3;

/**
 * Bundles the program for one role; null: for all of them.
 *
 * Minified, not for the start, which it does not change, but because the names of the module cache's folders are gone
 * from it then, so that everybody gets the same bytes.
 *
 * @throws {BuildFailure} if the sources cannot be bundled
 */
export async function bundle(
  facts: BuildFacts,
  role: Role | null,
  form: BundleForm,
): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await Deno.makeTempDir({ prefix: "postern-bundle-" });
  try {
    await Deno.writeTextFile(`${folder}/entry.ts`, entrySource(facts, role, form));
    const words = [
      ...["bundle", "--quiet", "--minify", "--frozen", "--config", `${facts.root}/deno.json`],
      ...["--output", `${folder}/postern.js`, `${folder}/entry.ts`],
    ];
    for (let attempt = 1;; attempt++) {
      try {
        await outputOf(`cannot bundle ${role ?? "the program"}`, Deno.execPath(), words, {
          cwd: facts.root,
          env: { NO_COLOR: "1" },
        });
        break;
      } catch (error) {
        // Two first bundles at once get in each other's way while the runtime puts its bundler into the cache.
        if (attempt === MAX_ATTEMPTS || !String(error).includes("failed to copy esbuild")) throw error;
      }
    }
    return await Deno.readFile(`${folder}/postern.js`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** How each form learns what the user typed. */
const START: Readonly<
  Record<BundleForm, { words: string; executable: string; main: (role: string) => string }>
> = {
  // The header passes the executable's path first.
  "self-extracting": {
    words: "const [executable = null, ...argv] = Deno.args;",
    executable: "executable",
    main: (role) => `executable ?? "postern-${role}"`,
  },
  compile: {
    words: "const argv = Deno.args;",
    executable: "null",
    main: (role) => JSON.stringify(`postern-${role}`),
  },
  bundle: {
    words: "const argv = Deno.args;",
    executable: "null",
    main: () => 'import.meta.filename ?? "postern.js"',
  },
};

function entrySource({ root, commit, releaseKey }: BuildFacts, role: Role | null, form: BundleForm): string {
  const { words, executable, main } = START[form];
  // Only the role's own table: the bundler leaves out what no table in use names.
  const tables = [...(role === null ? ROLES : [role]), "common"].map((each) =>
    `${each.toUpperCase()}_HANDLERS`
  );
  const folder = root.split("/").map(encodeURIComponent).join("/");
  const source = (path: string): string => JSON.stringify(`file://${folder}/src/cli/${path}`);
  return `import { ${tables.join(", ")} } from ${source("handlers.ts")};
import { run } from ${source("run.ts")};
${words}
await run({
  mainPath: ${main(role ?? "")},
  argv,
  build: {
    role: ${JSON.stringify(role)},
    commit: ${JSON.stringify(commit)},
    releaseKey: ${JSON.stringify(releaseKey)},
    executablePath: ${executable},
  },
}, { ${tables.map((table) => `...${table}`).join(", ")} });
`;
}
