/** Disks that are full, too small or read-only. */
import assert from "node:assert/strict";
import { prepareTarget } from "../../../src/client/transfer/working_folder.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { mountObstacle, unless } from "../../e2e/machine.ts";
import {
  expectedTree,
  Offered,
  receiveAll,
  refuses,
  sinkInto,
  TargetFolder,
  TinyDisk,
  treeOf,
  workingFolder,
  writeRanges,
} from "./file_sink_stage.ts";

const MIB = CHUNK_BYTES;
const obstacle = await mountObstacle();

Deno.test({
  ...unless(obstacle, "FileSink refuses up front what has no room, by bytes and by number of files"),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=4m,nr_inodes=20");
    const large = sinkInto(disk.path);
    await refuses(
      large.accept(new Offered({ a: { content: 3 * MIB }, b: { content: 2 * MIB } }).offer),
      "space",
      /5242880 bytes are still to be written, and \d{7} are free there/,
    );
    await large.close();
    const many = sinkInto(disk.path);
    const files = Object.fromEntries([...Array(30).keys()].map((i) => [`f${i}`, { content: 1 }]));
    await refuses(
      many.accept(new Offered(files).offer),
      "space",
      /30 files are still to be written, and 1\d more/,
    );
    await many.close();
    assert.deepEqual(treeOf(disk.path), {});
  },
});

Deno.test({
  ...unless(obstacle, "FileSink counts what has come before as room that is not needed again"),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=4m");
    const offered = new Offered({ a: { content: 2 * MIB }, b: { content: MIB + MIB / 2 } });
    const first = sinkInto(disk.path);
    await writeRanges(first, offered, [...(await first.accept(offered.offer)).slice(0, 1)]);
    await first.finishFile(0);
    await first.close();
    const second = sinkInto(disk.path);
    await receiveAll(second, offered);
    await second.close();
    assert.deepEqual(treeOf(disk.path), expectedTree(offered));
  },
});

Deno.test({
  ...unless(
    obstacle,
    "FileSink whose disk becomes full says so, keeps what it has, and goes on when there is room",
  ),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=8m");
    const offered = new Offered({ a: { content: 3 * MIB }, b: { content: 2 * MIB } });
    const first = sinkInto(disk.path);
    await writeRanges(first, offered, (await first.accept(offered.offer)).slice(0, 1));
    await first.flush();
    disk.fill();
    const path = new RegExp(`cannot write ${workingFolder(disk.path)}/data-1: no space is left there`);
    const writing = writeRanges(first, offered, [{ file: 1, first: 0, count: 2 }]).then(() => first.flush());
    await refuses(writing, "space", path);
    // From then on it is believed in nothing.
    await refuses(writeRanges(first, offered, [{ file: 1, first: 0, count: 1 }]), "space", path);
    await refuses(first.finishFile(0), "space", path);
    await first.close();
    assert.deepEqual(Object.keys(treeOf(disk.path)).filter((name) => /^[ab]/.test(name)), []);

    const full = sinkInto(disk.path);
    await refuses(
      full.accept(offered.offer),
      "space",
      /2097152 bytes are still to be written, and 0 are free/,
    );
    await full.close();
    disk.free();
    await using second = sinkInto(disk.path);
    assert.deepEqual(await receiveAll(second, offered), [{ file: 1, first: 0, count: 2 }]);
    await second.close();
    assert.deepEqual(treeOf(disk.path), expectedTree(offered));
  },
});

Deno.test({
  ...unless(obstacle, "FileSink without room for its list, its folders or a small file says so"),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=1m");
    disk.fill();
    const none = sinkInto(disk.path);
    await refuses(
      none.accept(new Offered({ a: { content: 0 } }).offer),
      "space",
      /\/chunks: no space is left there/,
    );
    await none.close();
    disk.free();
    const offered = new Offered(
      Object.fromEntries([...Array(90).keys()].map((i) => [`f${i}`, { content: 1 }])),
    );
    const sink = sinkInto(disk.path);
    const ranges = await sink.accept(offered.offer);
    disk.fill();
    const writing = writeRanges(sink, offered, ranges).then(() => sink.flush());
    await refuses(writing, "space", /\/data-0: no space is left there/);
    await sink.close();
    disk.free();
    await using again = sinkInto(disk.path);
    assert.equal((await receiveAll(again, offered)).length, 90);
    await again.close();
    assert.deepEqual(treeOf(disk.path), expectedTree(offered));
  },
});

Deno.test({
  ...unless(
    obstacle,
    "FileSink says that a file system is read-only, and prepareTarget() before a code is spent",
  ),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=1m");
    const offered = new Offered({ a: { content: 5 } });
    await prepareTarget(disk.path);
    const first = sinkInto(disk.path);
    const ranges = await first.accept(offered.offer);
    await first.close();
    await disk.makeReadOnly();
    const message = /the file system is read-only/;
    await refuses(prepareTarget(disk.path), "storage", message);
    await refuses(prepareTarget(`${disk.path}/new`), "storage", message);
    assert.equal(ranges.length, 1);
    const second = sinkInto(disk.path);
    await refuses(second.accept(offered.offer), "storage", message);
    await second.close();
    const elsewhere = sinkInto(`${disk.path}/new`);
    await refuses(elsewhere.accept(offered.offer), "storage", message);
    await elsewhere.close();
  },
});

Deno.test({
  ...unless(obstacle, "FileSink names a place that lies on another file system"),
  async fn(): Promise<void> {
    using target = new TargetFolder();
    await using disk = await TinyDisk.mount("size=1m");
    Deno.mkdirSync(`${target.path}/other`);
    const { success } = await new Deno.Command("mount", {
      args: ["--bind", disk.path, `${target.path}/other`],
    }).output();
    assert(success);
    try {
      const offered = new Offered({ "other/a": { content: 5 }, "b": { content: 6 } });
      const sink = sinkInto(target.path);
      await writeRanges(sink, offered, await sink.accept(offered.offer));
      await refuses(
        sink.finishFile(0),
        "storage",
        /other\/a: it is on another file system than the target folder/,
      );
      await sink.finishFile(1);
      await sink.close();
      assert.deepEqual(treeOf(disk.path), {});
    } finally {
      await new Deno.Command("umount", { args: [`${target.path}/other`] }).output();
    }
  },
});
