import assert from "node:assert/strict";
import { controlPeer } from "../../../src/protocol/manage/control_flow.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { ApplicationError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { beginRotation, finishRotation } from "../../../src/server/manage/rotate_ca.ts";
import { dataFolder } from "../../../src/server/manage/data_folder.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { ServerGround } from "./server_ground.ts";

Deno.test("ManageServer shows hosts online, offline and never seen to an administrator", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1", ["prod"]);
  await ground.member("host", "web2");
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const host = await ScriptedHost.start(ground, key);
  const first = await until("a latency", async () => {
    const rows = await admin.peer.client.hosts(null);
    return rows[0]?.latencyMs === null ? undefined : rows;
  });
  const [web1, web2, ...others] = first;
  assert.deepEqual(others, []);
  assert.deepEqual(
    [web1?.name, web1?.online, web1?.tags, web1?.version, web1?.system, web1?.sessions],
    ["web1", true, ["prod"], "0.1.0", "linux x86_64", 0],
  );
  assert.ok((web1?.latencyMs ?? -1) >= 0);
  assert.deepEqual([web2?.name, web2?.online, web2?.sinceMs, web2?.version], ["web2", false, null, null]);

  host.close();
  const after = await until("it is offline", async () => {
    const [row] = await admin.peer.client.hosts(null);
    return row?.online === false && row;
  });
  assert.equal(after.version, "0.1.0");
  assert.ok((after.sinceMs ?? 0) >= (web1?.sinceMs ?? Infinity));
  assert.deepEqual((await ground.rows("link_down", 1)).map(({ host }) => host), ["web1"]);
});

Deno.test("ManageServer tells a watching administrator of a change, at most once a second", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const watch = admin.peer.client.watchHosts(null);
  const first = await watch.next();
  assert.equal(first.done, false);
  assert.deepEqual(first.value.map(({ online }) => online), [false]);
  const host = await ScriptedHost.start(ground, key);
  const second = await watch.next();
  assert.equal(second.done, false);
  assert.deepEqual(second.value.map(({ online }) => online), [true]);
  // On a quiet night, too: nothing changes that would wake it.
  await watch.return?.();
  const others = [admin.peer.client.watchHosts(null), admin.peer.client.watchHosts(null)];
  for (const other of others) await other.next();
  await assert.rejects(
    admin.peer.client.watchHosts(null).next(),
    (error) => error instanceof ApplicationError && error.reason === "exhausted",
  );
  host.close();
});

Deno.test("ManageServer replaces a ghost without noise", async () => {
  const timers = new FakeTimers();
  await using ground = await ServerGround.lay({ timers });
  const key = await ground.member("host", "web1");
  const ghost = await ScriptedHost.start(ground, key, { isDeaf: true });
  const starting = ScriptedHost.start(ground, key);
  await until("the ghost is asked", async () => {
    await timers.pass(100);
    return timers.monotonicMs() > 60_000 ? false : ghost.dialled.link.isOpen === false;
  });
  assert.ok(timers.monotonicMs() >= 3_000);
  const host = await starting;
  assert.equal((await ghost.dialled.link.closed).code, "replaced");
  assert.equal(host.dialled.link.isOpen, true);
  await timers.pass(2_000);
  await ground.rows("link_up", 2);
  assert.deepEqual(ground.rowsNow("link_down"), []);
  assert.deepEqual(ground.rowsNow("link_contested"), []);
  assert.deepEqual(ground.rowsNow("link_refused"), []);
});

Deno.test("ManageServer refuses a second link with the key of a host that answers, and notes both addresses", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const host = await ScriptedHost.start(ground, key);
  const clone = await SigningKey.fromSeed(key.seed);
  await assert.rejects(
    ScriptedHost.start(ground, clone),
    (error) => error instanceof ResetError && error.code === "in_use",
  );
  assert.equal(host.dialled.link.isOpen, true);
  const [row] = await ground.rows("link_contested");
  assert.equal(row?.["host"], "web1");
  assert.match(String(row?.["holder"]), /^127\.0\.0\.1:\d+$/);
  assert.match(String(row?.["newcomer"]), /^127\.0\.0\.1:\d+$/);
  assert.notEqual(row?.["holder"], row?.["newcomer"]);
});

Deno.test("ManageServer takes the newest of several newcomers with a ghost's key", async () => {
  const timers = new FakeTimers();
  await using ground = await ServerGround.lay({ timers });
  const key = await ground.member("host", "web1");
  await ScriptedHost.start(ground, key, { isDeaf: true });
  const early = ScriptedHost.start(ground, key).then(() => "link", (error: ResetError) => error.code);
  await until("the first one is there", () => ground.server.counts.unproven === 1);
  const late = ScriptedHost.start(ground, key).then(() => "link", (error: ResetError) => error.code);
  await until("the second one is there", () => ground.server.counts.unproven === 2);
  await timers.pass(1_000);
  await until("both are answered", async () => {
    await timers.pass(100);
    return ground.server.counts.unproven === 0;
  });
  assert.deepEqual(await Promise.all([early, late]), ["replaced", "link"]);
});

