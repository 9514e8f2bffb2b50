import assert from "node:assert/strict";
import { readIdentity } from "../../../src/client/manage/identity.ts";
import { type JoinOptions, joinServer } from "../../../src/client/manage/join.ts";
import type { ManageFolder } from "../../../src/client/manage/manage_folder.ts";
import { connectServer } from "../../../src/client/manage/server_link.ts";
import { fingerprint } from "../../../src/protocol/manage/signing_key.ts";
import { systemTimers as timers } from "../../../src/protocol/rpc/timers.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { selfSigned } from "../../protocol/transport/pinned_certificates.ts";
import { StandInServer } from "./stand_in_server.ts";
import { temporaryFolder } from "./temporary_manage_folder.ts";

function join(
  folder: ManageFolder,
  token: string,
  options: Partial<JoinOptions> = {},
): ReturnType<typeof joinServer> {
  return joinServer({ folder, token, timers, onNotice: assert.fail, ...options });
}

Deno.test("joinServer() registers a new key by the token, and the folder is all that is needed from then on", async () => {
  await using temporary = await temporaryFolder();
  await using server = await StandInServer.start();
  const { folder } = temporary;
  const joined = await join(folder, ` ${server.token()}\n`);
  assert.equal(joined.name, "alice");
  assert.deepEqual(joined.addresses, [server.address]);
  assert.equal(joined.server, fingerprint(server.key.publicKey));
  const [seen] = server.joins;
  assert.equal(seen?.role, "administrator");
  assert.deepEqual(seen?.key, joined.publicKey);
  assert.deepEqual(seen?.secretHash, server.secretHash);
  const link = await connectServer({ folder, timers, onNotice: assert.fail });
  assert.equal(link.name, "alice");
  link.close();
  await link.closed;
  await link.control.closed;
});

Deno.test("joinServer() has stored its key before the server sees the token", async () => {
  await using temporary = await temporaryFolder();
  await using server = await StandInServer.start();
  const { folder } = temporary;
  server.refusal = ["token", "it is over"];
  await assert.rejects(join(folder, server.token()), { code: "token" });
  const { publicKey } = await readIdentity(folder);
  assert.equal(folder.serverIfJoined(), null);
  // As after a lost answer: the same key comes again.
  server.refusal = null;
  await join(folder, server.token());
  assert.deepEqual(server.joins.map(({ key }) => key), [publicKey, publicKey]);
});

Deno.test("joinServer() may be repeated, and keeps certificates that the server has handed out", async () => {
  await using temporary = await temporaryFolder();
  await using server = await StandInServer.start();
  const { folder } = temporary;
  await join(folder, server.token());
  const record = folder.server(), newer = (await selfSigned()).ca;
  folder.keepServer({ ...record, caCertificates: [newer, ...record.caCertificates], generation: 2 });
  await join(folder, server.token());
  const { generation, caCertificates } = folder.server();
  assert.deepEqual(caCertificates.toSorted(), [newer, ...record.caCertificates].toSorted());
  // A server that has lost its registry counts from 1 again: what it hands out next must not look older.
  assert.equal(generation, 0);
});

Deno.test("joinServer() leaves the identity of another server alone, and says how to have both", async () => {
  await using temporary = await temporaryFolder();
  await using one = await StandInServer.start();
  await using two = await StandInServer.start();
  const { folder } = temporary;
  await join(folder, one.token());
  const before = await Deno.readTextFile(folder.serverPath);
  await assert.rejects(join(folder, two.token()), (error: unknown) => {
    assert(error instanceof Failure);
    assert(error.message.includes(one.address) && error.message.includes(fingerprint(one.key.publicKey)));
    assert.match(error.hint ?? "", /--dir DIR/);
    return true;
  });
  assert.deepEqual(two.joins, []);
  assert.equal(await Deno.readTextFile(folder.serverPath), before);
});

Deno.test("joinServer() refuses what is no token of an administrator, and repeats nothing of it", async () => {
  await using temporary = await temporaryFolder();
  await using server = await StandInServer.start();
  const good = server.token();
  const wrong = [
    "",
    "alice",
    good.slice(0, -3),
    good.replace(/.(.{9})$/, (all, end) => `${all[0] === "A" ? "B" : "A"}${end}`),
  ];
  for (const token of wrong) {
    await assert.rejects(join(temporary.folder, token), (error: unknown) => {
      assert(error instanceof UsageFailure);
      assert.match(error.message, /^cannot read the token: /);
      assert(!error.message.includes(good.slice(20, 40)));
      return true;
    });
  }
  await assert.rejects(join(temporary.folder, server.token("host")), {
    name: "UsageFailure",
    message: "cannot join as an administrator: found the token of a host",
  });
  await assert.rejects(Deno.stat(temporary.folder.path), Deno.errors.NotFound);
});

Deno.test("joinServer() believes no server but the token's", async () => {
  await using temporary = await temporaryFolder();
  await using server = await StandInServer.start();
  await using impostor = await StandInServer.start();
  await assert.rejects(join(temporary.folder, server.token("administrator", [impostor.address])), Failure);
  assert.deepEqual(impostor.joins, []);
});
