import { type FileLayer, type OpenFile, systemFiles } from "../../src/system/durable_file.ts";

/** The steps of a durable write, in order. */
export const STEPS = ["createNew", "write", "sync", "rename", "syncFolder"] as const;
export type Step = typeof STEPS[number];

/** Fails at one step as a broken disk would; remembers the steps that were reached. */
export class FaultyFiles implements FileLayer {
  readonly reached: string[] = [];
  failAt: Step | undefined;
  readonly #bytesPerWrite: number;

  constructor(failAt: Step | undefined, bytesPerWrite = Infinity) {
    this.failAt = failAt;
    this.#bytesPerWrite = bytesPerWrite;
  }

  #step(step: Step): void {
    this.reached.push(step);
    if (step === this.failAt) throw new Error(`Input/output error at ${step}`);
  }

  async createNew(path: string, mode: number): Promise<OpenFile> {
    this.#step("createNew");
    const file = await systemFiles.createNew(path, mode);
    return {
      write: (bytes: Uint8Array): Promise<number> => {
        this.#step("write");
        return file.write(bytes.subarray(0, this.#bytesPerWrite));
      },
      sync: (): Promise<void> => {
        this.#step("sync");
        return file.sync();
      },
      close: (): void => file.close(),
    };
  }

  rename(from: string, to: string): Promise<void> {
    this.#step("rename");
    return systemFiles.rename(from, to);
  }

  syncFolder(path: string): Promise<void> {
    this.#step("syncFolder");
    return systemFiles.syncFolder(path);
  }

  remove(path: string): Promise<void> {
    return systemFiles.remove(path);
  }

  readFile(path: string): Promise<Uint8Array> {
    return systemFiles.readFile(path);
  }
}
