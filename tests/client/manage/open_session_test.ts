import assert from "node:assert/strict";
import { HostKeyChanged } from "../../../src/client/manage/known_hosts.ts";
import { fingerprint, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { manageStage } from "./manage_stage.ts";

/** What people are told. */
function told(message: string | RegExp, hint: string | RegExp | undefined): (error: unknown) => true {
  return (error) => {
    assert(error instanceof Failure, String(error));
    if (typeof message === "string") assert.equal(error.message, message);
    else assert.match(error.message, message);
    if (hint instanceof RegExp) assert.match(error.hint ?? "", hint);
    else assert.equal(error.hint, hint);
    return true;
  };
}

Deno.test("openSession() opens what was asked for, pins the host, and keeps the server's head", async () => {
  await using on = await manageStage();
  const { key } = await on.server.host("web1", {});
  on.server.headNumber = 12;
  const link = await on.connect();
  const session = await on.open({ host: "web1", action: "forward", targets: ["*:80", "db:5432"] }, link);
  const [opened] = on.server.sessions;
  assert.equal(opened?.open.action, "forward");
  assert.deepEqual(opened?.open.targets, ["*:80", "db:5432"]);
  assert.equal(opened?.open.outlivesLink, false);
  assert.equal(opened?.open.session, session.session);
  assert.deepEqual(opened?.open.adminKey, link.key.publicKey);
  assert.deepEqual(on.notices, [
    `first session with web1: its key is pinned, ${fingerprint(key.publicKey)}`,
  ]);
  await link.heads.kept;
  assert.match(await Deno.readTextFile(on.folder.headPath), /^000000000000000c/);
  await on.open({ host: "web1" }, link);
  assert.equal(on.notices.length, 1);
});

Deno.test("openSession() opens a shell that outlives its link, and attaches by its id", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {});
  const link = await on.connect();
  const { session } = await on.open({ host: "web1", action: "shell", outlivesLink: true }, link);
  await on.open({ host: "web1", action: "attach", session, outlivesLink: true }, link);
  const [shell, attach] = on.server.sessions.map(({ open }) => open);
  assert.deepEqual([shell?.action, shell?.outlivesLink], ["shell", true]);
  assert.deepEqual([attach?.action, attach?.session], ["attach", session]);
});

Deno.test("openSession() resolves `ended` when the host ends the session", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {});
  const session = await on.open({ host: "web1" });
  on.server.sessions[0]?.peer.close();
  assert.equal(await session.ended, null);
});

Deno.test("openSession() tells the server of no host whose key has changed, and signs nothing for it", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  const link = await on.connect();
  await on.open({ host: "web1" }, link);
  host.key = await SigningKey.generate(systemRandomBytes);
  await assert.rejects(on.open({ host: "web1" }, link), HostKeyChanged);
  assert.equal(on.server.sessions.length, 1);
  await on.open({ host: "web1", acceptKey: true }, link);
  assert.equal(on.server.sessions.length, 2);
  assert.match(on.notices.at(-1) ?? "", /^the new key of web1 is pinned, SHA256:/);
  await on.open({ host: "web1" }, link);
});

Deno.test("openSession() believes no answer that the host has not signed, and pins nothing then", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  host.answersWith = await SigningKey.generate(systemRandomBytes);
  await assert.rejects(
    on.open({ host: "web1" }),
    told(/the answer is not signed by the host that was asked$/, /^somebody may stand in between/),
  );
  await assert.rejects(Deno.stat(on.folder.knownHostsPath), Deno.errors.NotFound);
  // Whoever answered is told that nobody will come.
  await on.server.sessions[0]?.peer.closed;
});

Deno.test("openSession() refuses a head of the audit that the server has not signed", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {});
  on.server.headKey = await SigningKey.generate(systemRandomBytes);
  await assert.rejects(
    on.open({ host: "web1" }),
    told(/audit is not signed by the key that it has shown$/, /version/),
  );
});

Deno.test("openSession() names the nearest hosts of one that is not known", async () => {
  await using on = await manageStage();
  for (const name of ["web1", "web2", "db1"]) await on.server.host(name, {});
  const link = await on.connect();
  await assert.rejects(
    on.open({ host: "wbe1" }, link),
    told(
      "the server refuses: no host wbe1 is known, or its policy gives you nothing to do there; the nearest: web1, db1, web2",
      "did you mean: web1",
    ),
  );
  await assert.rejects(
    on.open({ host: "mailserver" }, link),
    told(
      "the server refuses: no host mailserver is known, or its policy gives you nothing to do there",
      "postern client hosts lists those that you may reach",
    ),
  );
});

