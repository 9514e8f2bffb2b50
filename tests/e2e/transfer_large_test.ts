/** Many files, large files, odd files: through a real relay, with what each process is given when it ships. */
import assert from "node:assert/strict";
import { event } from "../../scripts/transfer_lab.ts";
import { textBytes } from "../client/transfer/sample_bytes.ts";
import { assertDone, codeOf, namesIn, sha256Of, TransferWorld, writeRandom } from "./transfer_world.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const MEMORY_LIMIT_BYTES = 100 * 1000 * 1000;

/** Runs the words behind the file's name and writes there how much memory they had at most, in KiB. */
const MEASURE = `import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(code)`;

/** With the variable that the executables are started with; see src/setup/self_extracting_header.sh. */
function measuredBy(path: string): string[] {
  return ["env", "MALLOC_ARENA_MAX=2", "python3", "-c", MEASURE, path];
}

async function assertMemory(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const bytes = Number(await Deno.readTextFile(path)) * 1024;
    assert(bytes > 0 && bytes < MEMORY_LIMIT_BYTES, `${path}: ${bytes} bytes of memory`);
  }
}

/** Sends one file and gives how much memory both sides had; the relay's is asked while it lives. */
async function sendMeasured(world: TransferWorld, name: string): Promise<void> {
  const [ours, theirs] = [`${world.folder}/sender-memory`, `${world.folder}/receiver-memory`];
  const sender = await world.share([`${world.out}/${name}`], { launcher: measuredBy(ours) });
  const receiver = await world.receive(await codeOf(sender), { launcher: measuredBy(theirs) });
  await assertDone(sender, receiver);
  await assertMemory([ours, theirs]);
  const relay = await Deno.readTextFile(`/proc/${world.relay.pid}/status`);
  const relayBytes = Number(/^VmHWM:\s+(\d+) kB$/m.exec(relay)?.[1]) * 1024;
  assert(relayBytes > 0 && relayBytes < MEMORY_LIMIT_BYTES, `the relay had ${relayBytes} bytes of memory`);
  assert.deepEqual(await namesIn(world.in), [name]);
}

Deno.test({
  name:
    "a file of 1 GiB of random bytes arrives identical, with less than 100 MB of memory on each side and the relay",
  timeout: 300_000,
  async fn(): Promise<void> {
    await using world = await TransferWorld.make();
    await writeRandom(`${world.out}/image.bin`, GIB + 17);
    await sendMeasured(world, "image.bin");
    assert.equal(await sha256Of(`${world.in}/image.bin`), await sha256Of(`${world.out}/image.bin`));
  },
});

Deno.test({
  name:
    "a file of 512 MiB of text arrives identical, with less than 100 MB of memory on each side and the relay",
  timeout: 300_000,
  async fn(): Promise<void> {
    await using world = await TransferWorld.make();
    await writeText(`${world.out}/words.txt`, 512 * MIB + 17);
    await sendMeasured(world, "words.txt");
    assert.equal(await sha256Of(`${world.in}/words.txt`), await sha256Of(`${world.out}/words.txt`));
  },
});

/** Words in no order, of which every MiB is another. */
async function writeText(path: string, bytes: number): Promise<void> {
  using file = await Deno.create(path);
  const words = textBytes(8 * MIB);
  for (let left = bytes, round = 0; left > 0; round++) {
    // Another piece each time: of odd length, so that no chunk is like another.
    const part = words.subarray(round % 1000, Math.min(words.length, left + round % 1000));
    for (let at = 0; at < part.length;) at += await file.write(part.subarray(at));
    left -= part.length;
  }
}

Deno.test({
  name:
    "a sparse file of 8 GiB arrives identical and sparse, with less than 100 MB of memory on each side and the relay",
  timeout: 300_000,
  async fn(): Promise<void> {
    await using world = await TransferWorld.make();
    const size = 8 * GIB + 1;
    {
      using file = await Deno.create(`${world.out}/disk.img`);
      await file.truncate(size);
      for (const at of [0, 3 * GIB + 5, size - 5]) {
        await file.seek(at, Deno.SeekMode.Start);
        await file.write(new TextEncoder().encode(`here`));
      }
    }
    await sendMeasured(world, "disk.img");
    const info = await Deno.stat(`${world.in}/disk.img`);
    assert.equal(info.size, size);
    assert((info.blocks ?? 0) * 512 < 64 * MIB, `it takes ${info.blocks} blocks`);
    const same = await new Deno.Command("cmp", { args: [`${world.out}/disk.img`, `${world.in}/disk.img`] })
      .output();
    assert(same.success, new TextDecoder().decode(same.stdout));
  },
});

/** Path to content; a folder's is null. */
function oddTree(): Map<string, string | null> {
  const tree = new Map<string, string | null>([
    ["empty folder", null],
    ["nested/deep/deeper/deepest", null],
    ["empty.txt", ""],
    ["-rf", "a name that looks like an option"],
    [" leading and inner spaces", "x"],
    ["quote'\"$HOME`id`;&|*?.txt", "no shell sees it"],
    ["größe/naïve/日本語/🦀.txt", "utf-8"],
    ["%2e%2e%2fetc", "no URL"],
    ["~", "no home"],
  ]);
  for (let number = 0; number < 1000; number++) {
    tree.set(`many/${number % 10}/${number}.txt`, `file ${number}\n`.repeat(number % 97));
  }
  return tree;
}

Deno.test({
  name:
    "a folder of 1,000 small files, with odd names and an empty folder, arrives as it is; links are left out",
  timeout: 120_000,
  async fn(): Promise<void> {
    await using world = await TransferWorld.make();
    const tree = oddTree();
    for (const [path, content] of tree) {
      const folder = content === null ? path : path.split("/").slice(0, -1).join("/");
      await Deno.mkdir(`${world.out}/tree/${folder}`, { recursive: true });
      if (content !== null) await Deno.writeTextFile(`${world.out}/tree/${path}`, content, { mode: 0o640 });
    }
    await Deno.symlink(`${world.out}/tree/empty.txt`, `${world.out}/tree/link`);
    const modified = new Date("2020-02-29T12:34:56Z");
    await Deno.utime(`${world.out}/tree/-rf`, modified, modified);
    const sender = await world.share([`${world.out}/tree`]);
    const receiver = await world.receive(await codeOf(sender));
    await event(receiver, "done");
    await assertDone(sender, receiver);
    for (const [path, content] of tree) {
      const info = await Deno.lstat(`${world.in}/tree/${path}`);
      assert.equal(info.isDirectory, content === null, path);
      if (content !== null) assert.equal(await Deno.readTextFile(`${world.in}/tree/${path}`), content);
      if (content !== null) assert.equal((info.mode ?? 0) & 0o777, 0o640, path);
    }
    assert.equal((await Deno.stat(`${world.in}/tree/-rf`)).mtime?.getTime(), modified.getTime());
    await assert.rejects(Deno.lstat(`${world.in}/tree/link`), Deno.errors.NotFound);
    assert.deepEqual(await namesIn(world.in), ["tree"]);
  },
});
