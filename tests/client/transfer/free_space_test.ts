import assert from "node:assert/strict";
import { freeSpace, requireSpace } from "../../../src/client/transfer/free_space.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { mountObstacle, unless } from "../../e2e/machine.ts";
import { TinyDisk } from "./file_sink_stage.ts";

Deno.test({
  ...unless(await mountObstacle(), "freeSpace() is what the file system of the folder has left"),
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount("size=64k,nr_inodes=10");
    const empty = await freeSpace(disk.path);
    assert.deepEqual(empty, { bytes: 65_536, files: 9, blockBytes: 4096 });
    Deno.writeFileSync(`${disk.path}/a`, new Uint8Array(5000));
    assert.deepEqual(await freeSpace(disk.path), { bytes: 65_536 - 8192, files: 8, blockBytes: 4096 });
  },
});

Deno.test({
  name: "freeSpace() is unknown without the permission, and asks for none",
  permissions: { read: true, sys: false },
  async fn(): Promise<void> {
    assert.equal(await freeSpace("/"), null);
  },
});

Deno.test("freeSpace() is unknown where there is nothing", async () => {
  assert.equal(await freeSpace("/nowhere/at/all"), null);
});

Deno.test("requireSpace() counts whole blocks and files, and takes what just fits", () => {
  const free = { bytes: 8192, files: 2, blockBytes: 4096 };
  requireSpace("/t", [], free);
  requireSpace("/t", [8192], free);
  requireSpace("/t", [4096, 1], free);
  requireSpace("/t", [0, 0], free);
  requireSpace("/t", [1, 0, 0], { ...free, files: null });
  for (const missing of [[8193], [4097, 1], [0, 0, 0]]) {
    assert.throws(
      () => requireSpace("/t", missing, free),
      (error: unknown) => error instanceof TransferError && error.code === "space",
      `${missing}`,
    );
  }
});
