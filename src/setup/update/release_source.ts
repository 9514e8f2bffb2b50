/** Reads the files of a release, never more of one than was announced. */
import { Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { hasPermission } from "../../system/permissions.ts";
import { type FetchLimits, fetchRelease } from "./release_fetch.ts";
import type { ReleaseLocation } from "./release_location.ts";

export class ReleaseSource {
  readonly #location: ReleaseLocation;
  readonly #limits: FetchLimits;

  constructor(location: ReleaseLocation, limits: FetchLimits) {
    this.#location = location;
    this.#limits = limits;
  }

  /**
   * A small file as a whole.
   *
   * @param path below the base, of checked parts
   * @throws {Failure} if it cannot be had or is longer than `maxBytes`
   */
  async read(path: string, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.stream(path)) {
      length += chunk.length;
      if (length > maxBytes) throw new Failure(`${path} is longer than ${maxBytes} bytes`);
      chunks.push(chunk);
    }
    const bytes = new Uint8Array(length);
    let offset = 0;
    for (const chunk of chunks) {
      bytes.set(chunk, offset);
      offset += chunk.length;
    }
    return bytes;
  }

  /** A file piece by piece. Whoever stops reading ends the transfer. */
  stream(path: string): AsyncIterable<Uint8Array> {
    if (this.#location.kind === "folder") return readFolderFile(this.#location.path, path);
    const { base } = this.#location;
    return fetchRelease(new URL(`${base.href.replace(/\/+$/, "")}/${path}`), path, this.#limits);
  }
}

const READ_BYTES = 256 * 1024;

async function* readFolderFile(folder: string, path: string): AsyncGenerator<Uint8Array> {
  const full = joinPath(folder, path);
  if (!hasPermission({ name: "read", path: full })) {
    throw new Failure(`could not read ${full}: no permission to read it`, {
      hint: `add --allow-read=${folder} to deno run`,
    });
  }
  try {
    // A pipe or a device would be read for ever, or not be opened at all.
    if (!(await Deno.stat(full)).isFile) throw new Failure(`could not read ${full}: it is no regular file`);
    using file = await Deno.open(full, { read: true });
    for (;;) {
      const chunk = new Uint8Array(READ_BYTES);
      const count = await file.read(chunk);
      if (count === null) return;
      yield chunk.subarray(0, count);
    }
  } catch (error) {
    throw error instanceof Failure ? error : new Failure(`could not read ${full}`, { cause: error });
  }
}
