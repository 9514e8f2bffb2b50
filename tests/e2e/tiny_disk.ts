/** A file system of a test's own that can be full or read-only, which root is held to as well. */
import assert from "node:assert/strict";
import { succeeds } from "./machine.ts";
import { TempFolder } from "./temp_folder.ts";

/** A folder that is a file system; gone with it. */
export class TinyDisk implements AsyncDisposable {
  readonly #folder: TempFolder;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
  }

  static async mount(sizeBytes: number): Promise<TinyDisk> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await TempFolder.make("disk"));
    assert.ok(
      await succeeds("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes},mode=0700`, "none", folder.path]),
    );
    undo.move();
    return new TinyDisk(folder);
  }

  get path(): string {
    return this.#folder.path;
  }

  /** Leaves not one byte. */
  async fill(): Promise<void> {
    using file = await Deno.open(`${this.path}/filler`, { create: true, write: true });
    try {
      for (;;) await file.write(new Uint8Array(1024));
    } catch (error) {
      assert.match(String(error), /os error 28/);
    }
  }

  async free(): Promise<void> {
    await Deno.remove(`${this.path}/filler`);
  }

  async makeReadOnly(): Promise<void> {
    assert.ok(await succeeds("mount", ["-o", "remount,ro", this.path]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    assert.ok(await succeeds("umount", [this.path]), "umount failed");
    await this.#folder[Symbol.asyncDispose]();
  }
}
