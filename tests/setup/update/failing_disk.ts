/** A disk that fails at one step of a swap, or at that step and at every one after it, as for a process that died. */
import { type SwapDisk, systemDisk } from "../../../src/setup/update/swap_disk.ts";

export class StepFailed extends Error {}

export interface FailingDiskOptions {
  /** Number of the step, counted from 0. */
  readonly failsAt: number;
  /** `before` it does anything, or `after` it did all of it and only the answer was lost. */
  readonly when: "before" | "after";
  /** Nothing works any more afterwards. */
  readonly isDeath: boolean;
  /** Called instead of throwing. */
  readonly act?: () => never;
}

export class FailingDisk implements SwapDisk {
  readonly #options: FailingDiskOptions;
  steps = 0;
  hasFailed = false;

  constructor(options: FailingDiskOptions) {
    this.#options = options;
  }

  link(from: string, to: string): Promise<void> {
    return this.step(() => systemDisk.link(from, to));
  }

  rename(from: string, to: string): Promise<void> {
    return this.step(() => systemDisk.rename(from, to));
  }

  remove(path: string): Promise<void> {
    return this.step(() => systemDisk.remove(path));
  }

  removeFolder(path: string): Promise<void> {
    return this.step(() => systemDisk.removeFolder(path));
  }

  syncFolder(path: string): Promise<void> {
    return this.step(() => systemDisk.syncFolder(path));
  }

  write(path: string, bytes: Uint8Array): Promise<void> {
    return this.step(() => systemDisk.write(path, bytes));
  }

  /** Also for what is no step of the disk, such as the restart of a service. */
  async step(act: () => Promise<void>): Promise<void> {
    const { failsAt, when, isDeath, act: fail } = this.#options;
    const index = this.steps++;
    const fails = index === failsAt || (isDeath && index > failsAt);
    if (fails) this.hasFailed = true;
    if (fails && (when === "before" || index > failsAt)) this.#fail(index, fail);
    await act();
    if (fails) this.#fail(index, fail);
  }

  #fail(index: number, fail: FailingDiskOptions["act"]): never {
    if (fail !== undefined) fail();
    throw new StepFailed(`step ${index} failed (by the test)`);
  }
}
