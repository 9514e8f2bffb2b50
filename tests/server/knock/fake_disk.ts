/**
 * A disk in memory that can fail at any step and lose power at any moment.
 *
 * It keeps two states: what programs see, and what is on the platter. Content gets to the platter by the sync of
 * its file, names by the sync of their folder.
 */
import type { FileLayer, OpenFile } from "../../../src/system/durable_file.ts";

interface Inode {
  seen: Uint8Array;
  onPlatter: Uint8Array;
}

export type DiskStep = "createNew" | "write" | "sync" | "rename" | "syncFolder" | "remove";

/** How a step fails: `before` it did anything, or `after` it did all of it and only the answer was lost. */
export interface DiskFault {
  readonly when: "before" | "after";
  /** Whether the step with this number, counted from 0 since the disk began, fails. */
  fails(index: number, step: DiskStep): boolean;
}

export const noFault: DiskFault = { when: "before", fails: () => false };

export class FakeDisk implements FileLayer {
  fault: DiskFault = noFault;
  readonly steps: DiskStep[] = [];
  #seen = new Map<string, Inode>();
  #onPlatter = new Map<string, Inode>();
  /** While set, every step waits for it: for tests of what happens meanwhile. */
  gate: Promise<void> | null = null;

  constructor(files: Readonly<Record<string, Uint8Array>> = {}) {
    for (const [path, bytes] of Object.entries(files)) {
      this.#seen.set(path, { seen: bytes, onPlatter: bytes });
    }
    this.#onPlatter = new Map(this.#seen);
  }

  count(step: DiskStep): number {
    return this.steps.filter((each) => each === step).length;
  }

  names(): string[] {
    return [...this.#seen.keys()];
  }

  /**
   * The disk that is found after a power cut now. `least` keeps only what was synced; `most` is a disk that had
   * happened to write everything. Anything between is possible, so a property must hold for both.
   */
  afterPowerCut(kept: "least" | "most"): FakeDisk {
    const names = kept === "least" ? this.#onPlatter : this.#seen;
    const content = (inode: Inode): Uint8Array => kept === "least" ? inode.onPlatter : inode.seen;
    return new FakeDisk(Object.fromEntries([...names].map(([path, inode]) => [path, content(inode)])));
  }

  async createNew(path: string, _mode: number): Promise<OpenFile> {
    const inode: Inode = { seen: new Uint8Array(), onPlatter: new Uint8Array() };
    await this.#step("createNew", () => {
      if (this.#seen.has(path)) throw new Deno.errors.AlreadyExists(path);
      this.#seen.set(path, inode);
    });
    return {
      write: async (bytes: Uint8Array): Promise<number> => {
        // Short on purpose: a writer that does not go on after it would leave half a file.
        const part = bytes.subarray(0, Math.ceil(bytes.length / 2));
        await this.#step("write", () => inode.seen = new Uint8Array([...inode.seen, ...part]));
        return part.length;
      },
      sync: () => this.#step("sync", () => inode.onPlatter = inode.seen),
      close: () => {},
    };
  }

  rename(from: string, to: string): Promise<void> {
    return this.#step("rename", () => {
      const inode = this.#seen.get(from);
      if (inode === undefined) throw new Deno.errors.NotFound(from);
      this.#seen.delete(from);
      this.#seen.set(to, inode);
    });
  }

  syncFolder(_path: string): Promise<void> {
    return this.#step("syncFolder", () => this.#onPlatter = new Map(this.#seen));
  }

  remove(path: string): Promise<void> {
    return this.#step("remove", () => {
      this.#seen.delete(path);
    });
  }

  readFile(path: string): Promise<Uint8Array> {
    const inode = this.#seen.get(path);
    return inode === undefined ? Promise.reject(new Deno.errors.NotFound(path)) : Promise.resolve(inode.seen);
  }

  async #step(step: DiskStep, act: () => void): Promise<void> {
    await this.gate;
    const index = this.steps.push(step) - 1;
    const fails = this.fault.fails(index, step);
    if (fails && this.fault.when === "before") throw new Error(`${step} failed (by the test)`);
    act();
    if (fails) throw new Error(`${step} did it and failed (by the test)`);
  }
}
