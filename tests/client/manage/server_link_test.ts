import assert from "node:assert/strict";
import { connectServer } from "../../../src/client/manage/server_link.ts";
import { signHead } from "../../../src/protocol/manage/audit_head.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { selfSigned } from "../../protocol/transport/pinned_certificates.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";
import { until } from "../../e2e/until.ts";
import { manageStage } from "./manage_stage.ts";

const timers = systemTimers;

/** A port of this machine where nobody listens. */
function deadAddress(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `127.0.0.1:${listener.addr.port}`;
}

/** Reads what comes before the end. */
async function untilHungUp(connection: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4096);
  while (await connection.read(buffer).catch(() => null) !== null);
}

Deno.test("connectServer() takes the one address of several where the server is", async () => {
  await using on = await manageStage();
  await on.server.joined(on.folder, [deadAddress(), on.server.address, "192.0.2.1:7022"]);
  const link = await on.connect();
  assert.equal(link.name, "alice");
  assert.deepEqual(await link.control.client.hosts(null), []);
  assert.deepEqual(on.notices, []);
});

Deno.test("connectServer() hangs up where another address was faster", async () => {
  await using on = await manageStage();
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await on.server.joined(on.folder, [`127.0.0.1:${mute.addr.port}`, on.server.address]);
  const connecting = on.connect();
  using connection = await mute.accept();
  await connecting;
  await untilHungUp(connection);
});

Deno.test("connectServer() keeps one link where the server is proven at several addresses", async () => {
  await using on = await manageStage();
  await on.server.joined(on.folder, [on.server.address, on.server.address, on.server.address]);
  const link = await on.connect();
  assert.deepEqual(await link.control.client.hosts(null), []);
  await until("one link is left", () => on.server.links.filter(({ link }) => link.isOpen).length === 1);
  assert.deepEqual(await link.control.client.hosts(null), []);
});

Deno.test("connectServer() names each address and its reason where none leads to the server", async () => {
  await using on = await manageStage();
  const [one, two] = [deadAddress(), deadAddress()];
  await on.server.joined(on.folder, [one, two]);
  await assert.rejects(on.connect(), (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /^cannot reach the management server: /);
    for (const address of [one, two]) {
      assert.equal(error.message.split(`${address}: `).length, 2, error.message);
    }
    assert.match(error.hint ?? "", /postern server manage runs there/);
    return true;
  });
});

Deno.test("connectServer() believes no certificate but one of the pinned CA", async () => {
  await using on = await manageStage();
  const record = on.folder.server();
  on.folder.keepServer({ ...record, caCertificates: [(await selfSigned()).ca] });
  await assert.rejects(on.connect(), (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /its certificate is not of a pinned CA/);
    assert.match(error.hint ?? "", /^somebody may stand in between/);
    return true;
  });
});

Deno.test("connectServer() believes no server without the pinned key", async () => {
  await using on = await manageStage();
  const other = await SigningKey.generate(systemRandomBytes);
  on.folder.keepServer({ ...on.folder.server(), serverKey: other.publicKey });
  await assert.rejects(on.connect(), (error: unknown) => {
    assert(error instanceof Failure);
    assert.match(error.message, /^cannot reach the management server: 127\.0\.0\.1:\d+: cannot link/);
    assert.match(error.hint ?? "", /^somebody may stand in between/);
    return true;
  });
});

Deno.test("connectServer() passes on what the proven server says, whatever other addresses do", async () => {
  await using on = await manageStage();
  await on.server.joined(on.folder, [deadAddress(), on.server.address]);
  for (const code of ["revoked", "version", "authentication"] as const) {
    on.server.refusal = [code, "because"];
    await assert.rejects(on.connect(), { name: "ResetError", code, by: "there" });
  }
});

Deno.test("connectServer() passes it on at once, also where another address does not answer", async () => {
  await using on = await manageStage();
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await on.server.joined(on.folder, [`127.0.0.1:${mute.addr.port}`, on.server.address]);
  on.server.refusal = ["revoked", "alice was revoked"];
  const failed = assert.rejects(on.connect(), { name: "ResetError", code: "revoked" });
  using _connection = await mute.accept();
  await failed;
});

