/** A self-extracting executable with a runtime that only writes down how it is started, and answers what it is told. */
import assert from "node:assert/strict";
import { sha256Hex } from "../../scripts/build/hash.ts";
import { selfExtractingFile } from "../../scripts/build/self_extracting_file.ts";
import type { Role } from "../../src/cli/command_spec.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { start, type Started, type StartOptions } from "./started.ts";

// Its words one a line, `end` behind the last; how it is to keep memory; then what it read, if it is asked for flags.
const RUNTIME = `#!/bin/sh
[ "\${1-}" != --version ] || exit 0
printf '%s\\n' "$@" end >>"$RECORD/starts"
printf '%s\\n' "\${MALLOC_ARENA_MAX-unset}" >>"$RECORD/arenas"
case " $* " in *" permissions --flags -- "*) cat >>"$RECORD/input"; cat "$RECORD/flags"; exit "$CODE" ;; esac
`;

/** How the runtime was started, and what came of the executable. */
export interface Recorded extends Started {
  /** The words of each start, the folders of runtime and bundle left out. */
  readonly starts: readonly (readonly string[])[];
  /** MALLOC_ARENA_MAX at each start. */
  readonly arenas: readonly string[];
  /** What it could read while it was asked for flags. */
  readonly input: string;
}

export class FakeRuntime implements AsyncDisposable {
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
  }

  /** Puts an executable of each of these roles together. */
  static async make(roles: readonly Role[]): Promise<FakeRuntime> {
    const folder = await TempFolder.make("fake-runtime");
    const { path } = folder;
    await Deno.mkdir(`${path}/package`);
    await Deno.writeTextFile(`${path}/package/deno`, RUNTIME, { mode: 0o755 });
    const packed = await new Deno.Command("tar", {
      args: ["-czf", `${path}/runtime.tgz`, "-C", path, "package"],
    })
      .output();
    assert(packed.success);
    const bundleOf = (role: Role): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`// ${role}\n`);
    const parts = {
      target: Deno.build.target,
      bundles: {
        client: bundleOf("client"),
        server: bundleOf("server"),
        commander: bundleOf("commander"),
        setup: bundleOf("setup"),
      },
      runtimePackage: await Deno.readFile(`${path}/runtime.tgz`),
      runtimeSha256: await sha256Hex(new TextEncoder().encode(RUNTIME)),
    };
    for (const role of roles) {
      await Deno.writeFile(`${path}/${role}`, await selfExtractingFile(parts, role), { mode: 0o755 });
    }
    return new FakeRuntime(folder);
  }

  path(role: Role): string {
    return `${this.#folder.path}/${role}`;
  }

  /** Starts a role's executable; the runtime answers with these flags and this code. */
  async start(
    role: Role,
    words: readonly string[],
    { flags = "", code = 0, ...options }: StartOptions & { flags?: string; code?: number } = {},
  ): Promise<Recorded> {
    const record = await Deno.makeTempDir({ dir: this.#folder.path });
    await Deno.writeTextFile(`${record}/flags`, flags);
    const env = {
      POSTERN_CACHE_DIR: `${this.#folder.path}/cache`,
      RECORD: record,
      CODE: `${code}`,
      ...options.env,
    };
    const started = await start(this.path(role), words, { ...options, env });
    const text = (name: string): Promise<string> => Deno.readTextFile(`${record}/${name}`).catch(() => "");
    const lines = (await text("starts")).replace(/\S+\/postern\.mjs$/gm, "BUNDLE").split("\nend\n").slice(
      0,
      -1,
    );
    const arenas = (await text("arenas")).split("\n").slice(0, -1);
    return { ...started, starts: lines.map((each) => each.split("\n")), arenas, input: await text("input") };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}
