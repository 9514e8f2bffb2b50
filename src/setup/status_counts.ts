/** The server's counts, read back from its status file (`src/server/knock/status.ts` writes it). */
import * as v from "valibot";

/** Counts since the server's start, as of one moment. */
export interface StatusCounts {
  readonly atMs: number;
  readonly startedAtMs: number;
  readonly received: number;
  readonly accepted: number;
  readonly forwarded: number;
  readonly forwardFailures: number;
  /** By reason; reasons that never came up may be missing. */
  readonly refused: ReadonlyMap<string, number>;
  /** The replay floor of each key as a time, by file stem; keys without one are not in here. */
  readonly floorsMs: ReadonlyMap<string, number>;
}

const MS_PER_SECOND = 1000;
/** A hundred bytes a key, and there are thousands of keys at most. */
const MAX_BYTES = 4 * 1024 * 1024;

const DOCUMENT = v.object({
  time: v.string(),
  started_at: v.string(),
  received: v.number(),
  refused: v.record(v.string(), v.number()),
  accepted: v.number(),
  forwarded: v.number(),
  forward_failures: v.number(),
  floor_age_seconds: v.record(v.string(), v.nullable(v.number())),
});

/**
 * Reads a status file in JSON; null if there is none, or one that this is not. The file is the server's, and whoever
 * reads it may be root: a pipe or an endless file in its place must not hold that up.
 */
export async function readStatusCounts(path: string): Promise<StatusCounts | null> {
  let document: unknown;
  try {
    const { isFile, size } = await Deno.lstat(path);
    if (!isFile || size > MAX_BYTES) return null;
    document = JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return null;
    throw error;
  }
  const { success, output } = v.safeParse(DOCUMENT, document);
  if (!success) return null;
  const atMs = Date.parse(output.time);
  return {
    atMs,
    startedAtMs: Date.parse(output.started_at),
    received: output.received,
    accepted: output.accepted,
    forwarded: output.forwarded,
    forwardFailures: output.forward_failures,
    refused: new Map(Object.entries(output.refused)),
    floorsMs: new Map(
      Object.entries(output.floor_age_seconds).flatMap(([stem, age]) =>
        age === null ? [] : [[stem, atMs - age * MS_PER_SECOND] as const]
      ),
    ),
  };
}
