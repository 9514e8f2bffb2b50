/** Compiles and runs flood.c; Deno itself cannot forge sources, nor send fast enough. */

/** Why there is no flood; the message is for the row that is skipped. */
export class NoFlood extends Error {
  override readonly name = "NoFlood";
}

export type Flood =
  | { readonly kind: "garbage"; readonly perSecond: number; readonly count: number }
  | { readonly kind: "forged"; readonly perSecond: number; readonly count: number; readonly keyId: string };

export interface FloodReport {
  readonly sent: number;
  readonly seconds: number;
}

export class FloodProgram {
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** @throws {NoFlood} if there is no C compiler, or it fails */
  static async compile(folder: string): Promise<FloodProgram> {
    const path = `${folder}/flood`;
    const source = new URL("./flood.c", import.meta.url).pathname;
    let output: Deno.CommandOutput;
    try {
      output = await new Deno.Command("cc", { args: ["-O2", "-o", path, source] }).output();
    } catch {
      throw new NoFlood("no C compiler: apt-get install gcc libc6-dev");
    }
    if (!output.success) throw new NoFlood(`cc failed: ${new TextDecoder().decode(output.stderr).trim()}`);
    return new FloodProgram(path);
  }

  /** @throws {NoFlood} if the flood could not be sent, such as forged sources without the right to */
  async run(port: number, flood: Flood): Promise<FloodReport> {
    const { success, stdout, stderr } = await new Deno.Command(this.#path, {
      args: [
        ...[flood.kind, `${port}`, `${flood.perSecond}`, `${flood.count}`],
        ...(flood.kind === "forged" ? [flood.keyId] : []),
      ],
    }).output();
    if (!success) throw new NoFlood(new TextDecoder().decode(stderr).trim());
    const [sent, seconds] = new TextDecoder().decode(stdout).split(" ").map(Number);
    return { sent: sent ?? 0, seconds: seconds ?? 0 };
  }
}
