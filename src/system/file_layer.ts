/** The few file operations that durable writing is made of, so that tests can make each one fail. */

/** One file opened for writing. */
export interface OpenFile {
  /** Writes some of `bytes` and returns how many. */
  write(bytes: Uint8Array): Promise<number>;
  sync(): Promise<void>;
  close(): void;
}

/** The file system as durable writing sees it: a seam through which tests make each single step fail. */
export interface FileLayer {
  /** Creates a file that must not exist (O_EXCL: a planted symlink is refused) with exactly the given mode. */
  createNew(path: string, mode: number): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  /** Makes creations and renames in a folder durable. */
  syncFolder(path: string): Promise<void>;
  remove(path: string): Promise<void>;
  readFile(path: string): Promise<Uint8Array>;
}

/** `OpenFile` for `writeFileDurablySync`. */
export interface OpenFileSync {
  write(bytes: Uint8Array): number;
  sync(): void;
  close(): void;
}

/** `FileLayer` for `writeFileDurablySync`. */
export interface FileLayerSync {
  createNew(path: string, mode: number): OpenFileSync;
  rename(from: string, to: string): void;
  syncFolder(path: string): void;
  remove(path: string): void;
}

const OTHERS_BITS = 0o077;

// Windows has no handle on a folder that could be flushed, and no modes.
const isWindows = Deno.build.os === "windows";

export const systemFiles: FileLayer = {
  async createNew(path: string, mode: number): Promise<OpenFile> {
    const file = await Deno.open(path, { write: true, createNew: true, mode });
    try {
      // The umask may have taken bits away that the readers of this file need.
      if ((mode & OTHERS_BITS) !== 0 && !isWindows) await Deno.chmod(path, mode);
    } catch (error) {
      file.close();
      await Deno.remove(path);
      throw error;
    }
    return file;
  },
  rename: (from: string, to: string): Promise<void> => Deno.rename(from, to),
  async syncFolder(path: string): Promise<void> {
    if (isWindows) return;
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  },
  remove: (path: string): Promise<void> => Deno.remove(path),
  readFile: (path: string): Promise<Uint8Array> => Deno.readFile(path),
};

export const systemFilesSync: FileLayerSync = {
  createNew(path: string, mode: number): OpenFileSync {
    const file = Deno.openSync(path, { write: true, createNew: true, mode });
    try {
      if ((mode & OTHERS_BITS) !== 0 && !isWindows) Deno.chmodSync(path, mode);
    } catch (error) {
      file.close();
      Deno.removeSync(path);
      throw error;
    }
    return {
      write: (bytes: Uint8Array): number => file.writeSync(bytes),
      sync: (): void => file.syncSync(),
      close: (): void => file.close(),
    };
  },
  rename: (from: string, to: string): void => Deno.renameSync(from, to),
  syncFolder(path: string): void {
    if (isWindows) return;
    using folder = Deno.openSync(path, { read: true });
    folder.syncSync();
  },
  remove: (path: string): void => Deno.removeSync(path),
};
