/** Fetches the files of a release into the staging folder, and lets none in that is not what the manifest says. */
import { Failure } from "../../system/failure.ts";
import { joinPath } from "../../system/path.ts";
import { startSha256 } from "./digest.ts";
import type { ReleaseSource } from "./release_source.ts";
import type { ReleaseFile } from "./release_manifest.ts";

/** How far the download of one file has come. */
export interface DownloadProgress {
  readonly name: string;
  readonly doneBytes: number;
  readonly sizeBytes: number;
}

const EXECUTABLE_MODE = 0o755;
const DOWNLOAD_MODE = 0o600;

/**
 * Downloads one file to `path`, durably. It becomes executable only after it was verified.
 *
 * @throws {Failure} if it is shorter, longer or another one than announced, or there is no room for it
 */
export async function downloadFile(
  source: ReleaseSource,
  version: string,
  file: ReleaseFile,
  path: string,
  progress: (progress: DownloadProgress) => void,
): Promise<void> {
  const digest = await startSha256();
  using target = await createNew(path);
  let doneBytes = 0;
  for await (const chunk of source.stream(joinPath(version, file.name))) {
    doneBytes += chunk.length;
    // Before it is written: an endless answer must not fill the disk.
    if (doneBytes > file.size) {
      throw new Failure(`${file.name} is longer than the ${file.size} bytes of the manifest`);
    }
    digest.update(chunk);
    await writeAll(target, chunk, path);
    progress({ name: file.name, doneBytes, sizeBytes: file.size });
  }
  if (doneBytes < file.size) {
    throw new Failure(`${file.name} ended after ${doneBytes} bytes, the manifest has ${file.size}`);
  }
  if (digest.finish() !== file.sha256) {
    throw new Failure(`${file.name} is not the file of the manifest: its SHA-256 is another`);
  }
  try {
    await target.sync();
    await Deno.chmod(path, EXECUTABLE_MODE);
  } catch (error) {
    throw new Failure(`could not write ${path}`, { cause: error });
  }
}

async function createNew(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { write: true, createNew: true, mode: DOWNLOAD_MODE });
  } catch (error) {
    throw new Failure(`could not create ${path}`, { cause: error });
  }
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array, path: string): Promise<void> {
  try {
    for (let offset = 0; offset < bytes.length;) {
      const count = await file.write(bytes.subarray(offset));
      if (count <= 0) throw new Error("the file system accepted no more bytes");
      offset += count;
    }
  } catch (error) {
    throw new Failure(`could not write ${path}`, { cause: error, hint: "is the disk full: df -h" });
  }
}
