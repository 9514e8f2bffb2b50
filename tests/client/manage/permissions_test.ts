import assert from "node:assert/strict";
import {
  forwardPermissions,
  identityPermissions,
  joinPermissions,
  managePermissions,
  type ManageScope,
  manageScope,
  replayPermissions,
  shellPermissions,
} from "../../../src/client/manage/permissions.ts";
import type { ExecOutput } from "../../../src/protocol/manage/session_contract.ts";
import { permissionFlags, type PermissionGrant, permissionSet } from "../../../src/system/permissions.ts";
import { reductions } from "../../permission_proof.ts";
import { manageStage } from "./manage_stage.ts";

const mainPath = new URL("../../../main.ts", import.meta.url).pathname;

const SCOPE: ManageScope = {
  folder: { path: "/home/me/.config/postern/manage", variable: "HOME" },
  addresses: ["manage.example:7022", "[2001:db8::1]:7022"],
};

function flags(grants: readonly PermissionGrant[]): string[] {
  return permissionFlags(permissionSet(grants));
}

function needed(grants: readonly PermissionGrant[]): string[] {
  return flags(grants.filter(({ optional }) => optional !== true));
}

Deno.test("managePermissions() are the server's addresses and the folder", () => {
  const { path } = SCOPE.folder ?? { path: "" };
  const net = "--allow-net=manage.example:7022,[2001:db8::1]:7022";
  assert.deepEqual(flags(managePermissions(SCOPE)), [
    net,
    `--allow-read=${path}`,
    `--allow-write=${path}`,
    "--allow-env=HOME",
  ]);
  const named = { ...SCOPE, folder: { path: "here", variable: null } };
  assert.deepEqual(flags(managePermissions(named)), [net, "--allow-read=here", "--allow-write=here"]);
  assert.deepEqual(flags(managePermissions({ folder: null, addresses: [] })), []);
});

Deno.test("the commands of an administrator add what they use, and no more", () => {
  const base = needed(managePermissions(SCOPE));
  assert.deepEqual(flags(identityPermissions(SCOPE)), [base[1], "--allow-env=HOME"]);
  assert.deepEqual(needed(shellPermissions(SCOPE)), base);
  assert(flags(shellPermissions(SCOPE)).includes("--allow-env=HOME,TERM"));
  assert.equal(needed(shellPermissions({ ...SCOPE, recordPath: "a.cast" }))[2], `${base[2]},a.cast`);
  assert.equal(
    needed(forwardPermissions({ ...SCOPE, listen: ["127.0.0.1:5432"] }))[0],
    `${base[0]},127.0.0.1:5432`,
  );
  assert.deepEqual(flags(replayPermissions("a.cast")), ["--allow-read=a.cast"]);
});

Deno.test("joinPermissions() are the addresses in the token; of one from standard input nobody knows them", async () => {
  await using on = await manageStage();
  assert.equal(needed(joinPermissions(SCOPE, on.server.token()))[0], `--allow-net=${on.server.address}`);
  assert.equal(needed(joinPermissions(SCOPE, "-"))[0], "--allow-net");
  assert.deepEqual(
    needed(joinPermissions(SCOPE, "nonsense")),
    needed(managePermissions({ ...SCOPE, addresses: [] })),
  );
});

Deno.test("client exec works with exactly its permissions, and says which one it misses", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {
    exec: async function* (): AsyncGenerator<ExecOutput> {
      yield { exitCode: 0 };
    },
  });
  const { path } = on.folder;
  const line = [mainPath, "client", "exec", "web1", "--dir", path, "--", "true"];
  const run = async (allowed: readonly string[]): Promise<{ code: number; stderr: string }> => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", ...allowed, ...line],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    return { code, stderr: new TextDecoder().decode(stderr) };
  };
  const all = flags(managePermissions(manageScope(path)));
  assert.deepEqual(all, [
    `--allow-net=${on.server.address}`,
    `--allow-read=${path}`,
    `--allow-write=${path}`,
  ]);
  const { code, stderr } = await run(all);
  assert.equal(code, 0, stderr);
  for (const { removed, flags: left } of reductions(all)) {
    const without = await run(left);
    assert.equal(without.code, 255, removed);
    assert(without.stderr.includes(`permissions are missing: ${removed}\n`), `${removed}: ${without.stderr}`);
  }
});