Deno.test("openSession() says since when a host is offline", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {}, { online: false, sinceMs: new Date(2026, 10, 21, 20, 4, 5).getTime() });
  await on.server.host("new1", {}, { online: false, sinceMs: null, version: null });
  const link = await on.connect();
  await assert.rejects(
    on.open({ host: "web1" }, link),
    told("web1 is offline since 2026-11-21 20:04:05", /look whether web1 runs/),
  );
  await assert.rejects(
    on.open({ host: "new1" }, link),
    told(
      "new1 is offline: it has never connected to the server",
      /on new1 run postern commander agent --join/,
    ),
  );
});

Deno.test("openSession() names the side that refuses", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  const link = await on.connect();
  host.refusal = ["refused_by_host", "exec not allowed by its agent.toml"];
  await assert.rejects(
    on.open({ host: "web1" }, link),
    told("web1 refuses: exec not allowed by its agent.toml", /^agent\.toml on web1 decides/),
  );
  host.refusal = ["refused_by_server", "exec on web1 is not in its policy.toml"];
  await assert.rejects(
    on.open({ host: "web1" }, link),
    told("the server refuses: exec on web1 is not in its policy.toml", /^policy\.toml on the server decides/),
  );
  host.refusal = ["refused_by_host", "web1 refuses: said in full"];
  await assert.rejects(on.open({ host: "web1" }, link), told("web1 refuses: said in full", /./));
  host.refusal = ["not_audited", "the disk is full"];
  await assert.rejects(
    on.open({ host: "web1" }, link),
    told("the server refuses: the disk is full", /look at its disk/),
  );
});

Deno.test("openSession() refuses a host that is no name before anything is sent", async () => {
  await using on = await manageStage();
  await assert.rejects(on.open({ host: "Web1; rm -rf" }), (error: unknown) => {
    assert(error instanceof UsageFailure);
    assert.match(error.message, /^cannot open a session: found a HOST that is no name, accepted are 1 to 64/);
    return true;
  });
});

for (
  const [host, hint] of [
    ["Web1", "did you mean: web1"],
    ["root@WEB1", "did you mean: web1, whose agent.toml says as which user sessions run"],
    ["web 1", "postern client hosts lists those that you may reach"],
  ] as const
) {
  Deno.test(`openSession() says of the host "${host}": ${hint}`, async () => {
    await using on = await manageStage();
    await assert.rejects(on.open({ host }), { hint });
  });
}

Deno.test("openSession() ends its wait for a host that does not answer when it is given up", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  host.isMute = true;
  const giveUp = new AbortController(), reason = new Error("Ctrl-C");
  const opening = on.open({ host: "web1", signal: giveUp.signal });
  giveUp.abort(reason);
  await assert.rejects(opening, reason);
});

Deno.test("openSession() says that the link was lost", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  host.isMute = true;
  const link = await on.connect();
  const opening = on.open({ host: "web1" }, link);
  on.server.links[0]?.link.close("revoked", "alice was revoked");
  await assert.rejects(opening, told(/alice was revoked/, /new invitation/));
});

Deno.test("openSession() refuses what has no form, as a wrong command line", async () => {
  await using on = await manageStage();
  await on.server.host("web1", {});
  const link = await on.connect();
  const wrong = [
    { action: "attach", session: "nonsense" },
    { action: "forward", targets: [] },
    { action: "forward", targets: Array.from({ length: 33 }, () => "*:80") },
  ] as const;
  for (const wish of wrong) {
    await assert.rejects(on.open({ host: "web1", ...wish }, link), UsageFailure);
  }
  assert.equal(on.server.sessions.length, 0);
});

Deno.test("openSession() asks a host once more that has linked anew in between", async () => {
  await using on = await manageStage();
  const host = await on.server.host("web1", {});
  const link = await on.connect();
  host.nextRefusal = ["expired", "the host has linked anew"];
  await on.open({ host: "web1" }, link);
  assert.equal(on.server.sessions.length, 1);
  host.refusal = ["expired", "the policy allows it until 18:00"];
  await assert.rejects(
    on.open({ host: "web1" }, link),
    told("the time is over that was allowed for it: the policy allows it until 18:00", /can allow more/),
  );
});
