/** The few steps that change an installation, so that tests can make each one fail, or kill the process at it. */
import { systemFiles, writeFileDurably } from "../../system/durable_file.ts";

export interface SwapDisk {
  /** Gives a file a second name. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  removeFolder(path: string): Promise<void>;
  /** Makes links, renames and removals in a folder durable. */
  syncFolder(path: string): Promise<void>;
  /** Replaces a small file, durably. */
  write(path: string, bytes: Uint8Array): Promise<void>;
}

export const systemDisk: SwapDisk = {
  link: (from, to) => Deno.link(from, to),
  rename: (from, to) => Deno.rename(from, to),
  remove: (path) => Deno.remove(path),
  removeFolder: (path) => Deno.remove(path, { recursive: true }),
  syncFolder: (path) => systemFiles.syncFolder(path),
  write: (path, bytes) => writeFileDurably(path, bytes),
};

/** Whether there is anything under that name; a link counts, wherever it leads. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
