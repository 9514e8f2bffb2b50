/** The revision that a build names itself after. */
import { BuildFailure } from "./build_failure.ts";
import { outputOf } from "./program.ts";

const SHORT_CHARS = 7;

/**
 * The first characters of the commit's id, with `-dirty` behind it if the tree has changes that are not in it.
 *
 * @returns null outside of a repository
 */
export async function sourceCommit(root: string): Promise<string | null> {
  try {
    const git = (...args: string[]): Promise<string> =>
      outputOf("cannot name the commit", "git", ["-C", root, ...args]);
    const commit = (await git("rev-parse", `--short=${SHORT_CHARS}`, "HEAD")).trim();
    return await git("status", "--porcelain") === "" ? commit : `${commit}-dirty`;
  } catch (error) {
    if (error instanceof BuildFailure) return null;
    throw error;
  }
}