Deno.test("ManageServer ends the link of a host that does not register in time", async () => {
  const timers = new FakeTimers();
  await using ground = await ServerGround.lay({ timers });
  const { link } = await ground.dial({ key: await ground.member("host", "web1") });
  await until("it stands", () => ground.server.counts.hosts === 1);
  await timers.pass(10_000);
  assert.equal((await link.closed).code, "silent");
});

const NO_CALLS = {
  ping: () => null,
  challenge: () => systemRandomBytes(16),
  end: () => null,
  pin: () => null,
};

Deno.test("ManageServer refuses a second registration, and all else before the first", async () => {
  await using ground = await ServerGround.lay();
  const { control, link } = await ground.dial({ key: await ground.member("host", "web1") });
  const { client } = controlPeer(control, {
    role: "dialler",
    side: "host",
    timers: systemTimers,
    handlers: NO_CALLS,
  });
  const isMalformed = (error: unknown): boolean =>
    error instanceof ApplicationError && error.reason === "malformed";
  const session = "00".repeat(8);
  const end = { session, ending: "done", exitCode: 0, bytesIn: 1, bytesOut: 1, durationMs: 1 } as const;
  await assert.rejects(client.ended(end), isMalformed);
  await assert.rejects(client.pinned(1), isMalformed);
  const registration = { version: "9", system: "x", sessions: [], pinsGeneration: 1 };
  assert.deepEqual(await client.register(registration), { end: [] });
  await assert.rejects(client.register(registration), isMalformed);
  assert.equal(link.isOpen, true);
});

Deno.test("ManageServer lets no host open a session", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  await ScriptedHost.start(ground, await ground.member("host", "web2"));
  const opening = host.dialled.link.open("session", new Uint8Array(200));
  await assert.rejects(opening, (error) => error instanceof ResetError && error.code === "malformed");
  assert.equal(host.dialled.link.isOpen, true);
});

Deno.test("ManageServer lets a host link only so often", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  for (let i = 0; i < 20; i++) {
    const { link } = await ground.dial({ key });
    link.close("cancelled", "");
    await link.closed;
  }
  const dialling = ground.dial({ key });
  await assert.rejects(dialling, (error) => error instanceof ResetError && error.code === "exhausted");
  const [row] = await ground.rows("link_refused");
  assert.deepEqual([row?.["host"], row?.["reason"]], ["web1", "exhausted"]);
});

Deno.test("ManageServer refuses what is none of a host's numbers", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const ended = {
    session: "00".repeat(8),
    ending: "done",
    exitCode: 0,
    bytesIn: 1,
    bytesOut: 1,
    durationMs: 1,
  };
  for (
    const lie of [
      { bytesIn: -1 },
      { bytesOut: 0.5 },
      { bytesOut: 2 ** 60 },
      { durationMs: -1 },
      { durationMs: Number.NaN },
      { exitCode: 256 },
      { ending: "victory" },
      { session: "../../../../.." },
    ]
  ) {
    const telling = host.peer.client.ended(
      { ...ended, ...lie } as Parameters<typeof host.peer.client.ended>[0],
    );
    await assert.rejects(
      telling,
      (error) => error instanceof RpcError && error.code === "invalid_argument",
      JSON.stringify(lie),
    );
  }
  assert.equal(host.dialled.link.isOpen, true);
  assert.deepEqual(ground.rowsNow("session_ended"), []);
});

Deno.test("ManageServer writes nothing for an end of an unknown session or of another host's", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const liar = await ScriptedHost.start(ground, await ground.member("host", "web2"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const opened = await admin.open("web1");
  const end = { ending: "done", exitCode: 0, bytesIn: 1, bytesOut: 1, durationMs: 1 } as const;
  await liar.peer.client.ended({ ...end, session: opened.session });
  await liar.peer.client.ended({ ...end, session: "0123456789abcdef" });
  assert.deepEqual(ground.rowsNow("session_ended"), []);
  assert.deepEqual(admin.heads, []);
  const [row] = await admin.peer.client.hosts(null);
  assert.equal(row?.sessions, 1);

  const head = await host.peer.client.ended({ ...end, session: opened.session });
  const again = await host.peer.client.ended({ ...end, session: opened.session, exitCode: 7 });
  // The newest one: a row of a link may have come between.
  assert.ok(again.number >= head.number);
  assert.equal(ground.rowsNow("session_ended").length, 1);
  await until("the administrator has the head", () => admin.heads.length === 1);
  assert.deepEqual(admin.heads, [head]);
});

Deno.test("ManageServer has a host end what is not its own, or of another administrator than it says", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const first = await ScriptedHost.start(ground, key);
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const { session } = await admin.open("web1", { outlivesLink: true });
  const elsewhere = "feedfeedfeedfeed";
  first.close();
  await until("it is gone", () => ground.server.counts.hosts === 0);

  const told = { session, adminKey: admin.key.publicKey, action: "shell", detached: true } as const;
  const second = await ScriptedHost.start(ground, key, {
    sessions: [told, { ...told, session: elsewhere }],
  });
  assert.deepEqual(second.registered.end, [elsewhere]);
  second.close();
  await until("it is gone", () => ground.server.counts.hosts === 0);

  const other = await SigningKey.generate(systemRandomBytes);
  const third = await ScriptedHost.start(ground, key, { sessions: [{ ...told, adminKey: other.publicKey }] });
  assert.deepEqual(third.registered.end, [session]);
  third.close();
  await until("it is gone", () => ground.server.counts.hosts === 0);

  const fourth = await ScriptedHost.start(ground, key, { sessions: [{ ...told, action: "exec" }] });
  assert.deepEqual(fourth.registered.end, [session]);

  // Another host, with the very numbers of this one's session.
  const liar = await ScriptedHost.start(ground, await ground.member("host", "web2"), { sessions: [told] });
  assert.deepEqual(liar.registered.end, [session]);
});

