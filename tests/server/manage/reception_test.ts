import assert from "node:assert/strict";
import { type DialledLink, dialLink } from "../../../src/protocol/manage/link_handshake.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { fingerprint, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { dialPinned } from "../../../src/protocol/transport/pinned_tls.ts";
import { tls } from "../../../src/protocol/transport/tls.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
import {
  certificateBytes,
  issueServerCertificate,
  makeAuthority,
} from "../../../src/server/manage/certificates.ts";
import { MAX_LINKS_PER_ADMIN } from "../../../src/server/manage/config.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { RawDialler } from "./raw_dialler.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { ServerGround } from "./server_ground.ts";

function newKey(): Promise<SigningKey> {
  return SigningKey.generate(systemRandomBytes);
}

async function refusedAs(code: string, work: Promise<unknown>): Promise<ResetError> {
  const error = await work.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof ResetError, `expected a ResetError, got ${error}`);
  assert.equal(error.code, code);
  return error;
}

Deno.test("ManageServer refuses a key that it does not know, and says no more", async () => {
  await using ground = await ServerGround.lay();
  const key = await newKey();
  await refusedAs("authentication", ground.dial({ key }));
  const [row] = await ground.rows("link_refused");
  assert.equal(row?.["reason"], "authentication");
  assert.equal(row?.["key"], fingerprint(key.publicKey));
});

Deno.test("ManageServer refuses an administrator's key as that of a host, and the other way round", async () => {
  await using ground = await ServerGround.lay();
  const host = await ground.member("host", "web1");
  const admin = await ground.member("administrator", "alice");
  await refusedAs("authentication", ground.dial({ key: admin, role: "host" }));
  await refusedAs("authentication", ground.dial({ key: host, role: "administrator" }));
});

Deno.test("ManageServer refuses a proof by another key than the hello's", async () => {
  await using ground = await ServerGround.lay();
  const known = await ground.member("host", "web1");
  const { connection, certificate } = await ground.connect();
  const cheat = new RawDialler(connection);
  await cheat.link({ publicKey: known.publicKey, signer: await newKey(), certificate });
  assert.equal(await cheat.refusal(), "authentication");
  cheat.close();
  const [row] = await ground.rows("link_refused");
  assert.equal(row?.["reason"], "authentication");
  assert.equal(row?.["name"], undefined);
});

Deno.test("ManageServer refuses a proof that was recorded on an earlier link", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const { connection, certificate } = await ground.connect();
  const honest = new RawDialler(connection);
  await honest.link({ publicKey: key.publicKey, signer: key, certificate });
  assert.equal((await honest.frame()).flow, 1);
  honest.close();

  const again = new RawDialler((await ground.connect()).connection);
  const [hello, ...rest] = honest.sent;
  assert.ok(hello !== undefined);
  await again.send(hello);
  await again.frame();
  for (const bytes of rest) await again.send(bytes);
  assert.equal(await again.refusal(), "authentication");
  again.close();
});

Deno.test("ManageServer refuses a proof that was made for the certificate of a man in the middle", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const { connection } = await ground.connect();
  const relayed = new RawDialler(connection);
  await relayed.link({ publicKey: key.publicKey, signer: key, certificate: new Uint8Array(500).fill(7) });
  assert.equal(await relayed.refusal(), "authentication");
  relayed.close();
});

Deno.test("a dialler refuses a man in the middle whose certificate is of the same CA, before its proof", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const ca = { certificate: ground.caCertificate, key: await Deno.readTextFile(`${ground.folder}/ca.key`) };
  const own = await issueServerCertificate(ca);
  const listener = await tls("127.0.0.1:0", { cert: own.certificate, key: own.key }).listen();
  const seen: number[] = [];
  const relaying = (async () => {
    const victim = await listener.accept();
    const { connection: server } = await ground.connect();
    assert.ok(victim !== null);
    const pass = async (from: typeof server, to: typeof server, count: boolean): Promise<void> => {
      const buffer = new Uint8Array(4096);
      try {
        for (let n = await from.read(buffer); n !== null; n = await from.read(buffer)) {
          if (count) seen.push(n);
          await to.write(buffer.subarray(0, n));
        }
      } catch {
        // One of them has hung up.
      }
      to.close();
    };
    await Promise.all([pass(victim, server, true), pass(server, victim, false)]);
  })();
  const { connection, certificate } = await dialPinned({
    address: listener.address,
    caCertificates: [ground.caCertificate],
  });
  const dialling = dialLink(connection, {
    kind: "link",
    role: "host",
    key,
    serverKey: ground.serverKey,
    serverCertificate: certificate,
    timers: systemTimers,
    random: systemRandomBytes,
    onOpen: () => {},
  });
  await refusedAs("authentication", dialling);
  await relaying;
  listener.close();
  // Its hello and nothing more.
  assert.equal(seen.reduce((sum, each) => sum + each, 0), 5 + 67);
  await until("a line of log", () => ground.lines.some((line) => line.includes("hung up before the proof")));
});

Deno.test("a dialler refuses a server whose certificate is of another CA", async () => {
  await using ground = await ServerGround.lay();
  const other = await makeAuthority();
  assert.ok(certificateBytes(other.certificate, "the other CA").length > 0);
  const dialling = dialPinned({ address: ground.address, caCertificates: [other.certificate] });
  await assert.rejects(dialling, (error) => error instanceof TransportError && error.code === "untrusted");
});

Deno.test("ManageServer lets a join in, and the same key again whose answer was lost", async () => {
  await using ground = await ServerGround.lay();
  const secret = ground.invite("host", "web1", { tags: ["prod"] });
  const key = await newKey();
  const first = await ground.dial({ key, kind: "join", secret });
  first.link.close("cancelled", "the answer was lost");
  await first.link.closed;
  const second = await ground.dial({ key, kind: "join", secret });
  assert.equal(second.name, "web1");
  assert.equal((await ground.rows("joined")).length, 1);
  assert.deepEqual(ground.registry.hostByName("web1")?.tags, ["prod"]);
});

