import assert from "node:assert/strict";
import { folderOwnership, foreignWriter, ownUid } from "../../../src/commander/knock/ownership.ts";

Deno.test("foreignWriter() finds whoever else may write", () => {
  assert.equal(foreignWriter({ uid: 0, mode: 0o755 }, 1000), null);
  assert.equal(foreignWriter({ uid: 1000, mode: 0o700 }, 1000), null);
  assert.equal(foreignWriter({ uid: 1000, mode: 0o700 }, 0), "owned by uid 1000");
  assert.equal(foreignWriter({ uid: 0, mode: 0o775 }, 0), "mode 0775");
  assert.equal(foreignWriter({ uid: 0, mode: 0o757 }, 0), "mode 0757");
  assert.equal(foreignWriter({ uid: 0, mode: 0o1777 }, 0), "mode 1777");
  assert.equal(foreignWriter({ uid: 0, mode: 0o1777 }, 0, { stickyIsFine: true }), null);
  assert.equal(foreignWriter({ uid: 7, mode: 0o1777 }, 0, { stickyIsFine: true }), "owned by uid 7");
});

Deno.test({
  name: "ownUid() and folderOwnership() work with permission for the shell alone",
  permissions: { run: ["/bin/sh"] },
  async fn(): Promise<void> {
    assert.match(String(await ownUid()), /^[0-9]+$/);
    const root = await folderOwnership("/");
    assert.equal(root.uid, 0);
    assert.equal(root.mode & 0o500, 0o500);
  },
});
