/** What is offered, as a person decides about it: by what would lie in the folder, with hidden names marked. */
import type { Offer, OfferEntry } from "../protocol/transfer/offer.ts";
import { isHiddenPath } from "../protocol/transfer/target_path.ts";
import { joinPath } from "../system/path.ts";
import { escapeHidden } from "../system/visible_text.ts";
import { formatBytes, formatCount } from "./transfer_units.ts";

const MAX_ROWS = 20;
const MAX_HIDDEN_ROWS = 10;
/** Longer ones are cut in the middle: a terminal that wraps a thousand lines of one name shows nothing else. */
const MAX_NAME_CHARS = 100;

/** What it is in one line: `3 files and 1 folder, 12.3 MB`. */
export function offerSummary({ kind, entries, totalBytes }: Offer): string {
  if (kind === "text") return `a text of ${formatBytes(totalBytes)}`;
  const files = entries.filter((entry) => entry.kind === "file").length;
  const folders = entries.length - files;
  const parts = [
    ...(files > 0 || folders === 0 ? [formatCount(files, "file")] : []),
    ...(folders > 0 ? [formatCount(folders, "folder")] : []),
  ];
  return `${parts.join(" and ")}, ${formatBytes(totalBytes)}`;
}

/** A line for each thing at the top, then the hidden ones; of neither more than fits on a screen. */
export function offerLines({ kind, entries }: Offer): string[] {
  if (kind === "text") return [];
  const tops = topsOf(entries);
  const hidden = entries.filter(({ path }) => isHiddenPath(path));
  return [
    ...tops.slice(0, MAX_ROWS).map((top) => `  ${topRow(top)}`),
    ...rest(tops.length - MAX_ROWS),
    ...(hidden.length === 0 ? [] : [
      `hidden, as their names begin with a dot: ${formatCount(hidden.length, "path")}`,
      ...hidden.slice(0, MAX_HIDDEN_ROWS).map(({ path }) => `  ${shown(path)}`),
      ...rest(hidden.length - MAX_HIDDEN_ROWS),
    ]),
  ];
}

/** What `--overwrite` would replace: files that are there, and that the offer has too. */
export function replacedLines({ kind, entries }: Offer, folder: string): string[] {
  if (kind === "text") return [];
  const replaced = entries.filter((entry) => entry.kind === "file" && isFile(joinPath(folder, entry.path)));
  return replaced.length === 0 ? [] : [
    `replaced, as --overwrite says: ${formatCount(replaced.length, "file")}`,
    ...replaced.slice(0, MAX_HIDDEN_ROWS).map(({ path }) => `  ${shown(path)}`),
    ...rest(replaced.length - MAX_HIDDEN_ROWS),
  ];
}

function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch {
    return false;
  }
}

/** A path for a line on a terminal: nothing in it that could drive one, and not too long. */
export function shown(path: string): string {
  const visible = escapeHidden(path);
  if (visible.length <= MAX_NAME_CHARS) return visible;
  const half = MAX_NAME_CHARS / 2 - 2;
  return `${visible.slice(0, half)}...${visible.slice(-half)}`;
}

/** A file, or a folder with all that is in it. */
interface Top {
  readonly name: string;
  isFolder: boolean;
  files: number;
  bytes: number;
}

function topsOf(entries: readonly OfferEntry[]): Top[] {
  const tops = new Map<string, Top>();
  for (const { path, kind, sizeBytes } of entries) {
    const [name = "", ...below] = path.split("/");
    const top: Top = tops.get(name) ?? { name, isFolder: false, files: 0, bytes: 0 };
    top.isFolder ||= kind === "folder" || below.length > 0;
    if (kind === "file") top.files++;
    top.bytes += sizeBytes;
    tops.set(name, top);
  }
  return [...tops.values()];
}

function topRow({ name, isFolder, files, bytes }: Top): string {
  const what = isFolder ? `${formatCount(files, "file")}, ${formatBytes(bytes)}` : formatBytes(bytes);
  return `${shown(name)}${isFolder ? "/" : ""}  ${what}${isHiddenPath(name) ? "  (hidden)" : ""}`;
}

function rest(count: number): string[] {
  return count > 0 ? [`  ... and ${count.toLocaleString("en-US")} more`] : [];
}