Deno.test("ManageServer refuses a token with another key, for another role, unknown, and expired", async () => {
  await using ground = await ServerGround.lay();
  const used = ground.invite("host", "web1");
  await ground.dial({ key: await newKey(), kind: "join", secret: used });
  await refusedAs("token", ground.dial({ key: await newKey(), kind: "join", secret: used }));
  const forHost = ground.invite("host", "web2");
  await refusedAs(
    "token",
    ground.dial({ key: await newKey(), kind: "join", role: "administrator", secret: forHost }),
  );
  await refusedAs("token", ground.dial({ key: await newKey(), kind: "join", secret: systemRandomBytes(32) }));
  const expired = ground.invite("host", "web3", { lifeMs: -1 });
  await refusedAs("token", ground.dial({ key: await newKey(), kind: "join", secret: expired }));
  // The one that nobody ever made has no row of its own: anybody could make up a thousand.
  assert.equal((await ground.rows("join_refused")).length, 3);
  assert.deepEqual(ground.registry.hosts().map(({ name }) => name), ["web1"]);
});

Deno.test("ManageServer refuses a revoked key and a revoked token as such", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  ground.registry.revoke("host", "web1");
  await refusedAs("revoked", ground.dial({ key }));
  const [row] = await ground.rows("link_refused");
  assert.equal(row?.["reason"], "revoked");
  const secret = ground.invite("host", "web2");
  ground.registry.revokeInvite("web2");
  await refusedAs("token", ground.dial({ key: await newKey(), kind: "join", secret }));
});

Deno.test("ManageServer takes no more than a bounded number of tokens from one address", async () => {
  await using ground = await ServerGround.lay();
  const key = await newKey();
  for (let i = 0; i < 20; i++) {
    await refusedAs("token", ground.dial({ key, kind: "join", secret: systemRandomBytes(32) }));
  }
  await refusedAs("exhausted", ground.dial({ key, kind: "join", secret: systemRandomBytes(32) }));
});

Deno.test("ManageServer hangs up on who says nothing, and on who dribbles, after five seconds", async () => {
  const timers = new FakeTimers();
  await using ground = await ServerGround.lay({ timers });
  const silent = await ground.connect();
  const dribbling = await ground.connect();
  await dribbling.connection.write(new Uint8Array([1, 0x10, 0]));
  await until("both are there", () => ground.server.counts.unproven === 2);
  await timers.pass(4_900);
  assert.equal(ground.server.counts.unproven, 2);
  await timers.pass(100);
  await until("both are gone", () => ground.server.counts.unproven === 0);
  for (const { connection } of [silent, dribbling]) {
    assert.equal(await connection.read(new Uint8Array(100)).catch(() => null), null);
    connection.close();
  }
  const rows = await ground.rows("link_refused", 2);
  assert.deepEqual(rows.map(({ reason }) => reason), ["silent", "silent"]);
});

Deno.test("ManageServer hangs up on who has proven nothing when it is stopped", async () => {
  await using ground = await ServerGround.lay();
  const { connection } = await ground.connect();
  await until("it is there", () => ground.server.counts.unproven === 1);
  let isGone = false;
  const reading = connection.read(new Uint8Array(100)).catch(() => null).then(() => isGone = true);
  await ground.server.stop();
  // Long before its five seconds are over.
  await until("it is hung up on", () => isGone, { timeoutMs: 2_000 });
  await reading;
  connection.close();
});

Deno.test("ManageServer hangs up on who says anything but a hello", async () => {
  await using ground = await ServerGround.lay();
  const { connection } = await ground.connect();
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  const buffer = new Uint8Array(1000);
  let bytes = 0;
  for (let n = await connection.read(buffer); n !== null; n = await connection.read(buffer)) bytes += n;
  assert.ok(bytes < 200);
  connection.close();
  const [row] = await ground.rows("link_refused");
  assert.match(String(row?.["reason"]), /malformed|version/);
});

Deno.test("ManageServer gives an administrator many links, and not any number", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("administrator", "alice");
  const dial = (): Promise<DialledLink> => ground.dial({ key, role: "administrator" });
  // From now on its network is known, and has more places.
  const first = await dial();
  await Promise.all(Array.from({ length: MAX_LINKS_PER_ADMIN - 1 }, dial));
  await refusedAs("exhausted", dial());
  assert.equal(ground.server.counts.admins, MAX_LINKS_PER_ADMIN);
  first.link.close("cancelled", "");
  await until("there is a place", () => ground.server.counts.admins < MAX_LINKS_PER_ADMIN);
  await dial();
});

Deno.test("ManageServer lets others in while one address holds all places that it may have", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const { connect } = await import("node:net");
  const port = Number(ground.address.split(":")[1]);
  const idlers = Array.from({ length: 200 }, () => {
    const idler = connect({ port, host: "127.0.0.1", localAddress: "127.0.0.2" });
    idler.on("error", () => {});
    return idler;
  });
  await until("its places are taken", () => ground.server.counts.unproven === 64);
  await until("the others are told", () => ground.lines.some((line) => line.includes("reason=share")));
  const host = await ScriptedHost.start(ground, key);
  assert.equal(host.dialled.name, "web1");
  for (const idler of idlers) idler.destroy();
  await until("they are gone", () => ground.server.counts.unproven === 0);
  // Bounded, whatever a stranger does.
  assert.ok(ground.lines.filter((line) => line.includes("connection refused")).length <= 20);
  assert.ok(ground.lines.filter((line) => line.includes("hung up")).length <= 20);
});
