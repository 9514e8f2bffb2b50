/**
 * The runtime, the sources and the packages where every user can read them: a checkout, and a runtime that came with
 * npm, often lie in a folder that only its owner may enter.
 */
import assert from "node:assert/strict";
import { repositoryFolder } from "../scripts/lab.ts";

const COPY = `
set -e
mkdir -p "$1/cache" "$1/repository"
cp "$2" "$1/deno"
cp -r "$3" "$1/cache/npm"
cd "$4"
cp -r src scripts tests main.ts deno.json deno.lock "$1/repository"
chmod -R a+rX "$1"
`;

/** A copy in a temporary folder; disposing of it removes the folder. */
export class CopyForEverybody implements Disposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static make(): CopyForEverybody {
    const info = new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).outputSync();
    const { npmCache } = JSON.parse(new TextDecoder().decode(info.stdout));
    const copy = new CopyForEverybody(Deno.makeTempDirSync({ prefix: "postern-everybody-" }));
    const { success, stderr } = new Deno.Command("sh", {
      args: ["-c", COPY, "sh", copy.#folder, Deno.execPath(), npmCache, repositoryFolder],
    }).outputSync();
    assert.ok(success, new TextDecoder().decode(stderr));
    return copy;
  }

  get denoPath(): string {
    return `${this.#folder}/deno`;
  }

  /** With a slash at its end, as `repositoryFolder`. */
  get repositoryFolder(): string {
    return `${this.#folder}/repository/`;
  }

  /** For `DENO_DIR`. */
  get cacheFolder(): string {
    return `${this.#folder}/cache`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}
