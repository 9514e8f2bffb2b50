/** Removes from the cache of self-extracting executables what no installed one uses any more. */
import { INSTALLED_ROLES } from "../role.ts";
import { HEADER_BYTES } from "../self_extracting.ts";
import { installedPath, type UpdateLayout } from "./update_layout.ts";

/** A folder of the cache is named by the SHA-256 of what is in it. */
const ENTRY_NAME = /^[0-9a-f]{64}$/;

/** Keeps what any installed executable carries: its header names the SHA-256 of each part, of whatever role. */
export async function removeUnusedCache(layout: UpdateLayout): Promise<void> {
  const headers: string[] = [];
  for (const role of INSTALLED_ROLES) headers.push(await headerOf(installedPath(layout, role)));
  // Without a single one, nobody could say what is in use.
  if (!headers.some((header) => /[0-9a-f]{64}/.test(header))) return;
  for (const name of await entriesOf(layout.cacheDir)) {
    if (headers.some((header) => header.includes(name))) continue;
    await Deno.remove(`${layout.cacheDir}/${name}`, { recursive: true });
  }
}

async function headerOf(path: string): Promise<string> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
  using _file = file;
  const bytes = new Uint8Array(HEADER_BYTES);
  let length = 0;
  for (let count; length < HEADER_BYTES && (count = await file.read(bytes.subarray(length))) !== null;) {
    length += count;
  }
  return new TextDecoder("latin1").decode(bytes.subarray(0, length));
}

async function entriesOf(dir: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of Deno.readDir(dir)) {
      if (entry.isDirectory && ENTRY_NAME.test(entry.name)) names.push(entry.name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}
