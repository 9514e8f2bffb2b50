/** Links, planted before and while it is received, and what the umask has to say. */
import assert from "node:assert/strict";
import { prepareTarget } from "../../../src/client/transfer/working_folder.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { killedOffer } from "./file_sink_child.ts";
import {
  expectedTree,
  Offered,
  receiveAll,
  refuses,
  sinkInto,
  TargetFolder,
  treeOf,
  workingFolder,
  writeRanges,
} from "./file_sink_stage.ts";

const LINK = /a symbolic link is there, accepted are files and folders/;

/** A target, and a place outside of it that nothing may come to. */
class Stage implements Disposable {
  readonly #folder = new TargetFolder();
  readonly target: string = `${this.#folder.path}/target`;
  readonly outside: string = `${this.#folder.path}/outside`;

  constructor() {
    Deno.mkdirSync(this.target);
    Deno.mkdirSync(this.outside, { mode: 0o711 });
    Deno.writeTextFileSync(`${this.outside}/old`, "old");
    Deno.utimeSync(this.outside, 1_000_000, 1_000_000);
  }

  requireOutsideUntouched(): void {
    assert.deepEqual(treeOf(this.outside), { old: new TextEncoder().encode("old") });
    const { mode, mtime } = Deno.statSync(this.outside);
    assert.equal((mode ?? 0) & 0o777, 0o711);
    assert.equal(mtime?.getTime(), 1_000_000_000);
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

Deno.test("FileSink refuses an offer that a link lies in the way of, wherever it leads", async () => {
  for (const overwrite of [false, true]) {
    using stage = new Stage();
    Deno.mkdirSync(`${stage.target}/real`);
    Deno.symlinkSync(stage.outside, `${stage.target}/out`);
    Deno.symlinkSync("real", `${stage.target}/in`);
    Deno.symlinkSync(`${stage.outside}/new`, `${stage.target}/real/dangling`);
    Deno.symlinkSync(`${stage.outside}/old`, `${stage.target}/real/old`);
    const before = treeOf(stage.target);
    for (
      const path of [
        "out",
        "out/a",
        "out/a/b",
        "out/old",
        "in/a",
        "real/dangling",
        "real/dangling/a",
        "real/old",
      ]
    ) {
      const sink = sinkInto(stage.target, { overwrite });
      await refuses(sink.accept(new Offered({ [path]: { content: 3 } }).offer), "exists", LINK);
      await sink.close();
      const folder = sinkInto(stage.target, { overwrite });
      await refuses(folder.accept(new Offered({ [path]: {} }).offer), "exists", LINK);
      await folder.close();
    }
    assert.deepEqual(treeOf(stage.target), before);
    stage.requireOutsideUntouched();
  }
});

Deno.test("FileSink refuses a link that came into the way after the offer was accepted", async () => {
  for (const overwrite of [false, true]) {
    using stage = new Stage();
    const offered = new Offered({
      "a": {},
      "a/b": {},
      "a/b/c": { content: 3 },
      "d": { content: 4 },
      "a/b/old": { content: 5 },
      "e": { content: 6 },
    });
    const sink = sinkInto(stage.target, { overwrite });
    await writeRanges(sink, offered, await sink.accept(offered.offer));
    await sink.finishFile(5);
    Deno.mkdirSync(`${stage.target}/a`);
    Deno.symlinkSync(stage.outside, `${stage.target}/a/b`);
    Deno.symlinkSync(`${stage.outside}/new`, `${stage.target}/d`);
    for (const file of [2, 3, 4]) await refuses(sink.finishFile(file), "exists", LINK);
    await sink.close();
    stage.requireOutsideUntouched();
    // And in the next run, what was received is still there.
    const next = sinkInto(stage.target, { overwrite });
    await refuses(next.accept(offered.offer), "exists", LINK);
    await next.close();
    Deno.removeSync(`${stage.target}/a`, { recursive: true });
    Deno.removeSync(`${stage.target}/d`);
    await using last = sinkInto(stage.target, { overwrite });
    assert.deepEqual(await receiveAll(last, offered), []);
    await last.close();
    assert.deepEqual(treeOf(stage.target), expectedTree(offered));
    stage.requireOutsideUntouched();
  }
});

Deno.test("FileSink sets time and mode of no folder outside when a link has taken a folder's place at the end", async () => {
  using stage = new Stage();
  const offered = new Offered({ "a": {}, "a/b": { mode: 0o777 }, "a/b/c": { content: 3 } });
  const sink = sinkInto(stage.target);
  await writeRanges(sink, offered, await sink.accept(offered.offer));
  await sink.finishFile(2);
  Deno.renameSync(`${stage.target}/a/b`, `${stage.target}/a/moved`);
  Deno.symlinkSync(stage.outside, `${stage.target}/a/b`);
  await refuses(sink.finish(), "exists", LINK);
  assert(!sink.isComplete);
  await sink.close();
  stage.requireOutsideUntouched();
});

Deno.test("FileSink works in no folder, and writes no data, that a link leads to", async () => {
  using stage = new Stage();
  const offered = new Offered({ a: { content: 2 * CHUNK_BYTES } });
  Deno.symlinkSync(stage.outside, workingFolder(stage.target));
  const sink = sinkInto(stage.target);
  await refuses(sink.accept(offered.offer), "storage", /it is no folder/);
  await sink.close();
  Deno.removeSync(workingFolder(stage.target));
  stage.requireOutsideUntouched();

  const first = sinkInto(stage.target);
  await first.accept(offered.offer);
  await writeRanges(first, offered, [{ file: 0, first: 0, count: 1 }]);
  await first.close();
  const dataPath = `${workingFolder(stage.target)}/data-0`;
  Deno.removeSync(dataPath);
  Deno.symlinkSync(`${stage.outside}/old`, dataPath);
  await using second = sinkInto(stage.target);
  assert.deepEqual(await receiveAll(second, offered), [{ file: 0, first: 0, count: 2 }]);
  await second.close();
  assert.deepEqual(treeOf(stage.target), expectedTree(offered));
  stage.requireOutsideUntouched();
});

Deno.test("FileSink writes nothing into a file that its data file was linked to", async () => {
  using stage = new Stage();
  const offered = new Offered({ a: { content: 2 * CHUNK_BYTES } });
  const first = sinkInto(stage.target);
  await first.accept(offered.offer);
  await first.close();
  // Left behind without a record, as after a crash, or planted.
  Deno.linkSync(`${stage.outside}/old`, `${workingFolder(stage.target)}/data-0`);
  Deno.utimeSync(stage.outside, 1_000_000, 1_000_000);
  await using second = sinkInto(stage.target);
  await receiveAll(second, offered);
  await second.close();
  assert.deepEqual(treeOf(stage.target), expectedTree(offered));
  stage.requireOutsideUntouched();
});

Deno.test("FileSink follows a link that the user named as the target folder", async () => {
  using stage = new Stage();
  Deno.symlinkSync(stage.target, `${stage.target}-link`);
  const offered = new Offered({ "a": { content: 3 } });
  await prepareTarget(`${stage.target}-link`);
  await using sink = sinkInto(`${stage.target}-link`);
  await receiveAll(sink, offered);
  await sink.close();
  assert.deepEqual(treeOf(stage.target), expectedTree(offered));
});

Deno.test("FileSink gives files and folders no more than the umask allows", async () => {
  using target = new TargetFolder();
  const child = new URL("file_sink_child.ts", import.meta.url).pathname;
  const config = new URL("../../../deno.json", import.meta.url).pathname;
  const { success } = await new Deno.Command("sh", {
    args: [
      ...[
        "-c",
        'umask 027; exec "$@"',
        "sh",
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        `--config=${config}`,
      ],
      ...[child, target.path, "links"],
    ],
    stdin: "null",
    stdout: "null",
  }).output();
  assert(success);
  const offered = killedOffer();
  assert.deepEqual(treeOf(target.path), expectedTree(offered));
  for (const { path, mode } of offered.offer.entries) {
    assert.equal((Deno.statSync(`${target.path}/${path}`).mode ?? 0) & 0o7777, mode & ~0o027, path);
  }
});
