import assert from "node:assert/strict";
import { Failure } from "../../src/system/failure.ts";
import { withoutCoveredGrants } from "../../src/system/covered_grants.ts";
import {
  hasPermission,
  permissionFlags,
  type PermissionGrant,
  permissionSet,
} from "../../src/system/permissions.ts";

function grant(
  kind: PermissionGrant["kind"],
  scope: string | true,
  access: PermissionGrant["access"] = "allow",
): PermissionGrant {
  return { kind, access, scope, from: "always", why: "a test" };
}

Deno.test("permissionSet() collects scopes by kind, each once, and lets a whole kind cover its scopes", () => {
  assert.deepEqual(
    permissionSet([
      grant("read", "/b"),
      grant("net", "[::]:80"),
      grant("read", "/a"),
      grant("read", "/b"),
      grant("write", "/a"),
      grant("write", true),
      grant("read", "/b/secret", "deny"),
      grant("write", "/a/secret", "deny"),
      grant("env", "HOME"),
      { ...grant("sys", "uid"), optional: true },
    ]),
    {
      net: ["[::]:80"],
      read: ["/b", "/a"],
      write: true,
      env: ["HOME"],
      sys: ["uid"],
      denyRead: ["/b/secret"],
      denyWrite: ["/a/secret"],
    },
  );
  assert.deepEqual(permissionSet([]), {});
});

Deno.test("withoutCoveredGrants() drops what another grant of the same kind and access holds", () => {
  const kept = [
    grant("read", "/etc/postern"),
    grant("read", "/etc/postern/commands.toml", "deny"),
    grant("write", "/etc/postern/floors"),
    grant("read", "/etc/posternx"),
    grant("net", "127.0.0.1"),
    grant("net", "127.0.0.1:80"),
    grant("env", true),
  ];
  assert.deepEqual(
    withoutCoveredGrants([
      grant("read", "/etc/postern/config.toml"),
      ...kept,
      grant("read", "/etc/postern"),
      grant("env", "HOME"),
    ]),
    kept,
  );
});

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
