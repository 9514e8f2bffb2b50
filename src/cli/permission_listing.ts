/** The permission table as `postern permissions` shows it. */
import {
  type GrantKind,
  permissionFlags,
  type PermissionGrant,
  permissionSet,
} from "../system/permissions.ts";
import { escapeHidden } from "../system/visible_text.ts";
import type { Build } from "./build.ts";
import { brokenRunLine } from "./deno_line.ts";
import { shellWord } from "./shell_word.ts";

/** One command line with all it needs. */
export interface PermissionListing {
  /** The words of the command, such as `server knock`. */
  readonly command: string;
  /** The whole command line, after `postern`. */
  readonly words: readonly string[];
  readonly grants: readonly PermissionGrant[];
  /** A command line of this command that works with the least; the same one if nothing is optional. */
  readonly minimal: { readonly words: readonly string[]; readonly grants: readonly PermissionGrant[] };
}

/** Flags of `deno run`, one an element. */
export function flagsOf(grants: readonly PermissionGrant[]): string[] {
  return permissionFlags(permissionSet(grants));
}

/** The page of one command: what can be pasted into a shell, and for the reader everything else as comments. */
export function formatListing(listing: PermissionListing, mainPath: string, build: Build): string {
  const { command, words, grants, minimal } = listing;
  const isSame = minimal.grants.length === grants.length;
  const line = (flags: readonly string[], own: readonly string[]): string[] =>
    build.role === null
      ? brokenRunLine(flags, [mainPath, ...own])
      : builtLine(flags, [build.executablePath ?? `postern-${build.role}`, ...own]);
  const lines = [`# postern ${command}`];
  if (!isSame) {
    lines.push("# The least it works with:", ...line(flagsOf(minimal.grants), minimal.words), "");
    lines.push("# With all that is optional:");
  }
  lines.push(...line(flagsOf(grants), words), "", ...tableOf(grants).map((row) => `# ${row}`.trimEnd()));
  return lines.join("\n") + "\n";
}

/** What an executable gives itself is nothing to paste. */
function builtLine(flags: readonly string[], words: readonly string[]): string[] {
  return [
    `# ${words.map(shellWord).join(" ")}`,
    "# runs with:",
    ...flags.map((flag) => `#   ${shellWord(flag)}`),
  ];
}

const KINDS: readonly GrantKind[] = ["net", "read", "write", "run", "env", "sys"];

/** As the flags come: by kind, denials last. */
function inOrder(grants: readonly PermissionGrant[]): PermissionGrant[] {
  const rank = ({ kind, access }: PermissionGrant): number =>
    KINDS.indexOf(kind) + (access === "deny" ? KINDS.length : 0);
  return grants.toSorted((a, b) => rank(a) - rank(b));
}

/** One row a grant, in columns. */
export function tableOf(grants: readonly PermissionGrant[]): string[] {
  if (grants.length === 0) return ["It needs no permission at all."];
  const rows = [
    ["PERMISSION", "SCOPE", "DECIDED BY", "WHY"],
    ...inOrder(grants).map(({ kind, access, scope, from, why, optional }) => [
      access === "allow" ? kind : `not ${kind}`,
      scope === true ? "all" : escapeHidden(scope),
      from,
      optional === true ? `optional: ${why}` : why,
    ]),
  ];
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
}
