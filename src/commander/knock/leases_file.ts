/** `leases.json` in the commander's state folder: what to undo, kept over a crash or a reboot. */
import * as v from "valibot";
import { parseIp } from "../../protocol/knock/address.ts";
import { Failure } from "../../system/failure.ts";
import { type Lease, leaseKey } from "./leases.ts";
import type { Ownership } from "./ownership.ts";
import { folderOwnership, ownershipOf, requireOwnWriters } from "./ownership.ts";
import { leasesPath } from "./paths.ts";
import { askShell } from "./shell.ts";

const VERSION = 1;

const wholeNumber = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const leaseSchema = v.strictObject({
  command: v.pipe(v.string(), v.nonEmpty()),
  ip: v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return parseIp(dataset.value);
      } catch {
        addIssue({ message: "no IP address" });
        return NEVER;
      }
    }),
  ),
  undo: v.pipe(v.string(), v.nonEmpty()),
  undoTimeoutMs: v.pipe(wholeNumber, v.minValue(1)),
  undoAfterMs: v.pipe(wholeNumber, v.minValue(1)),
  dueAtMs: wholeNumber,
  applied: v.boolean(),
  undoFailures: wholeNumber,
  runId: v.nullable(v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/))),
});
const fileSchema = v.strictObject({
  version: v.literal(VERSION),
  /** The boot in which it was written; empty when the machine does not tell. */
  bootId: v.string(),
  leases: v.array(leaseSchema),
});

export interface LeasesFile {
  readonly bootId: string;
  readonly leases: readonly Lease[];
}

/**
 * Reads the leases of an earlier commander. Whoever can write this file has root run what he likes, so it, its folder
 * and the folder above must be ours alone.
 *
 * @returns undefined when there is no such file
 * @throws {Failure} naming the file or folder when it is corrupt or others may write it
 */
export async function readLeasesFile(stateDir: string, self: number): Promise<LeasesFile | undefined> {
  const path = leasesPath(stateDir);
  let text: string;
  let ownership: Ownership;
  try {
    using file = await Deno.open(path, { read: true });
    ownership = ownershipOf(await file.stat());
    text = await new Response(file.readable).text();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new Failure(`could not read ${path}`, { cause: error });
  }
  await requireOwnStateDir(stateDir, self);
  requireOwnWriters(path, ownership, self);
  return parseLeasesFile(path, text);
}

// Prints why it could not. The new entry must survive a power cut as the leases in it do.
const MAKE_FOLDER = `mkdir -m 0700 -- "$1" 2>&1 && { sync -- "$2" || :; }; exit 0`;

/**
 * Makes the state folder if it is missing; by the shell, because the runtime would want the permission to write all
 * of it, and only the leases are written there.
 *
 * @throws {Failure} when others may write it or the folder above
 */
export async function prepareStateDir(stateDir: string, self: number): Promise<void> {
  if (!await isThere(stateDir)) {
    const problem = await askShell(MAKE_FOLDER, stateDir, parentOf(stateDir));
    if (problem !== "") {
      throw new Failure(`could not create the commander's state folder ${stateDir}: ${problem}`, {
        hint: "create its parent, or set commander_state_dir in config.toml",
      });
    }
  }
  await requireOwnStateDir(stateDir, self);
}

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new Failure(`could not look at ${path}`, { cause: error });
  }
}

/** @throws {Failure} naming `path` and what to do; the content is shell text and is not quoted */
export function parseLeasesFile(path: string, text: string): LeasesFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw corruptFile(path, "no JSON");
  }
  const result = v.safeParse(fileSchema, value);
  if (!result.success) {
    throw corruptFile(path, `a wrong value at ${v.getDotPath(result.issues[0]) ?? "the top"}`);
  }
  const keys = new Set(result.output.leases.map(leaseKey));
  if (keys.size !== result.output.leases.length) {
    throw corruptFile(path, "two leases of one command and address");
  }
  return { bootId: result.output.bootId, leases: result.output.leases };
}

export function formatLeasesFile(file: LeasesFile): string {
  return JSON.stringify({ version: VERSION, ...file }, null, 1) + "\n";
}

/** Names the present boot of this machine, or "" where there is no such name. */
export async function readBootId(): Promise<string> {
  // /proc is closed to the runtime, whatever it is allowed to read.
  return await askShell("cat /proc/sys/kernel/random/boot_id").catch(() => "");
}

async function requireOwnStateDir(stateDir: string, self: number): Promise<void> {
  requireOwnWriters(stateDir, await folderOwnership(stateDir), self);
  const parent = parentOf(stateDir);
  requireOwnWriters(parent, await folderOwnership(parent), self, { stickyIsFine: true });
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

function corruptFile(path: string, found: string): Failure {
  return new Failure(`could not read ${path}: found ${found}, accepted is what the commander wrote`, {
    hint: `close by hand what it says is open (its undo texts are in it), then: mv ${path} ${path}.corrupt`,
  });
}
