/**
 * The journal of a swap. While it is there, the old executables are the installed ones, whatever the folder looks
 * like; the moment it is gone, the new ones are.
 */
import * as v from "valibot";
import { Failure } from "../../system/failure.ts";
import { INSTALLED_ROLES } from "../role.ts";
import type { SwapDisk } from "./swap_disk.ts";
import { isReleaseVersion } from "./release_version.ts";
import { journalPath, type UpdateLayout } from "./update_layout.ts";

const SHA256_HEX = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

const JOURNAL = v.strictObject({
  format: v.literal(1),
  /** That is being installed. */
  version: v.pipe(v.string(), v.check(isReleaseVersion)),
  files: v.array(v.strictObject({
    role: v.picklist(INSTALLED_ROLES),
    /** null: there was none. */
    old: v.nullable(SHA256_HEX),
    new: SHA256_HEX,
  })),
  /** The services that ran, and run the old executables again after a way back. */
  units: v.array(v.pipe(v.string(), v.regex(/^postern-[a-z]+\.service$/))),
});

export type SwapJournal = v.InferOutput<typeof JOURNAL>;

export async function writeJournal(
  layout: UpdateLayout,
  disk: SwapDisk,
  journal: SwapJournal,
): Promise<void> {
  await disk.write(journalPath(layout), new TextEncoder().encode(JSON.stringify(journal) + "\n"));
}

/**
 * @returns null if no swap was begun
 * @throws {Failure} if there is a file but not one of ours
 */
export async function readJournal(layout: UpdateLayout): Promise<SwapJournal | null> {
  const path = journalPath(layout);
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new Failure(`could not read the journal of an update ${path}`, { cause: error });
  }
  const result = v.safeParse(JOURNAL, parseJson(text), { abortEarly: true });
  if (result.success) return result.output;
  throw new Failure(`could not use the journal of an update ${path}: it is damaged`, {
    hint:
      `compare ${layout.binDir}/postern-* with ${layout.binDir}/.postern-*.old by hand, then remove ${path}`,
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
