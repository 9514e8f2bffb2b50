import assert from "node:assert/strict";
import { foreignFileHint } from "../../src/system/foreign_file.ts";

const denied = new Deno.errors.PermissionDenied("no");

Deno.test("foreignFileHint() names the owner of a file that we may not use although its owner could", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.chmod(path, 0o600);
    const { uid } = await Deno.stat(path);
    assert.equal(
      await foreignFileHint(path, denied, "postern"),
      `it belongs to another user (uid ${uid}), perhaps since a run as root: chown postern ${path}`,
    );
    assert.equal(await foreignFileHint(path, new Error("no space left on device"), "postern"), undefined);
    await Deno.chmod(path, 0o400);
    assert.equal(await foreignFileHint(path, denied, "postern"), undefined);
  } finally {
    await Deno.remove(path);
  }
  assert.equal(await foreignFileHint(path, denied, "postern"), undefined);
});
