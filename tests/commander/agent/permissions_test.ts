import assert from "node:assert/strict";
import { agentPermissions, forwardScopes, newlyAllowed } from "../../../src/commander/agent/permissions.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";
import { configOf } from "./agent_under_test.ts";

function scopesOf(...forward: readonly string[]): (string | true)[] {
  return forwardScopes(configOf(`forward = ${JSON.stringify(forward)}`).forward);
}

Deno.test("agentPermissions() are its servers, the targets of forwards, its folder and the shell", () => {
  const flags = permissionFlags(permissionSet(
    agentPermissions(
      "/var/lib/agent",
      { addresses: ["manage.test:7022", "[2001:db8::1]:7022"] },
      configOf(""),
    ),
  ));
  assert.deepEqual(flags, [
    "--allow-net=manage.test:7022,[2001:db8::1]:7022,localhost,127.0.0.1,[::1]",
    "--allow-read=/var/lib/agent,/etc/passwd",
    "--allow-write=/var/lib/agent",
    "--allow-run=/bin/sh",
    "--allow-sys=uid",
  ]);
});

Deno.test("agentPermissions() have the folder of recordings where there is one", () => {
  const grants = agentPermissions("/a", { addresses: ["m:1"] }, configOf('record = "/var/recordings"'));
  assert.deepEqual(permissionSet(grants).write, ["/a", "/var/recordings"]);
});

Deno.test("forwardScopes() say targets in the runtime's words", () => {
  assert.deepEqual(scopesOf("db.test:5432"), ["db.test:5432"]);
  assert.deepEqual(scopesOf("db.test:1-3"), ["db.test:1", "db.test:2", "db.test:3"]);
  assert.deepEqual(scopesOf("db.test:1-1000"), ["db.test"]);
  assert.deepEqual(scopesOf("*.db.test:*"), ["*.db.test"]);
  assert.deepEqual(scopesOf("10.0.0.0/8:22"), ["10.0.0.0/8:22"]);
  assert.deepEqual(scopesOf("[2001:db8::1]:22"), ["[2001:db8::1]:22"]);
  assert.deepEqual(scopesOf(), []);
});

Deno.test("forwardScopes() are the whole net where the runtime has no word for a target", () => {
  assert.deepEqual(scopesOf("db.test:1", "*:443"), [true]);
  assert.deepEqual(scopesOf("[2001:db8::/32]:22"), [true]);
});

Deno.test("newlyAllowed() names what was not granted at the start", () => {
  const at = (forward: string[]): ReturnType<typeof configOf> =>
    configOf(`forward = ${JSON.stringify(forward)}`);
  assert.deepEqual(newlyAllowed(at(["db.test:*"]), at(["db.test:1", "other.test:2"])), [
    "forward other.test:2",
  ]);
  assert.deepEqual(newlyAllowed(at(["*:*"]), at(["other.test:2"])), []);
  assert.deepEqual(newlyAllowed(at(["db.test:1"]), at(["*:*"])), ["forward *:*"]);
  assert.deepEqual(newlyAllowed(at(["db.test:1"]), at([])), []);
  assert.deepEqual(newlyAllowed(configOf(""), configOf('record = "/var/recordings"')), ["record"]);
  assert.deepEqual(newlyAllowed(configOf('record = "/var/recordings"'), configOf("")), []);
});
