/** Writes what comes from a stream to a file, and hashes it on the way. */
import { HASH_BYTES } from "../../protocol/transfer/file_hash.ts";
import { CHUNK_BYTES } from "../../protocol/transfer/offer.ts";
import { Failure } from "../../system/failure.ts";
import { systemReason } from "./walk_findings.ts";

/** What is known of a file that was written to its end. */
export interface SpoolEnd {
  /** Of the file itself. */
  readonly info: Deno.FileInfo;
  /** Of each chunk, in order, 32 bytes each. */
  readonly hashes: Uint8Array<ArrayBuffer>;
}

const PRIVATE_MODE = 0o600;
const FIRST_HASHES = 64;

/** A file that is being written, in whole chunks. */
export class SpoolWriter {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #hashes = new Uint8Array(FIRST_HASHES * HASH_BYTES);
  #chunks = 0;
  #filled = 0;
  #isClosed = false;

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
  }

  /**
   * Begins the file, 0600, in the place of one that a killed run left there.
   *
   * @throws {Failure} if it cannot be made
   */
  static async create(path: string): Promise<SpoolWriter> {
    try {
      await removeIfThere(path);
      return new SpoolWriter(
        path,
        await Deno.open(path, { read: true, write: true, createNew: true, mode: PRIVATE_MODE }),
      );
    } catch (error) {
      throw cannotKeep(path, 0, error);
    }
  }

  /**
   * Takes the next piece, which may be changed afterwards.
   *
   * @throws {Failure} if there is no room
   */
  async write(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + CHUNK_BYTES - this.#filled);
      this.#chunk.set(part, this.#filled);
      this.#filled += part.length;
      at += part.length;
      if (this.#filled === CHUNK_BYTES) await this.#flush();
    }
  }

  /** Writes what is left and closes the file. */
  async end(): Promise<SpoolEnd> {
    if (this.#filled > 0) await this.#flush();
    const info = await this.#file.stat();
    this.close();
    return { info, hashes: this.#hashes.subarray(0, this.#chunks * HASH_BYTES) };
  }

  /** Does nothing the second time. */
  close(): void {
    if (!this.#isClosed) this.#file.close();
    this.#isClosed = true;
  }

  async #flush(): Promise<void> {
    const chunk = this.#chunk.subarray(0, this.#filled);
    const [hash] = await Promise.all([crypto.subtle.digest("SHA-256", chunk), this.#writeAll(chunk)]);
    this.#keepHash(new Uint8Array(hash));
    this.#filled = 0;
  }

  #keepHash(hash: Uint8Array<ArrayBuffer>): void {
    const at = this.#chunks++ * HASH_BYTES;
    if (at === this.#hashes.length) {
      const more = new Uint8Array(2 * at);
      more.set(this.#hashes);
      this.#hashes = more;
    }
    this.#hashes.set(hash, at);
  }

  async #writeAll(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      for (let at = 0; at < bytes.length;) at += await this.#file.write(bytes.subarray(at));
    } catch (error) {
      throw cannotKeep(this.#path, this.#chunks, error);
    }
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function cannotKeep(path: string, chunks: number, cause: unknown): Failure {
  return new Failure(`could not keep what comes in ${path}: ${systemReason(cause)}, after ${chunks} MiB`, {
    cause,
    hint:
      "write it to a file where there is room, and share that; or set XDG_STATE_HOME to a folder with room",
  });
}
