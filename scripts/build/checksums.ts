/** The file `SHA256SUMS`, as sha256sum(1) writes and checks it. */
import { sha256Hex } from "./hash.ts";

export const CHECKSUMS_NAME = "SHA256SUMS";

/** Writes the sums of everything of ours in a folder, also of what an earlier build left there. */
export async function writeChecksums(folder: string): Promise<void> {
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && entry.name.startsWith("postern")) names.push(entry.name);
  }
  const lines: string[] = [];
  for (const name of names.sort()) {
    lines.push(`${await sha256Hex(await Deno.readFile(`${folder}/${name}`))}  ${name}\n`);
  }
  await Deno.writeTextFile(`${folder}/${CHECKSUMS_NAME}`, lines.join(""));
}
