/** A folder of a test's own that is gone with it. */
export class TempFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async make(name: string): Promise<TempFolder> {
    return new TempFolder(await Deno.makeTempDir({ prefix: `postern-${name}-` }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.path, { recursive: true });
  }
}
