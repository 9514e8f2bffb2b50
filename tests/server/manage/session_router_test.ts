import assert from "node:assert/strict";
import type { Prepared } from "../../../src/protocol/manage/control_contract.ts";
import { type ResetCode, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { type HostScript, ScriptedHost } from "./scripted_host.ts";
import { type GroundOptions, ServerGround } from "./server_ground.ts";

/** A server with the host web1 and the administrator alice. */
class Pair implements AsyncDisposable {
  readonly ground: ServerGround;
  readonly host: ScriptedHost;
  readonly admin: ScriptedAdmin;

  private constructor(ground: ServerGround, host: ScriptedHost, admin: ScriptedAdmin) {
    this.ground = ground;
    this.host = host;
    this.admin = admin;
  }

  static async make(script: HostScript = {}, options: GroundOptions = {}): Promise<Pair> {
    await using undo = new AsyncDisposableStack();
    const ground = undo.use(await ServerGround.lay(options));
    const host = await ScriptedHost.start(ground, await ground.member("host", "web1", ["prod"]), script);
    const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
    undo.move();
    return new Pair(ground, host, admin);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ground[Symbol.asyncDispose]();
  }
}

async function refusedAs(code: ResetCode, work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof ResetError, `expected a ResetError, got ${error}`);
  assert.equal(error.code, code, error.message);
  return error.message;
}

async function refusedByReason(reason: string, work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof ApplicationError, `expected an ApplicationError, got ${error}`);
  assert.equal(error.reason, reason, error.message);
  return error.message;
}

async function readText(from: Connection): Promise<string | null> {
  const buffer = new Uint8Array(100);
  const bytes = await from.read(buffer);
  return bytes === null ? null : new TextDecoder().decode(buffer.subarray(0, bytes));
}

const encoder = new TextEncoder();

Deno.test("SessionRouter joins both ways, with half-closes, after a durable row", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const opened = await admin.open("web1", { action: "exec" });
  const taken = await host.session();
  assert.equal(taken.asked.adminName, "alice");
  assert.equal(taken.asked.open.session, opened.session);
  // The row that the host was shown is there for whoever looks now.
  const [row] = ground.rowsNow("session_opened");
  assert.deepEqual([row?.["session"], row?.["admin"], row?.["host"], row?.["action"]], [
    opened.session,
    "alice",
    "web1",
    "exec",
  ]);
  assert.equal(taken.asked.head.number, opened.head.number);

  await opened.flow.write(encoder.encode("there"));
  assert.equal(await readText(taken.flow), "there");
  await taken.flow.write(encoder.encode("and back"));
  assert.equal(await readText(opened.flow), "and back");
  await opened.flow.closeWrite();
  assert.equal(await readText(taken.flow), null);
  await taken.flow.write(encoder.encode("the rest"));
  await taken.flow.closeWrite();
  assert.equal(await readText(opened.flow), "the rest");
  assert.equal(await readText(opened.flow), null);

  const end = { ending: "done", exitCode: 3, bytesIn: 5, bytesOut: 16, durationMs: 12 } as const;
  const head = await host.peer.client.ended({ session: opened.session, ...end });
  await until("the administrator has the head", () => admin.heads.length === 1);
  assert.deepEqual(admin.heads, [head]);
  const [ended] = ground.rowsNow("session_ended");
  assert.deepEqual([ended?.["ending"], ended?.["exit_code"], ended?.["bytes_out"]], ["done", 3, 16]);
});

Deno.test("SessionRouter writes the row before the host hears of the open", async () => {
  await using pair = await Pair.make({ answersNoOpen: true });
  const { admin, ground } = pair;
  const opening = admin.open("web1");
  const [row] = await ground.rows("session_opened");
  assert.equal(row?.["host"], "web1");
  admin.close();
  await assert.rejects(opening);
  await until("the host's flow is taken back", () => ground.rowsNow("session_ended").length === 1);
});

Deno.test("SessionRouter refuses an open that another key has signed, or that names another administrator", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const prepared = await admin.peer.client.prepare("web1");
  const stranger = await SigningKey.generate(systemRandomBytes);
  await refusedAs("authentication", admin.openWith(await admin.sign(prepared, {}, stranger)));
  const good = await admin.sign(prepared);
  const forged = good.slice();
  // The action: a shell where exec was signed.
  forged[1] = 2;
  await refusedAs("authentication", admin.openWith(forged));
  // A recorded open of somebody else, on one's own link.
  const bob = await ScriptedAdmin.start(ground, await ground.member("administrator", "bob"));
  await refusedAs("authentication", bob.openWith(good));
  assert.equal(host.taken.length, 0);
  const rows = await ground.rows("session_refused", 3);
  assert.deepEqual(rows.map(({ admin, host, reason }) => [admin, host, reason]), [
    ["alice", "web1", "authentication"],
    ["alice", "web1", "authentication"],
    ["bob", "web1", "authentication"],
  ]);
  assert.deepEqual(ground.rowsNow("session_opened"), []);
});

