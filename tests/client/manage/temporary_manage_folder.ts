/** A folder of an administrator, for tests. */
import { ManageFolder } from "../../../src/client/manage/manage_folder.ts";

/** Makes an empty one. */
export async function temporaryFolder(): Promise<{ folder: ManageFolder } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "postern-manage-" });
  return {
    folder: new ManageFolder(`${path}/manage`),
    async [Symbol.asyncDispose](): Promise<void> {
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** The permission bits of a file or folder. */
export async function modeOf(path: string): Promise<number> {
  return ((await Deno.stat(path)).mode ?? 0) & 0o777;
}
