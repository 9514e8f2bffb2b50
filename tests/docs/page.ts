/** The shell commands of a page of the documentation, as a reader would copy them. */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";

/** One fenced `sh` block. */
export interface PageBlock {
  /** The comment in front of it says `<!-- step: NAME -->`; null: it says `<!-- not run: REASON -->`. */
  readonly step: string | null;
  readonly text: string;
}

const MARKED_BLOCK = /^(?:<!-- (step|not run): ([^>]*) -->\n+)?```sh\n([\s\S]*?)^```$/gm;

/**
 * Every `sh` block of a page, in order.
 *
 * @param path relative to the repository
 */
export async function pageBlocks(path: string): Promise<PageBlock[]> {
  const text = await Deno.readTextFile(`${repositoryFolder}/${path}`);
  const blocks = [...text.matchAll(MARKED_BLOCK)].map(([, kind, words = "", code = ""]) => {
    // A block that nobody marked is one that nobody runs.
    assert(kind !== undefined, `${path}: this block is not marked as a step:\n${code}`);
    return { step: kind === "step" ? words : null, text: code };
  });
  assert.equal(blocks.length, text.match(/^```sh$/gm)?.length, `${path}: every sh block is found`);
  const steps = blocks.flatMap(({ step }) => step ?? []);
  assert.equal(new Set(steps).size, steps.length, `${path}: every step has a name of its own`);
  return blocks;
}

/** The steps of a page by name; taking one that is not there fails, and so does leaving one out. */
export class PageSteps {
  readonly #path: string;
  readonly #left: Map<string, string>;

  private constructor(path: string, steps: Map<string, string>) {
    this.#path = path;
    this.#left = steps;
  }

  static async read(path: string): Promise<PageSteps> {
    const blocks = await pageBlocks(path);
    return new PageSteps(
      path,
      new Map(blocks.flatMap(({ step, text }) => step === null ? [] : [[step, text]])),
    );
  }

  /** The text of a step, once. */
  take(name: string): string {
    const text = this.#left.get(name);
    assert(text !== undefined, `${this.#path} has no step "${name}" that was not taken yet`);
    this.#left.delete(name);
    return text;
  }

  /** Throws if a step of the page was left out. */
  requireAllTaken(): void {
    assert.deepEqual([...this.#left.keys()], [], `steps of ${this.#path} that no test has run`);
  }
}