Deno.test("SessionRouter refuses what is no open, and the link goes on", async () => {
  await using pair = await Pair.make();
  const { admin, ground } = pair;
  await refusedAs("malformed", admin.dialled.link.open("session", new Uint8Array([1, 2, 3])));
  await refusedAs("version", admin.dialled.link.open("session", new Uint8Array([9, 2, 3])));
  assert.equal((await ground.rows("session_refused", 2))[0]?.["reason"], "malformed");
  assert.equal((await admin.peer.client.hosts(null)).length, 1);
});

Deno.test("SessionRouter refuses an open for a host that is unknown, offline, or has linked anew", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const prepared = await admin.peer.client.prepare("web1");
  const nobody = (await SigningKey.generate(systemRandomBytes)).publicKey;
  await refusedAs("unknown_host", admin.openWith(await admin.sign({ ...prepared, hostKey: nobody })));
  const linkNonce = systemRandomBytes(32);
  await refusedAs("expired", admin.openWith(await admin.sign({ ...prepared, linkNonce })));
  host.close();
  await until("it is gone", () => ground.server.counts.hosts === 0);
  const text = await refusedAs("offline", admin.openWith(await admin.sign(prepared)));
  assert.match(text, /web1 is offline since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/);
});

Deno.test("SessionRouter refuses an administrator who was revoked a moment ago", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const open = await admin.sign(await admin.peer.client.prepare("web1"));
  ground.registry.revoke("administrator", "alice");
  await assert.rejects(admin.openWith(open));
  assert.equal(host.taken.length, 0);
  assert.deepEqual(ground.rowsNow("session_opened"), []);
});

Deno.test("ManageServer prepares nothing for a host that is unknown, offline, or none of the administrator's", async () => {
  const policy = '[[rule]]\nadmins = ["alice"]\nhosts = ["tag:prod", "web3"]\nactions = ["shell"]\n';
  await using pair = await Pair.make({}, { policy });
  const { admin, ground } = pair;
  await ground.member("host", "web2");
  await ground.member("host", "web3");
  const client = admin.peer.client;
  assert.match(await refusedByReason("unknown_host", client.prepare("wbe1")), /did you mean web1/);
  assert.match(await refusedByReason("offline", client.prepare("web3")), /was never online/);
  assert.match(await refusedByReason("refused_by_server", client.prepare("web2")), /policy\.toml/);
  assert.deepEqual((await client.hosts(null)).map(({ name }) => name), ["web1", "web3"]);
  const prepared: Prepared = await client.prepare("web1");
  assert.equal(prepared.challenge.length, 16);
});

Deno.test("ManageServer says that a host does not answer", async () => {
  const timers = new FakeTimers();
  await using pair = await Pair.make({ isDeaf: true }, { timers });
  const preparing = refusedByReason("offline", pair.admin.peer.client.prepare("web1"));
  const done = preparing.then(() => true);
  let isDone = false;
  void done.then(() => isDone = true);
  await until("it is told", async () => {
    await timers.pass(500);
    return isDone;
  });
  assert.match(await preparing, /does not answer/);
});

Deno.test("SessionRouter asks the policy for the action and the declared targets", async () => {
  const policy = `
    [[rule]]
    admins = ["alice"]
    hosts = ["*"]
    actions = ["exec", "forward"]
    targets = ["localhost:5432"]
  `;
  await using pair = await Pair.make({}, { policy });
  const { admin, host, ground } = pair;
  await admin.open("web1", { action: "exec" });
  await admin.open("web1", { action: "forward", targets: ["localhost:5432"] });
  await refusedAs("refused_by_server", admin.open("web1", { action: "shell" }));
  await refusedAs("refused_by_server", admin.open("web1", { action: "forward", targets: ["localhost:22"] }));
  const both = ["localhost:5432", "*:*"];
  await refusedAs("refused_by_server", admin.open("web1", { action: "forward", targets: both }));
  assert.equal(host.taken.length, 2);
  assert.equal(ground.rowsNow("session_opened").length, 2);
  assert.equal((await ground.rows("session_refused", 3)).length, 3);
});

Deno.test("SessionRouter passes a host's refusal on, and the row of the open gets an end", async () => {
  await using pair = await Pair.make({ refuses: ["refused_by_host", "shell not allowed by its agent.toml"] });
  const { admin, ground } = pair;
  const text = await refusedAs("refused_by_host", admin.open("web1"));
  assert.match(text, /not allowed by its agent\.toml/);
  const [opened] = await ground.rows("session_opened");
  const [ended] = await ground.rows("session_ended");
  const [refused] = await ground.rows("session_refused");
  assert.equal(ended?.["session"], opened?.["session"]);
  assert.equal(ended?.["ending"], "failed");
  assert.equal(refused?.["reason"], "refused_by_host");
  const [row] = await admin.peer.client.hosts(null);
  assert.equal(row?.sessions, 0);
});