Deno.test("connectServer() waits ten seconds in all, and says after one what for", async () => {
  await using on = await manageStage();
  // Takes the connection and says nothing.
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `127.0.0.1:${mute.addr.port}`, dead = deadAddress();
  await on.server.joined(on.folder, [address, dead]);
  const clock = new FakeTimers();
  const failed = assert.rejects(
    connectServer({ folder: on.folder, timers: clock, onNotice: on.onNotice }),
    ({ message }: Error) => {
      assert(
        message.startsWith(
          `cannot reach the management server: ${address}: no answer within 10 s; ${dead}: `,
        ),
      );
      return true;
    },
  );
  using _connection = await mute.accept();
  await clock.pass(1_000);
  assert.deepEqual(on.notices, [`waiting for the management server (${address}, ${dead}), 10 s at most`]);
  await clock.pass(9_000);
  await failed;
});

Deno.test("connectServer() is given up by its signal", async () => {
  await using on = await manageStage();
  using mute = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await on.server.joined(on.folder, [`127.0.0.1:${mute.addr.port}`]);
  const giveUp = new AbortController(), reason = new Error("Ctrl-C");
  const { signal } = giveUp;
  const failed = assert.rejects(
    connectServer({ folder: on.folder, timers, onNotice: on.onNotice, signal }),
    reason,
  );
  using connection = await mute.accept();
  giveUp.abort(reason);
  await failed;
  await untilHungUp(connection);
});

Deno.test("connectServer() fails before it dials where there is no key", async () => {
  await using on = await manageStage();
  await Deno.remove(on.folder.identityPath);
  await assert.rejects(on.connect(), { message: /^no key of yours is known: / });
});

Deno.test("connectServer() leaves no link behind where the head of the audit cannot be read", async () => {
  await using on = await manageStage();
  await Deno.mkdir(on.folder.headPath);
  await assert.rejects(on.connect(), { name: "Failure", message: /^could not read .*head/ });
  await Deno.remove(on.folder.headPath);
  // Whoever was dialled before would be there by now.
  await on.connect();
  assert.equal(on.server.links.length, 1);
});

Deno.test("ServerLink stores certificates before it answers, also those of a server that counts anew", async () => {
  await using on = await manageStage();
  await on.connect();
  const [link] = on.server.links, before = on.folder.server(), [own = ""] = before.caCertificates;
  const first = (await selfSigned()).ca, second = (await selfSigned()).ca;
  // The last two: a backup of the server was restored, and its next change has a number that was there before.
  for (const [pem, generation] of [[first, 4], [first, 3], [second, 3]] as const) {
    await link?.control.client.pin({ caCertificates: [own, pem], generation });
    assert.deepEqual(on.folder.server(), { ...before, caCertificates: [own, pem], generation });
  }
  // With both pinned the server is still believed.
  await on.connect();
});

Deno.test("ServerLink leaves only when certificates that came are stored, and the server knows it", async () => {
  await using on = await manageStage();
  const link = await on.connect();
  const [served] = on.server.links, before = on.folder.server();
  const caCertificates = [...before.caCertificates, (await selfSigned()).ca];
  const pinned = served?.control.client.pin({ caCertificates, generation: 4 });
  pinned?.catch(() => {});
  // Comes back after the certificates have come.
  await link.control.client.hosts(null);
  await link.leave();
  assert.equal(on.folder.server().generation, 4);
  assert.equal(await pinned, null);
});

Deno.test("ServerLink keeps the head that comes when a session has ended", async () => {
  await using on = await manageStage();
  const link = await on.connect();
  const head = await signHead({ number: 5, hash: new Uint8Array(32).fill(5) }, on.server.key);
  await on.server.links[0]?.control.client.ended(head);
  await link.heads.kept;
  assert.match(await Deno.readTextFile(on.folder.headPath), /^0000000000000005/);
});

Deno.test("ServerLink says why it is gone", async () => {
  await using on = await manageStage();
  const link = await on.connect();
  await settled();
  on.server.links[0]?.link.close("revoked", "alice was revoked");
  const { code, by, message } = await link.closed;
  assert.deepEqual([code, by], ["revoked", "there"]);
  assert.match(message, /alice was revoked/);
});

Deno.test("ServerLink leaves in order: the server is told, and the heads are stored", async () => {
  await using on = await manageStage();
  const link = await on.connect();
  await link.heads.take(await signHead({ number: 6, hash: new Uint8Array(32).fill(6) }, on.server.key));
  await link.leave();
  assert.match(await Deno.readTextFile(on.folder.headPath), /^0000000000000006/);
  const why = await on.server.links[0]?.link.closed;
  assert.deepEqual([why?.code, why?.by], ["cancelled", "there"]);
});
