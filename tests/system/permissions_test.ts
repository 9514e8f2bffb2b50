import assert from "node:assert/strict";
import { Failure } from "../../src/system/failure.ts";
import { hasPermission, permissionFlags } from "../../src/system/permissions.ts";

Deno.test("permissionFlags() gives scoped, unscoped and denied kinds in a fixed order", () => {
  assert.deepEqual(
    permissionFlags({
      run: ["/bin/sh"],
      net: ["[::]:80", "unix:/run/x"],
      write: true,
      read: ["/etc", "/etc"],
      env: [],
      denyRead: ["/etc/secret"],
      denyWrite: ["/etc/secret", "/etc/config"],
    }),
    [
      "--allow-net=[::]:80,unix:/run/x",
      "--allow-read=/etc",
      "--allow-write",
      "--allow-run=/bin/sh",
      "--deny-read=/etc/secret",
      "--deny-write=/etc/secret,/etc/config",
    ],
  );
  assert.deepEqual(permissionFlags({}), []);
});

Deno.test("permissionFlags() refuses a comma, which would grant two paths, and an empty path", () => {
  assert.throws(
    () => permissionFlags({ read: ["/srv/a,/etc"] }),
    (e: unknown) =>
      e instanceof Failure && e.message.includes('"/srv/a,/etc"') && e.message.includes("comma"),
  );
  assert.throws(() => permissionFlags({ denyRead: ["/a,b"] }), Failure);
  assert.throws(() => permissionFlags({ denyWrite: ["/a,b"] }), Failure);
  assert.throws(() => permissionFlags({ write: [""] }), Failure);
});

Deno.test({
  name: "hasPermission() tells what is granted without prompting",
  permissions: { read: ["/etc"] },
  fn(): void {
    assert.equal(hasPermission({ name: "read", path: "/etc/passwd" }), true);
    assert.equal(hasPermission({ name: "read", path: "/var" }), false);
    assert.equal(hasPermission({ name: "net" }), false);
  },
});
