import assert from "node:assert/strict";
import type { SessionEnding } from "../../../src/protocol/manage/control_contract.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { ServerGround } from "./server_ground.ts";
import { ShiftedClock } from "./shifted_clock.ts";

/** A revocation must be everywhere within that; the waits of these tests end then. */
const SOON = { timeoutMs: 1_000 };

async function endingOf(closed: Promise<ResetError | null>): Promise<string> {
  let ended: ResetError | null | undefined;
  void closed.then((error) => ended = error);
  await until("it has ended", () => ended !== undefined, SOON);
  return ended?.code ?? "in order";
}

function rule(lines: string): string {
  return `[[rule]]\nadmins = ["*"]\nhosts = ["*"]\n${lines}\n`;
}

Deno.test("RevocationWatch ends a host's link and sessions within a second of another program's revocation", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const opened = await admin.open("web1");
  const detached = await admin.open("web1", { outlivesLink: true });
  ground.registry.revoke("host", "web1");
  assert.equal(await endingOf(host.dialled.link.closed), "revoked");
  // Not "revoked": its administrator was not shut out.
  assert.equal(await endingOf(opened.flow.closed), "refused_by_server");
  assert.equal(await endingOf(detached.flow.closed), "refused_by_server");
  // It was told to end what runs, before its link went.
  const ordered = host.orders.flatMap(({ sessions }) => sessions);
  assert.ok(ordered.includes(opened.session) && ordered.includes(detached.session));
  // Nobody is left who could tell the ends, so the server writes them.
  const rows = await ground.rows("session_ended", 2);
  assert.deepEqual(rows.map(({ ending }) => ending), ["revoked", "revoked"]);
  assert.deepEqual(await admin.peer.client.hosts(null), []);
  await assert.rejects(
    ground.dial({ key: host.key }),
    (error) => error instanceof ResetError && error.code === "revoked",
  );
});

Deno.test("RevocationWatch ends an administrator's links and sessions, detached ones too", async () => {
  await using ground = await ServerGround.lay();
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const key = await ground.member("administrator", "alice");
  const [first, second] = [await ScriptedAdmin.start(ground, key), await ScriptedAdmin.start(ground, key)];
  const bob = await ScriptedAdmin.start(ground, await ground.member("administrator", "bob"));
  const others = await bob.open("web1");
  const opened = await first.open("web1");
  const left = await second.open("web1", { outlivesLink: true });
  second.close();
  await until("it is gone", () => ground.server.counts.admins === 2);
  ground.registry.revoke("administrator", "alice");
  assert.equal(await endingOf(first.dialled.link.closed), "revoked");
  const [taken] = host.taken.filter(({ asked }) => asked.open.session === opened.session);
  assert.ok(taken !== undefined);
  assert.match(await endingOf(taken.flow.closed), /revoked|lost|cancelled/);
  await until("the host is told of both", () => {
    const ordered = host.orders.flatMap(({ sessions }) => sessions);
    return ordered.includes(opened.session) && ordered.includes(left.session);
  }, SOON);
  assert.ok(host.orders.every(({ ending }) => ending === "revoked"));
  assert.ok(!host.orders.some(({ sessions }) => sessions.includes(others.session)));
  assert.equal(others.flow.failure, null);
  assert.equal(host.dialled.link.isOpen, true);
});

Deno.test("RevocationWatch ends what a stricter policy.toml does not allow, and leaves the rest", async () => {
  await using ground = await ServerGround.lay({ policy: rule('actions = ["shell", "exec"]') });
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const shell = await admin.open("web1");
  const exec = await admin.open("web1", { action: "exec" });
  await ground.writePolicy(rule('actions = ["exec"]'));
  assert.equal(await endingOf(shell.flow.closed), "refused_by_server");
  assert.match(String(shell.flow.failure?.message), /policy does not allow shell on web1 any more/);
  await until("the host is told", () => host.orders.length === 1, SOON);
  assert.deepEqual(host.orders[0], { sessions: [shell.session], ending: "revoked" });
  assert.equal(exec.flow.failure, null);
  assert.equal((await ground.rows("policy_changed")).length, 1);
  await assert.rejects(
    admin.open("web1"),
    (error) => error instanceof ResetError && error.code === "refused_by_server",
  );
});

Deno.test("RevocationWatch ends a session that became forbidden while its host was asked", async () => {
  await using ground = await ServerGround.lay({ policy: rule('actions = ["shell"]') });
  const answering = Promise.withResolvers<void>();
  const key = await ground.member("host", "web1");
  const host = await ScriptedHost.start(ground, key, { beforeAnswer: answering.promise });
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const opening = admin.open("web1", { outlivesLink: true }).catch((error: unknown) => error);
  await ground.rows("session_opened");
  await ground.writePolicy(rule('actions = ["exec"]'));
  await until("the host is told, which has nothing yet", () => host.orders.length === 1, SOON);
  answering.resolve();
  const taken = await host.session();
  assert.equal(await endingOf(taken.flow.closed), "revoked");
  await until("the host is told again", () => host.orders.length === 2, SOON);
  assert.deepEqual(host.orders[1]?.sessions, [taken.asked.open.session]);
  await opening;
});

