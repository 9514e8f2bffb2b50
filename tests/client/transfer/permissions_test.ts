/** What the two commands may do, and where the state may lie. */
import assert from "node:assert/strict";
import { receivePermissions, sharePermissions } from "../../../src/client/transfer/permissions.ts";
import { namedStateFolder, usableStateFolder } from "../../../src/client/transfer/state_folder.ts";
import { permissionFlags, type PermissionGrant, permissionSet } from "../../../src/system/permissions.ts";

const RELAY = { address: "relay.example:8080", from: "--relay" } as const;
const STATE = { path: "/home/me/.local/state/postern/transfers", variable: "HOME" };

function flags(grants: readonly PermissionGrant[]): string[] {
  return permissionFlags(permissionSet(grants));
}

function needed(grants: readonly PermissionGrant[]): string[] {
  return flags(grants.filter(({ optional }) => optional !== true));
}

Deno.test("sharePermissions() are the relay alone, what is shared, and optionally the state folder", () => {
  const grants = sharePermissions({ relay: RELAY, paths: ["report.pdf", "/srv/photos"], stateFolder: STATE });
  assert.deepEqual(flags(grants), [
    "--allow-net=relay.example:8080",
    `--allow-read=report.pdf,/srv/photos,${STATE.path}`,
    `--allow-write=${STATE.path}`,
    "--allow-env=HOME",
  ]);
  assert.deepEqual(needed(grants), ["--allow-net=relay.example:8080", "--allow-read=report.pdf,/srv/photos"]);
  const text = sharePermissions({ relay: { ...RELAY, from: "POSTERN_RELAY" }, paths: [], stateFolder: null });
  assert.deepEqual(flags(text), ["--allow-net=relay.example:8080", "--allow-env=POSTERN_RELAY"]);
  assert.deepEqual(flags(sharePermissions({ relay: null, paths: [], stateFolder: null })), [
    "--allow-env=POSTERN_RELAY",
  ]);
});

Deno.test("sharePermissions() name the folder of a file that no flag can name", () => {
  const grants = (paths: readonly string[]): string[] =>
    needed(sharePermissions({ relay: RELAY, paths, stateFolder: { ...STATE, path: "/home/a,b" } }));
  assert.deepEqual(grants(["letters/Dear all, hello.txt"])[1], "--allow-read=letters");
  assert.deepEqual(grants(["/srv/a,b/c,d/e"])[1], "--allow-read=/srv");
  assert.deepEqual(grants(["a,b.txt"])[1], "--allow-read=.");
  assert.deepEqual(grants([","])[1], "--allow-read=.");
});

Deno.test("receivePermissions() are the relay alone and the folder; room and state are optional", () => {
  const grants = receivePermissions({ relay: RELAY, folder: "inbox", stateFolder: STATE });
  assert.deepEqual(flags(grants), [
    "--allow-net=relay.example:8080",
    `--allow-read=inbox,${STATE.path}`,
    `--allow-write=inbox,${STATE.path}`,
    "--allow-env=HOME",
    "--allow-sys=statfs",
  ]);
  assert.deepEqual(needed(grants), [
    "--allow-net=relay.example:8080",
    "--allow-read=inbox",
    "--allow-write=inbox",
  ]);
  // A folder with a comma is not widened to the one above it: what is written there is the other side's choice.
  assert.throws(
    () => needed(receivePermissions({ relay: RELAY, folder: "a,b", stateFolder: null })),
    /found a comma/,
  );
});

Deno.test({
  name: "the state folder follows XDG_STATE_HOME, else HOME, and is none where that may not be read",
  permissions: { env: ["XDG_STATE_HOME", "HOME"] },
  fn(): void {
    const before = { XDG_STATE_HOME: Deno.env.get("XDG_STATE_HOME"), HOME: Deno.env.get("HOME") };
    try {
      Deno.env.set("HOME", "/home/me");
      Deno.env.delete("XDG_STATE_HOME");
      assert.deepEqual(namedStateFolder(), STATE);
      // A relative one counts as unset.
      Deno.env.set("XDG_STATE_HOME", "state");
      assert.deepEqual(namedStateFolder(), STATE);
      Deno.env.set("XDG_STATE_HOME", "/state");
      assert.deepEqual(namedStateFolder(), { path: "/state/postern/transfers", variable: "XDG_STATE_HOME" });
      // Named, but neither to be read nor written.
      assert.equal(usableStateFolder(), null);
    } finally {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) Deno.env.delete(name);
        else Deno.env.set(name, value);
      }
    }
  },
});

Deno.test({
  name: "the state folder is none without permissions",
  permissions: "none",
  fn(): void {
    assert.equal(namedStateFolder(), null);
    assert.equal(usableStateFolder(), null);
  },
});
