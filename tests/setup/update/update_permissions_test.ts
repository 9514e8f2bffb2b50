import assert from "node:assert/strict";
import { updatePermissions, type UpdateScope } from "../../../src/setup/update/update_permissions.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";

function flags(scope: UpdateScope): string[] {
  return permissionFlags(permissionSet(updatePermissions(scope)));
}

Deno.test("updatePermissions() connects to the one server that --from names, and to this machine", () => {
  assert.deepEqual(
    flags({ from: "https://releases.example/x", keyPath: "/k.pub", root: "/", dryRun: false }),
    [
      "--allow-net=releases.example:443,127.0.0.1,[::1],0.0.0.0:0,[::]:0",
      "--allow-read=/k.pub,/usr/local/bin,/var/lib/postern-setup,/etc/postern,/run/systemd/system,/var/lib/postern," +
      "/var/cache/postern",
      "--allow-write=/usr/local/bin,/var/lib/postern-setup,/var/cache/postern",
      "--allow-run=/bin/sh,/usr/bin/journalctl",
      "--allow-sys=uid",
    ],
  );
});

Deno.test("updatePermissions() of a dry run writes nowhere, and below another root runs nothing", () => {
  for (const kind of ["write"]) {
    const found = updatePermissions({ from: "file:///srv", root: "/", dryRun: true });
    assert.deepEqual(found.filter((each) => each.kind === kind), []);
  }
  assert.deepEqual(flags({ from: "file:///srv", root: "/mnt", dryRun: false }), [
    "--allow-read=/srv,/mnt",
    "--allow-write=/mnt/usr/local/bin,/mnt/var/lib/postern-setup",
    "--allow-sys=uid",
  ]);
});

Deno.test("updatePermissions() may run no file that it replaces: the runtime would not let it be written", () => {
  for (const { kind, scope } of updatePermissions({ from: "https://x.example", root: "/", dryRun: false })) {
    if (kind === "run") assert.doesNotMatch(String(scope), /postern/);
  }
});
