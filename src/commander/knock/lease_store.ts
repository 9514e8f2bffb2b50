import { type Clock, systemClock } from "../../system/clock.ts";
import { type FileLayer, systemFiles, writeFileDurably } from "../../system/durable_file.ts";
import { type Lease, Leases } from "./leases.ts";
import { formatLeasesFile, prepareStateDir, readBootId, readLeasesFile } from "./leases_file.ts";
import { leasesPath } from "./paths.ts";

export interface LeaseStoreOptions {
  readonly stateDir: string;
  readonly maxLeases: number;
  /** Names of the configured commands with an undo. */
  readonly commands: readonly string[];
  readonly ownUid: number;
  /** Files of the machine unless a test says otherwise. */
  readonly files?: FileLayer;
  /** Name of the present boot. @default asks the machine */
  readonly bootId?: string;
  /** @default systemClock */
  readonly clock?: Clock;
}

const encoder = new TextEncoder();

/** The leases together with their file: after each change both say the same, or the change did not happen. */
export class LeaseStore {
  readonly leases: Leases;
  readonly #path: string;
  readonly #bootId: string;
  readonly #files: FileLayer;
  readonly #clock: Clock;
  #tail: Promise<void> = Promise.resolve();

  private constructor(path: string, leases: Leases, bootId: string, files: FileLayer, clock: Clock) {
    this.#path = path;
    this.leases = leases;
    this.#bootId = bootId;
    this.#files = files;
    this.#clock = clock;
  }

  /**
   * Opens the store. Without a command that has an undo nothing is created; leases of an earlier configuration are read
   * all the same. Due at once are
   * - leases that were recorded before the machine was started last: what they opened is most likely gone, and a knock
   *   must open it anew instead of only moving a date;
   * - leases whose command or undo was cut off: nobody knows how far it got.
   *
   * @throws {Failure} when the file is corrupt, or others may write it or its folders
   */
  static async open(options: LeaseStoreOptions): Promise<LeaseStore> {
    const { stateDir, ownUid, files = systemFiles, clock = systemClock } = options;
    const needed = options.commands.length > 0;
    if (needed) await prepareStateDir(stateDir, ownUid);
    const file = await readLeasesFile(stateDir, ownUid);
    const path = leasesPath(stateDir);
    const bootId = options.bootId ?? await readBootId();
    const isSameBoot = file === undefined || file.bootId === bootId;
    const initial = (file?.leases ?? []).map((lease): Lease => {
      if (!isSameBoot) return { ...lease, dueAtMs: 0, runId: null };
      return lease.runId === null ? lease : { ...lease, dueAtMs: 0 };
    });
    const now = { wallMs: clock.wallMs(), monotonicMs: clock.monotonicMs() };
    const leases = new Leases({ ...options, now }, initial);
    return new LeaseStore(path, leases, bootId, files, clock);
  }

  /**
   * Adds a lease durably, or replaces the one of its (command, IP); its time starts.
   *
   * @throws {LeasesFull} when there is no room for it
   * @throws {Failure} naming the file; then the lease is as it was before
   */
  start(lease: Lease): Promise<void> {
    return this.#change(() =>
      this.#revertibly(lease, () => {
        this.leases.start(lease, this.#clock.monotonicMs());
      })
    );
  }

  /**
   * Records durably what came of a lease; its time goes on.
   *
   * @throws {Failure} naming the file; then the lease is as it was before
   */
  update(lease: Lease): Promise<void> {
    return this.#change(() => this.#revertibly(lease, () => this.leases.update(lease)));
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

  #revertibly(lease: Lease, change: () => void): () => void {
    const previous = this.leases.held(lease);
    change();
    return (): void => this.leases.restore(lease, previous);
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
        await writeFileDurably(this.#path, encoder.encode(text), { files: this.#files, soleWriter: true });
      } catch (error) {
        revert();
        throw error;
      }
    });
    this.#tail = changed.catch(() => {});
    return changed;
  }
}