Deno.test("SessionRouter lets no host speak in the server's name", async () => {
  await using pair = await Pair.make({ refuses: ["revoked", "you were revoked"] });
  assert.match(await refusedAs("refused_by_host", pair.admin.open("web1")), /you were revoked/);
});

Deno.test("SessionRouter passes on no answer of another length", async () => {
  await using pair = await Pair.make({ answers: new Uint8Array(98) });
  const { admin, host, ground } = pair;
  await refusedAs("malformed", admin.open("web1"));
  assert.equal((await (await host.session()).flow.closed)?.code, "malformed");
  assert.equal((await ground.rows("session_ended"))[0]?.["ending"], "failed");
});

Deno.test("SessionRouter gives a host ten seconds to answer", async () => {
  const timers = new FakeTimers();
  await using pair = await Pair.make({ answersNoOpen: true }, { timers });
  const { admin, ground } = pair;
  let isDone = false;
  const opening = refusedAs("offline", admin.open("web1")).finally(() => isDone = true);
  await ground.rows("session_opened");
  await until("it is told", async () => {
    await timers.pass(500);
    return isDone;
  });
  assert.match(await opening, /does not answer/);
  assert.ok(timers.monotonicMs() >= 10_000);
  assert.equal((await ground.rows("session_ended"))[0]?.["ending"], "failed");
});

Deno.test("SessionRouter refuses the number of a session that was there before", async () => {
  await using pair = await Pair.make();
  const { admin, host } = pair;
  const { session } = await admin.open("web1");
  await refusedAs("refused_by_server", admin.open("web1", { session }));
  const end = { ending: "done", exitCode: 0, bytesIn: 0, bytesOut: 0, durationMs: 1 } as const;
  await host.peer.client.ended({ session, ...end });
  await refusedAs("refused_by_server", admin.open("web1", { session }));
  assert.equal(host.taken.length, 1);
});

Deno.test("SessionRouter lets only the same administrator take up a session that outlives its link", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const bob = await ScriptedAdmin.start(ground, await ground.member("administrator", "bob"));
  const { session } = await admin.open("web1", { outlivesLink: true });
  const short = await admin.open("web1");
  admin.close();
  await until("it is gone", () => ground.server.counts.admins === 1);

  const attach = { action: "attach", session } as const;
  const own = await refusedAs("refused_by_server", bob.open("web1", attach));
  const none = await refusedAs("refused_by_server", bob.open("web1", { ...attach, session: "ff".repeat(8) }));
  // Whether there is such a session is not told.
  assert.equal(own, none);
  assert.deepEqual(await bob.peer.client.sessions(null), []);

  const again = await ScriptedAdmin.start(ground, admin.key);
  const [row, ...others] = await again.peer.client.sessions(null);
  assert.deepEqual([row?.session, row?.host, row?.detached, others], [session, "web1", true, []]);
  await refusedAs("refused_by_server", again.open("web1", { ...attach, session: short.session }));
  await again.open("web1", attach);
  const taken = await host.session(3);
  assert.equal(taken.asked.open.action, "attach");
  assert.equal((await again.peer.client.sessions(null))[0]?.detached, false);
  const rows = await ground.rows("session_opened", 3);
  assert.deepEqual(rows.map(({ action }) => action), ["shell", "shell", "attach"]);
  // One host, two sessions, however often they were taken up.
  assert.equal((await again.peer.client.hosts(null))[0]?.sessions, 2);
});

Deno.test("SessionRouter tells the administrator when the host goes, and the host when the administrator goes", async () => {
  await using pair = await Pair.make();
  const { admin, host, ground } = pair;
  const opened = await admin.open("web1");
  const taken = await host.session();
  admin.close();
  assert.equal((await taken.flow.closed)?.code !== undefined, true);
  await opened.flow.closed;

  const again = await ScriptedAdmin.start(ground, admin.key);
  const second = await again.open("web1");
  host.close();
  const failure = await second.flow.closed;
  assert.ok(failure instanceof ResetError);
});

Deno.test("SessionRouter lets an administrator's failing opens fill neither audit nor disk", async () => {
  await using pair = await Pair.make({ refuses: ["refused_by_host", "no"] });
  const { admin, ground } = pair;
  for (let i = 0; i < 60; i++) {
    await refusedAs("malformed", admin.dialled.link.open("session", new Uint8Array([1, 2, 3])));
  }
  const rows = ground.rowsNow("session_refused");
  assert.ok(rows.length >= 30 && rows.length < 40, `${rows.length} rows`);
});
