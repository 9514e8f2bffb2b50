/** What a self-extracting executable unpacked: looked at, and spoilt. */
import assert from "node:assert/strict";

/** A runtime's entry or a bundle's, by what lies in it. */
export type EntryKind = "deno" | "postern.mjs";

export class Cache {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** The names of the folder, sorted, without what is no entry and no leftover. */
  async names(): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of Deno.readDir(this.folder)) {
      if (name !== ".lock" && name !== "deno") names.push(name);
    }
    return names.sort();
  }

  /** The folder that holds the file of this name; there must be exactly one. */
  async entry(kind: EntryKind): Promise<string> {
    const found: string[] = [];
    for (const name of await this.names()) {
      const path = `${this.folder}/${name}`;
      const isThere = await Deno.lstat(`${path}/${kind}`).then(() => true, () => false);
      if (isThere) found.push(path);
    }
    assert.equal(found.length, 1, `found ${found.length} entries with ${kind}`);
    return found[0] ?? "";
  }

  /** Changes when a file was written anew, and only then. */
  async fingerprint(kind: EntryKind): Promise<string> {
    const { ino, ctime, size } = await Deno.lstat(`${await this.entry(kind)}/${kind}`);
    return `${ino} ${ctime?.getTime()} ${size}`;
  }

  /** Runs a shell command with `$entry` set; the test's own user must be allowed to do that. */
  async spoil(kind: EntryKind, command: string): Promise<void> {
    const { success, stderr } = await new Deno.Command("sh", {
      args: ["-euc", command],
      env: { entry: await this.entry(kind), kind },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  }
}