Deno.test("ManageServer knows everybody and every session after a restart", async () => {
  await using ground = await ServerGround.lay();
  const hostKey = await ground.member("host", "web1");
  const adminKey = await ground.member("administrator", "alice");
  const host = await ScriptedHost.start(ground, hostKey);
  const admin = await ScriptedAdmin.start(ground, adminKey);
  const { session } = await admin.open("web1", { outlivesLink: true });
  await ground.restart();
  assert.equal((await host.dialled.link.closed).code, "shutting_down");
  assert.equal((await admin.dialled.link.closed).code, "shutting_down");
  assert.equal(ground.registry.hostByName("web1")?.online, false);

  const told = { session, adminKey: adminKey.publicKey, action: "shell", detached: true } as const;
  const back = await ScriptedHost.start(ground, hostKey, { sessions: [told] });
  const again = await ScriptedAdmin.start(ground, adminKey);
  assert.deepEqual(back.registered.end, []);
  const sessions = await again.peer.client.sessions(null);
  assert.deepEqual(sessions.map(({ session, host, detached }) => [session, host, detached]), [
    [session, "web1", true],
  ]);
  const opened = await again.open("web1", { action: "attach", session });
  assert.equal(opened.session, session);
});

Deno.test("ManageServer takes nobody for online whom a server that was killed has left so", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  await ScriptedHost.start(ground, key);
  await until("it is noted", () => ground.registry.hostByName("web1")?.online);
  await ground.server.stop();
  // Nor one that was stopped in order.
  assert.equal(ground.registry.hostByName("web1")?.online, false);
  const facts = { version: "0.1.0", system: "linux x86_64", pinsGeneration: 1, address: "192.0.2.7:1" };
  ground.registry.noteOnline(key.publicKey, facts);
  await ground.restart();
  assert.equal(ground.registry.hostByName("web1")?.online, false);
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  assert.deepEqual((await admin.peer.client.hosts(null)).map(({ online }) => online), [false]);
});

Deno.test("ManageServer hands newer certificates to hosts and administrators, and notes who has them", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  await until("the first ones are noted", () => ground.registry.withoutPins().length === 0);
  await beginRotation(dataFolder(ground.folder), ground.registry);
  const pins = await until("the host has them", () => host.pins[0]);
  assert.deepEqual([pins.generation, pins.caCertificates.length], [2, 2]);
  assert.equal(pins.caCertificates[0], ground.caCertificate);
  await host.peer.client.pinned(99);
  await until("it is noted", () => ground.registry.withoutPins().every(({ name }) => name === "alice"));
  admin.close();
  const again = await ScriptedAdmin.start(ground, admin.key);
  await until("the administrator has them", () => again.pins[0]?.generation === 2);
  await until("all have them", () => ground.registry.withoutPins().length === 0);
  assert.equal(ground.registry.hostByName("web1")?.pinsGeneration, 2);

  await ground.restart();
  assert.equal(ground.registry.pinsGeneration(), 3);
  await assert.rejects(ground.connect());
});

Deno.test("ManageServer hands its certificates to a host that has newer ones, of a change that it knows nothing of", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"), { pinsGeneration: 7 });
  const pins = await until("the host has them", () => host.pins[0]);
  assert.deepEqual([pins.generation, pins.caCertificates], [1, [ground.caCertificate]]);
});

Deno.test("ManageServer writes nothing for a host that says again and again which certificates it has", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  await until("it is noted", () => ground.registry.withoutPins().length === 0);
  await until("its row is written", () => ground.rowsNow("link_up").length === 1);
  const before = ground.registry.changes();
  for (let count = 0; count < 50; count++) await host.peer.client.pinned(count % 3);
  assert.equal(ground.registry.changes(), before);
});

Deno.test("ManageServer hands out nothing that its own certificate does not fit, and asks for another start", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const places = dataFolder(ground.folder);
  await beginRotation(places, ground.registry);
  await until("the host has both", () => host.pins.length === 1);
  await finishRotation(places, ground.registry, { evenWithout: true });
  await until("it is told", () => ground.lines.some((line) => line.includes("restart the server")));
  // It would believe the new authority alone, and not find this server any more.
  assert.deepEqual(host.pins.map(({ generation }) => generation), [2]);
});
