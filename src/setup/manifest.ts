/**
 * What setup made on this machine, so that it and nothing else can be taken away again. A thing is written down
 * before it is made: whoever finds the list after a crash may find less than it says, never more.
 */
import * as v from "valibot";
import { Failure } from "../system/failure.ts";
import { folderOf, isWithin, joinPath } from "../system/path.ts";
import {
  BASH_COMPLETION_DIR,
  CACHE_DIR,
  COMMANDER_STATE_DIR,
  COMMANDER_UNIT,
  COMMANDS_PATH,
  CONFIG_DIR,
  CONFIG_PATH,
  EXECUTABLE_DIR,
  executablePath,
  FISH_COMPLETION_DIR,
  MAN_DIR,
  SERVER_STATE_DIR,
  SERVER_UNIT,
  SETUP_STATE_DIR,
  SOCKET_DIR,
  SYSCTL_PATH,
  SYSUSERS_PATH,
  TMPFILES_PATH,
  UNIT_DIR,
  unitPath,
  ZSH_COMPLETION_DIR,
} from "./layout.ts";
import { INSTALLED_ROLES } from "./role.ts";

const ENTRY = v.strictObject({
  path: v.string(),
  /**
   * What becomes of it: a `file` or `executable` goes if it is unchanged; `config`, `key` and `state` stay unless
   * purged; a `folder` goes if it is empty, a `cache` with all that is in it.
   */
  kind: v.picklist(["file", "executable", "folder", "cache", "state", "config", "key"]),
  /** Hex SHA-256 of the content, for all but folders. */
  sha256: v.optional(v.string()),
  /** Of the content that this one replaces: a crash may have left either. */
  replaces: v.optional(v.string()),
  mode: v.number(),
  owner: v.picklist(["root", "root:postern", "postern"]),
  /** Of an executable: hex SHA-256 of the file that it was made from, or `update` and the version that brought it. */
  source: v.optional(v.string()),
});

const SHARE_DIRS = [MAN_DIR, BASH_COMPLETION_DIR, ZSH_COMPLETION_DIR, FISH_COMPLETION_DIR];
const FOLDERS = [
  ...[CONFIG_DIR, SERVER_STATE_DIR, COMMANDER_STATE_DIR, CACHE_DIR, SOCKET_DIR, SETUP_STATE_DIR],
  ...[EXECUTABLE_DIR, UNIT_DIR, ...SHARE_DIRS],
  ...[SYSUSERS_PATH, TMPFILES_PATH, SYSCTL_PATH].map(folderOf),
];
const FILES = [
  ...[SYSUSERS_PATH, TMPFILES_PATH, SYSCTL_PATH],
  ...[COMMANDER_UNIT, SERVER_UNIT].map(unitPath),
];
const UNIT = v.pipe(v.string(), v.check((unit) => unit === COMMANDER_UNIT || unit === SERVER_UNIT));

/** Whether setup may ever have made this there: root removes whatever the list names. */
function isOurs({ path, kind }: v.InferOutput<typeof ENTRY>): boolean {
  if (!path.startsWith("/") || joinPath(path) !== path) return false;
  switch (kind) {
    case "file":
      return FILES.includes(path) || SHARE_DIRS.includes(folderOf(path));
    case "executable":
      return INSTALLED_ROLES.some((role) => executablePath(role) === path);
    case "folder":
      return path !== "/" && FOLDERS.some((folder) => isWithin(folder, path));
    case "cache":
      return path === CACHE_DIR || path === SOCKET_DIR;
    case "state":
      return path === SERVER_STATE_DIR || path === COMMANDER_STATE_DIR;
    case "config":
      return path === CONFIG_PATH || path === COMMANDS_PATH;
    case "key":
      return folderOf(path) === CONFIG_DIR && path.endsWith(".key");
  }
}

const MANIFEST = v.strictObject({
  format: v.literal(1),
  entries: v.array(v.pipe(ENTRY, v.check(isOurs))),
  /** What of user and group setup made. */
  account: v.strictObject({ user: v.boolean(), group: v.boolean() }),
  /** Units that setup enabled. */
  enabled: v.array(UNIT),
  /** Units whose file or executable is another than the one they were started with. */
  restart: v.array(UNIT),
});

export type ManifestEntry = v.InferOutput<typeof ENTRY>;
export type Manifest = v.InferOutput<typeof MANIFEST>;

export const EMPTY_MANIFEST: Manifest = {
  format: 1,
  entries: [],
  account: { user: false, group: false },
  enabled: [],
  restart: [],
};

/** @throws {Failure} naming the file if it is no manifest of ours: then nobody knows what may be taken away */
export function parseManifest(path: string, text: string): Manifest {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw unreadable(path, "found no JSON");
  }
  const { success, output } = v.safeParse(MANIFEST, document);
  if (!success) {
    throw unreadable(path, "found another form, or what setup never makes, perhaps of a later version");
  }
  return output;
}

export function formatManifest(manifest: Manifest): string {
  // By the schema, so that the same list is the same text however it was put together.
  return JSON.stringify(v.parse(MANIFEST, manifest), null, 2) + "\n";
}

export function findEntry(manifest: Manifest, path: string): ManifestEntry | undefined {
  return manifest.entries.find((entry) => entry.path === path);
}

/** The manifest with these entries in the place of any of the same path; new ones come last. */
export function withEntries(manifest: Manifest, entries: readonly ManifestEntry[]): Manifest {
  const byPath = new Map(manifest.entries.map((entry) => [entry.path, entry]));
  for (const entry of entries) byPath.set(entry.path, entry);
  return { ...manifest, entries: [...byPath.values()] };
}

function unreadable(path: string, found: string): Failure {
  return new Failure(`could not read ${path}: ${found}, accepted is the list that setup wrote`, {
    hint:
      "it says what setup made here; without it nothing is removed: restore it from a backup, or move it away",
  });
}
