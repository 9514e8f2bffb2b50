import {
  type FileLayer,
  removeStaleTemporaries,
  systemFiles,
  writeFileDurably,
} from "../../system/durable_file.ts";
import { type Lease, Leases } from "./leases.ts";
import { formatLeasesFile, leasesPath, prepareStateDir, readBootId, readLeasesFile } from "./leases_file.ts";

export interface LeaseStoreOptions {
  readonly stateDir: string;
  readonly maxLeases: number;
  readonly ownUid: number;
  /** False: no command has an undo, so nothing is created; leases of an earlier configuration are read all the same. */
  readonly needed: boolean;
  /** Files of the machine unless a test says otherwise. */
  readonly files?: FileLayer;
  /** Name of the present boot. @default asks the machine */
  readonly bootId?: string;
}

const encoder = new TextEncoder();

/** The leases together with their file: after each change both say the same, or the change did not happen. */
export class LeaseStore {
  readonly leases: Leases;
  readonly #path: string;
  readonly #bootId: string;
  readonly #files: FileLayer;
  #tail: Promise<void> = Promise.resolve();

  private constructor(path: string, leases: Leases, bootId: string, files: FileLayer) {
    this.#path = path;
    this.leases = leases;
    this.#bootId = bootId;
    this.#files = files;
  }

  /**
   * Opens the store. Leases that were recorded before the machine was started last are due at once: what they opened
   * is most likely gone, and a knock must open it anew instead of only moving a date.
   *
   * @throws {Failure} when the file is corrupt, or others may write it or its folders
   */
  static async open(options: LeaseStoreOptions): Promise<LeaseStore> {
    if (options.needed) await prepareStateDir(options.stateDir, options.ownUid);
    const file = await readLeasesFile(options.stateDir, options.ownUid);
    const path = leasesPath(options.stateDir);
    if (options.needed) await removeStaleTemporaries(path);
    const bootId = options.bootId ?? await readBootId();
    const initial = file === undefined || file.bootId === bootId
      ? file?.leases
      : file.leases.map((lease) => ({ ...lease, dueAtMs: 0 }));
    const leases = new Leases(options.maxLeases, initial);
    return new LeaseStore(path, leases, bootId, options.files ?? systemFiles);
  }

  /**
   * Adds or replaces a lease durably.
   *
   * @throws {LeasesFull} when there is no room for it
   * @throws {Failure} naming the file; then the lease is as it was before
   */
  record(lease: Lease): Promise<void> {
    return this.#change(() => {
      const previous = this.leases.find(lease);
      this.leases.put(lease);
      return (): void => {
        if (previous === undefined) this.leases.delete(lease);
        else this.leases.put(previous);
      };
    });
  }

  /**
   * Removes a lease. When the file cannot be written, the lease is gone from memory all the same: at worst its undo
   * runs once more after the next start.
   *
   * @throws {Failure} naming the file
   */
  remove(lease: Lease): Promise<void> {
    return this.#change(() => {
      this.leases.delete(lease);
      return (): void => {};
    });
  }

  /** Resolves once all changes asked for so far are decided. */
  whenIdle(): Promise<void> {
    return this.#tail;
  }

  /**
   * Applies one change and writes the file, one change after the other: were several written together, the failure of
   * one write could not be told from that of another, and a lease of a refused command could stay in the file.
   */
  #change(apply: () => () => void): Promise<void> {
    const changed = this.#tail.then(async () => {
      const revert = apply();
      try {
        const text = formatLeasesFile({ bootId: this.#bootId, leases: this.leases.all() });
        await writeFileDurably(this.#path, encoder.encode(text), { files: this.#files });
      } catch (error) {
        revert();
        throw error;
      }
    });
    this.#tail = changed.catch(() => {});
    return changed;
  }
}
