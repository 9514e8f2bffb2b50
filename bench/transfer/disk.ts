/** The disk that the files lie on: it decides as much as the programs do. Linux only. */

const MIB = 2 ** 20;
const BYTES_PER_MB = 1e6;
const WRITTEN_MIB = 128;

/** Its kind, and how fast it makes new bytes durable. */
export async function diskNote(folder: string): Promise<string> {
  return `files on ${fileSystemOf(folder)}, which syncs ${(await syncedRate(folder)).toFixed(0)} MB/s`;
}

/** MB/s of writing and one sync at the end. */
async function syncedRate(folder: string): Promise<number> {
  const path = `${folder}/synced`;
  const block = crypto.getRandomValues(new Uint8Array(65_536));
  try {
    using file = await Deno.create(path);
    const start = performance.now();
    for (let at = 0; at < WRITTEN_MIB * MIB; at += block.length) await file.write(block);
    await file.sync();
    return WRITTEN_MIB * MIB / BYTES_PER_MB / ((performance.now() - start) / 1000);
  } finally {
    await Deno.remove(path);
  }
}

/** The kind of the file system with the longest mount point above the folder. */
function fileSystemOf(folder: string): string {
  const mounts = Deno.readTextFileSync("/proc/self/mounts").split("\n").map((line) => line.split(" "));
  let found = { point: "", kind: "an unknown file system" };
  for (const [, point = "", kind = ""] of mounts) {
    const isAbove = point === "/" || `${folder}/`.startsWith(`${point}/`);
    if (isAbove && point.length >= found.point.length) found = { point, kind };
  }
  return found.kind;
}
