import assert from "node:assert/strict";
import { parseListenAddress } from "../../../src/server/knock/listen_address.ts";
import { bindLinkListener } from "../../../src/server/manage/listener.ts";
import { ManageServer } from "../../../src/server/manage/manage_server.ts";
import { managePermissions } from "../../../src/server/manage/permissions.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { Log } from "../../../src/system/log.ts";
import { permissionFlags, permissionSet } from "../../../src/system/permissions.ts";
import { ServerGround } from "./server_ground.ts";

Deno.test("managePermissions() are the listening address and the data folder, and nothing else", () => {
  const address = parseListenAddress("[::]:7022");
  assert.ok(address !== null);
  const grants = managePermissions({ folder: "/var/lib/postern-manage", address });
  assert.deepEqual(permissionFlags(permissionSet(grants)), [
    "--allow-net=[::]:7022",
    "--allow-read=/var/lib/postern-manage",
    "--allow-write=/var/lib/postern-manage",
  ]);
});

Deno.test("ManageServer refuses a folder in which another server runs, and an address that is taken", async () => {
  await using ground = await ServerGround.lay();
  const address = parseListenAddress(ground.address);
  assert.ok(address !== null);
  const log = new Log({ role: "manage", format: "text", write: () => {} });
  const parts = { log, clock: systemClock, predecessorMs: 0 };
  const second = ManageServer.start({ folder: ground.folder, address }, parts);
  await assert.rejects(
    second,
    (error) => error instanceof Failure && /another management server/.test(error.hint ?? ""),
  );
  const tls = {
    certificate: await Deno.readTextFile(`${ground.folder}/tls.pem`),
    key: await Deno.readTextFile(`${ground.folder}/tls.key`),
  };
  assert.throws(
    () => bindLinkListener(address, tls, () => {}),
    (error) => error instanceof Failure && /another program has the port/.test(error.hint ?? ""),
  );
});

Deno.test("ManageServer that cannot start leaves the folder free for the next one", async () => {
  await using ground = await ServerGround.lay();
  const policy = `${ground.folder}/policy.toml`;
  const good = await Deno.readTextFile(policy);
  await Deno.writeTextFile(policy, "[[rule]\n");
  await assert.rejects(
    ground.restart(),
    (error) => error instanceof Failure && /policy\.toml/.test(error.message),
  );
  await Deno.writeTextFile(policy, good);
  await ground.restart();
});