Deno.test("RevocationWatch lets no session begin under a broken policy.toml, and those that run go on", async () => {
  await using ground = await ServerGround.lay();
  await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const running = await admin.open("web1");
  await ground.writePolicy("[[rule]\n");
  await until(
    "it is told",
    () => ground.lines.some((line) => line.includes("policy.toml is not good")),
    SOON,
  );
  await assert.rejects(
    admin.open("web1"),
    (error) => error instanceof ResetError && error.code === "refused_by_server",
  );
  assert.equal(running.flow.failure, null);
  await ground.writePolicy(rule('actions = ["shell"]'));
  await until("it is good again", () => ground.rowsNow("policy_changed").length === 1, SOON);
  await admin.open("web1");
});

Deno.test("RevocationWatch ends a session when the rule that allowed it is over", async () => {
  const clock = new ShiftedClock(), timers = new FakeTimers();
  const end = new Date(clock.wallMs() + 3_600_000).toISOString();
  await using ground = await ServerGround.lay({
    clock,
    timers,
    policy: rule(`actions = ["shell"]\nuntil = ${end}`),
  });
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1"));
  const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
  const opened = await admin.open("web1", { outlivesLink: true });
  // From now on the registry stands still: nothing but the time is left to look at.
  await timers.pass(500);
  clock.aheadMs = 3_600_001;
  await timers.pass(250);
  assert.equal(await endingOf(opened.flow.closed), "expired");
  await until("the host is told", () => host.orders.length === 1, SOON);
  assert.deepEqual(host.orders, [{ sessions: [opened.session], ending: "expired" }]);
  await assert.rejects(
    admin.open("web1"),
    (error) => error instanceof ApplicationError && error.reason === "refused_by_server",
  );
});

Deno.test("RevocationWatch has a host that was away end at its next link what is not allowed any more", async () => {
  await using ground = await ServerGround.lay();
  const hostKey = await ground.member("host", "web1");
  const adminKey = await ground.member("administrator", "alice");
  const host = await ScriptedHost.start(ground, hostKey);
  const admin = await ScriptedAdmin.start(ground, adminKey);
  const { session } = await admin.open("web1", { outlivesLink: true });
  host.close();
  await until("it is gone", () => ground.server.counts.hosts === 0);
  ground.registry.revoke("administrator", "alice");
  await endingOf(admin.dialled.link.closed);
  const told = { session, adminKey: adminKey.publicKey, action: "shell", detached: true } as const;
  const back = await ScriptedHost.start(ground, hostKey, { sessions: [told] });
  assert.deepEqual(back.registered.end, [session]);
  const ending: SessionEnding = "revoked";
  const end = { ending, exitCode: null, bytesIn: 1, bytesOut: 2, durationMs: 3 };
  await back.peer.client.ended({ session, ...end });
  assert.equal((await ground.rows("session_ended"))[0]?.["ending"], "revoked");
  assert.equal(ground.registry.openSessions().length, 0);
});

Deno.test("RevocationWatch judges after a restart what happened while no server ran", async () => {
  await using ground = await ServerGround.lay();
  const hostKey = await ground.member("host", "web1");
  const adminKey = await ground.member("administrator", "alice");
  await ScriptedHost.start(ground, hostKey);
  const admin = await ScriptedAdmin.start(ground, adminKey);
  const { session } = await admin.open("web1", { outlivesLink: true });
  await ground.server.stop();
  ground.registry.revoke("administrator", "alice");
  await ground.restart();
  const told = { session, adminKey: adminKey.publicKey, action: "shell", detached: true } as const;
  const back = await ScriptedHost.start(ground, hostKey, { sessions: [told] });
  assert.deepEqual(back.registered.end, [session]);
});

Deno.test("ManageServer ends the link of the key that a new one has replaced, without a look at the registry", async () => {
  const timers = new FakeTimers();
  await using ground = await ServerGround.lay({ timers });
  const host = await ScriptedHost.start(ground, await ground.member("host", "web1", ["prod"]));
  const secret = ground.invite("host", "web1", { replaces: true });
  // The invitation has been seen; what the server writes itself is no change to be looked at.
  await timers.pass(500);
  const key = await SigningKey.generate(systemRandomBytes);
  const joined = await ground.dial({ key, kind: "join", secret });
  assert.equal(joined.name, "web1");
  assert.equal(await endingOf(host.dialled.link.closed), "revoked");
});
