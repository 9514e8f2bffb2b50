import assert from "node:assert/strict";
import { hostExec } from "../../../src/commander/agent/sessions/exec_session.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { formatPublicKey, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { until } from "../../e2e/until.ts";
import { joinedFolder, ScriptedStarters, startAgent, wholeToml } from "./agent_under_test.ts";
import { StandInServer } from "./stand_in_server.ts";

const alice = await SigningKey.generate(systemRandomBytes);
const mallory = await SigningKey.generate(systemRandomBytes);

Deno.test("Agent registers what it is and what runs, and answers ping", async () => {
  const server = await StandInServer.create();
  await using _agent = await startAgent(server);
  const link = await server.linked();
  assert.deepEqual(server.registrations, [{
    version: "1.2.3",
    system: `${Deno.build.os} ${Deno.build.arch}`,
    sessions: [],
    pinsGeneration: 0,
  }]);
  assert.equal(await link.control.client.ping(null), null);
});

Deno.test("Agent begins a session for a good open and tells its end until it is acknowledged", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  server.takesRows = false;
  const { session, peer } = await server.open(link, alice, { action: "exec" });
  const hosted = test.starters.begun[0];
  assert.deepEqual(JSON.parse(await Deno.readTextFile(test.folder.sessionsPath)), [session]);
  hosted?.finish("done", 7);
  await peer.closed;
  const rowPath = `${test.folder.endedFolder}/${session}.json`;
  await until("the row is there", () => Deno.stat(rowPath).then(() => true, () => false));
  await until(
    "nothing is open any more",
    async () => JSON.parse(await Deno.readTextFile(test.folder.sessionsPath)).length === 0,
  );
  // The server could not take it: the next link tells it.
  server.takesRows = true;
  link.link.close("internal", "restart");
  await server.linked(2);
  await until("it is told", () => server.ended.length === 1);
  await until("it is forgotten", () => Deno.stat(rowPath).then(() => false, () => true));
  const [row] = server.ended;
  assert.deepEqual({ ...row, durationMs: 0 }, {
    session,
    ending: "done",
    exitCode: 7,
    bytesIn: 3,
    bytesOut: 5,
    durationMs: 0,
  });
});

/** What an open is refused with: its code and text. */
async function refusalOf(opening: Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await opening.then(() => null, (error) => error);
  assert.ok(error instanceof ResetError, String(error));
  return { code: error.code, message: error.message };
}

Deno.test("Agent refuses an open that is used again, of another link, for another host, or changed", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  const challenge = await link.control.client.challenge(null);
  const { peer } = await server.open(link, alice, { action: "exec", challenge });
  const refusals = [
    await refusalOf(server.open(link, alice, { action: "exec", challenge })),
    await refusalOf(server.open(link, alice, { action: "exec", challenge: new Uint8Array(16) })),
    await refusalOf(server.open(link, alice, { action: "exec", linkNonce: new Uint8Array(32) })),
    await refusalOf(server.open(link, alice, { action: "exec", hostKey: mallory.publicKey })),
    await refusalOf(server.open(link, alice, { action: "exec" }, {
      // Its targets: one more is declared than was signed for; the last byte of the signature.
      change: (open) => void (open[open.length - 1] = (open[open.length - 1] ?? 0) ^ 1),
    })),
    await refusalOf(server.open(link, alice, { action: "exec" }, {
      change: (open) => void (open[3] = (open[3] ?? 0) ^ 1),
    })),
  ];
  for (const { code, message } of refusals) {
    assert.equal(code, "authentication");
    assert.match(message, /^web1 refuses: this open /);
  }
  assert.equal(test.starters.begun.length, 1);
  peer.close();
});

Deno.test("Agent refuses what agent.toml does not allow, naming itself", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server, {
    toml: 'shell = false\nforward = ["db.test:5432"]\nmax_sessions = 1\n',
  });
  const link = await server.linked();
  assert.deepEqual(await refusalOf(server.open(link, alice, { action: "shell" })), {
    code: "refused_by_host",
    message: "web1 refuses: shell not allowed by its agent.toml",
  });
  assert.deepEqual(
    await refusalOf(server.open(link, alice, { action: "forward", targets: ["db.test:22"] })),
    {
      code: "refused_by_host",
      message: "web1 refuses: forward to db.test:22 not allowed by its agent.toml",
    },
  );
  const { peer } = await server.open(link, alice, { action: "exec" });
  assert.equal((await refusalOf(server.open(link, alice, { action: "exec" }))).code, "exhausted");
  test.starters.begun[0]?.finish("done", 0);
  await peer.closed;
  await until("its place is free", () => test.agent.sessions === 0);
  (await server.open(link, alice, { action: "exec" })).peer.close();
});

Deno.test("Agent obeys pinned administrators only, whatever the server calls them", async () => {
  const server = await StandInServer.create();
  const toml = `admins = ["alice:${formatPublicKey(alice.publicKey)}"]\n`;
  await using test = await startAgent(server, { toml });
  const link = await server.linked();
  assert.deepEqual(await refusalOf(server.open(link, mallory, { action: "exec" }, { adminName: "alice" })), {
    code: "refused_by_host",
    message: "web1 refuses: this administrator's key is not in admins of its agent.toml",
  });
  (await server.open(link, alice, { action: "exec" }, { adminName: "bob" })).peer.close();
  await until("it is over", () => server.ended.length === 1);
  assert.equal(test.starters.begun.length, 1);
});

Deno.test("Agent hands a shell to a new viewer of the same key and to nobody else", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  const first = await server.open(link, alice, { action: "shell", outlivesLink: true });
  const { session } = first;
  const refusal = await refusalOf(server.open(link, mallory, { action: "attach", session }));
  assert.equal(refusal.code, "refused_by_host");
  assert.match(
    refusal.message,
    /^web1 refuses: no shell [0-9a-f]{16} of this administrator is here any more$/,
  );
  first.flow.close();
  const hosted = test.starters.begun[0];
  await until("its viewer is missed", () => hosted?.isDetached);
  const second = await server.open(link, alice, { action: "attach", session });
  assert.equal(hosted?.attached, 1);
  const third = await server.open(link, alice, { action: "attach", session });
  // The second one is let go in order, not torn away: it is told why by its session.
  assert.equal((await second.peer.closed).reason, "normal");
  assert.equal(hosted?.viewersLost, 1);
  hosted?.finish("done", 0);
  await third.peer.closed;
  await until("one row is told", () => server.ended.length === 1);
  assert.equal(test.starters.begun.length, 1);
});

Deno.test("Agent ends sessions as its server orders, by call and at register", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  const shell = await server.open(link, alice, { action: "shell", outlivesLink: true });
  const exec = await server.open(link, alice, { action: "exec" });
  await link.control.client.end({ sessions: [exec.session, "0123456789abcdef"], ending: "expired" });
  await until("exec has ended", () => server.ended.length === 1);
  assert.deepEqual(test.starters.begun[1]?.endings, ["expired"]);
  server.endAtRegister = [shell.session];
  server.cut();
  await server.linked(2);
  assert.deepEqual(
    server.registrations[1]?.sessions.map(({ session, action, detached }) => ({ session, action, detached })),
    [
      { session: shell.session, action: "shell", detached: true },
    ],
  );
  await until("the shell has ended", () => server.ended.length === 2);
  assert.deepEqual(test.starters.begun[0]?.endings, ["revoked"]);
});

Deno.test("Agent ends what a stricter agent.toml does not allow, and lets nothing begin under a broken one", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  await server.open(link, alice, { action: "shell", outlivesLink: true });
  await server.open(link, alice, { action: "exec" });
  const [shell, exec] = test.starters.begun;
  await Deno.writeTextFile(test.folder.configPath, wholeToml("shell = maybe\n"));
  await until("it is found broken", () => test.lines.some((line) => line.includes("no session may begin")));
  assert.deepEqual(await refusalOf(server.open(link, alice, { action: "exec" })), {
    code: "refused_by_host",
    message: "web1 refuses: its agent.toml cannot be read",
  });
  await Deno.writeTextFile(test.folder.configPath, wholeToml("shell = false\n"));
  await until("the shell has ended", () => server.ended.length === 1);
  assert.deepEqual([shell?.endings, exec?.endings], [["revoked"], []]);
  assert.ok(test.lines.some((line) => line.includes("agent.toml read again")));
});

Deno.test("Agent stores new pins before it says so, and believes them in the next dial", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  const pem = (text: string): string => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const caCertificates = [pem("QQ=="), pem("Qg==")];
  await server.pin({ caCertificates, generation: 2 }, link);
  await until("it says so", () => server.pinned.length === 1);
  assert.deepEqual(server.pinned, [2]);
  const stored = await test.folder.readServer();
  assert.deepEqual([stored.caCertificates, stored.generation], [caCertificates, 2]);
  server.cut();
  await server.linked(2);
  assert.equal(server.registrations[1]?.pinsGeneration, 2);
  // Those of before are believed too: its proven key is what makes a server the right one.
  assert.deepEqual(server.dialled.at(-1)?.caCertificates, caCertificates);
});

Deno.test("Agent follows a server that was restored from an older backup, with the CA and the numbers of then", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const pem = (text: string): string => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const [atJoin = ""] = (await test.folder.readServer()).caCertificates;
  await server.pin({ caCertificates: [pem("Qg==")], generation: 3 }, await server.linked());
  await until("it says so", () => server.pinned.length === 1);
  server.cut();
  // The one that it joined with, and that the backup shows, is not forgotten.
  const link = await server.linked(2);
  assert.deepEqual(server.dialled.at(-1)?.caCertificates, [pem("Qg=="), atJoin]);
  // The number of a new change there is one that this host has had already.
  await server.pin({ caCertificates: [atJoin, pem("Qw==")], generation: 2 }, link);
  await until("it says so again", () => server.pinned.length === 2);
  assert.equal(server.pinned[1], 2);
  await server.pin({ caCertificates: [atJoin, pem("RA==")], generation: 2 }, link);
  const { caCertificates, generation } = await test.folder.readServer();
  assert.deepEqual([caCertificates, generation], [[atJoin, pem("RA==")], 2]);
});

Deno.test("Agent never forgets the CA that it joined with, however many certificates a server hands out", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const pem = (text: string): string => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
  const [atJoin] = (await test.folder.readServer()).caCertificates;
  const link = await server.linked();
  for (let generation = 1; generation <= 9; generation++) {
    await server.pin({ caCertificates: [pem(btoa(`${generation}`))], generation }, link);
  }
  const { formerCaCertificates } = await test.folder.readServer();
  assert.deepEqual(formerCaCertificates, [atJoin, pem("Ng=="), pem("Nw=="), pem("OA==")]);
});

Deno.test("Agent lets a hostile server fill neither its log nor its disk with administrators and certificates", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server, {
    toml: `admins = ["eve:${formatPublicKey(alice.publicKey)}"]\n`,
  });
  const link = await server.linked();
  for (let count = 0; count < 60; count++) {
    const stranger = await SigningKey.generate(systemRandomBytes);
    await refusalOf(server.open(link, stranger, { action: "exec" }, { adminName: "alice" }));
  }
  const tells = (text: string): number => test.lines.filter((line) => line.includes(text)).length;
  assert.ok(tells("has another key") > 0 && tells("has another key") <= 32, `${tells("has another key")}`);
  const pem = (text: string): string =>
    `-----BEGIN CERTIFICATE-----\n${btoa(text)}\n-----END CERTIFICATE-----\n`;
  let refused = 0;
  for (let generation = 1; generation <= 60; generation++) {
    await server.pin({ caCertificates: [pem(`${generation}`)], generation }, link).catch(() => refused++);
  }
  assert.ok(refused >= 40 && refused < 60 && tells("CA certificates") <= 20, `${refused} refused`);
});

Deno.test("Agent keeps the newest signed head and says that an audit was rewound", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  await server.linked();
  const link = await server.linked();
  (await server.open(link, alice, { action: "exec" }, { head: await server.head(9) })).peer.close();
  await until("it is kept", async () => (await test.folder.readHead())?.number === 9);
  server.headNumber = 9;
  await until("the end is told", () => server.ended.length === 1);
  await until("its head too", async () => (await test.folder.readHead())?.number === 10);
  server.cut();
  const next = await server.linked(2);
  (await server.open(next, alice, { action: "exec" }, { head: await server.head(3) })).peer.close();
  await until("it is said", () => test.lines.some((line) => line.includes("audit was rewound")));
  assert.equal((await test.folder.readHead())?.number, 10);
  server.headNumber = 10;
});

Deno.test("Agent ends every session when it stops, and tells the server so", async () => {
  const server = await StandInServer.create();
  const test = await startAgent(server);
  const link = await server.linked();
  await server.open(link, alice, { action: "shell", outlivesLink: true });
  await test[Symbol.asyncDispose]();
  assert.deepEqual(server.ended.map(({ ending }) => ending), ["agent_stopped"]);
  assert.equal((await link.link.closed).code, "shutting_down");
});

Deno.test("Agent tells of sessions that a killed one left", async () => {
  const server = await StandInServer.create();
  const folder = await joinedFolder(server);
  await Deno.writeTextFile(folder.sessionsPath, '["0123456789abcdef"]');
  await using _test = await startAgent(server, { folder });
  await until("it is told", () => server.ended.length === 1);
  assert.deepEqual(server.ended, [{
    session: "0123456789abcdef",
    ending: "agent_stopped",
    exitCode: null,
    bytesIn: 0,
    bytesOut: 0,
    durationMs: 0,
  }]);
  await until("it is forgotten", async () => {
    for await (const _entry of Deno.readDir(folder.endedFolder)) return false;
    return true;
  });
});

Deno.test("Agent says once why it is refused, and goes on asking", async () => {
  const server = await StandInServer.create();
  server.refusal = { code: "revoked", text: "web1 was revoked" };
  await using test = await startAgent(server);
  await until("it is said", () => test.lines.some((line) => line.includes("web1 was revoked")));
  assert.match(test.lines.join(""), /no link to the server reason=revoked/);
});

Deno.test("Agent runs a real program for a signed exec", async () => {
  const server = await StandInServer.create();
  const scripted = new ScriptedStarters();
  const starters = { shell: scripted.shell, forward: scripted.forward, exec: hostExec };
  await using _test = await startAgent(server, {
    toml: 'commands = [["/bin/echo", "hello"]]\nshell = false\n',
    starters,
  });
  const link = await server.linked();
  const { peer } = await server.open(link, alice, { action: "exec" });
  let printed = "", exitCode = -1;
  for await (const item of peer.client.exec({ command: ["/bin/echo", "hello"] }, [])) {
    if ("stdout" in item) printed += new TextDecoder().decode(item.stdout);
    if ("exitCode" in item) exitCode = item.exitCode;
  }
  assert.deepEqual([printed, exitCode], ["hello\n", 0]);
  const other = await server.open(link, alice, { action: "exec" });
  await assert.rejects(
    async () => {
      for await (const _item of other.peer.client.exec({ command: ["/bin/echo", "hello", "you"] }, []));
    },
    {
      reason: "refused_by_host",
      message: /web1 refuses: this command is not among the commands of its agent.toml/,
    },
  );
  await until("both are told", () => server.ended.length === 2);
});

Deno.test("Agent holds max_sessions and one session of an id, also when opens come at once", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server, { toml: "max_sessions = 2\n" });
  const link = await server.linked();
  const session = "0123456789abcdef";
  const same = await Promise.allSettled(
    [1, 2].map(() => server.open(link, alice, { action: "exec", session })),
  );
  assert.deepEqual(same.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  const others = await Promise.allSettled([1, 2, 3].map(() => server.open(link, alice, { action: "exec" })));
  assert.deepEqual(others.map(({ status }) => status).toSorted(), ["fulfilled", "rejected", "rejected"]);
  for (const each of others) {
    if (each.status === "rejected") {
      assert.match(each.reason.message, /2 sessions are open, its agent.toml allows 2/);
    }
  }
  assert.equal(test.starters.begun.length, 2);
});

Deno.test("Agent lets sessions begin and end while nothing can be kept on its disk, and tells of them", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  await Deno.remove(test.folder.sessionsPath);
  await Deno.mkdir(`${test.folder.sessionsPath}/in/the/way`, { recursive: true });
  await Deno.remove(test.folder.endedFolder);
  const { session } = await server.open(link, alice, { action: "exec" });
  test.starters.begun[0]?.finish("done", 7);
  await until("its row is told", () => server.ended.length === 1);
  assert.deepEqual([server.ended[0]?.session, server.ended[0]?.exitCode], [session, 7]);
  await until("it is forgotten", () => test.agent.sessions === 0);
  assert.ok(test.lines.some((line) => line.includes("sessions cannot be kept on disk")));
});

Deno.test("Agent refuses a session under an id that has just ended", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  server.takesRows = false;
  const { session } = await server.open(link, alice, { action: "exec" });
  test.starters.begun[0]?.finish("done", 0);
  await until("it is over", () => test.agent.sessions === 0);
  assert.equal((await refusalOf(server.open(link, alice, { action: "exec", session }))).code, "malformed");
  assert.equal(test.starters.begun.length, 1);
});

Deno.test("Agent leaves nothing behind of an open whose administrator has gone meanwhile", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  for (let round = 0; round < 20; round++) {
    const controller = new AbortController();
    const opening = server.open(link, alice, { action: "exec" }, { signal: controller.signal });
    opening.then(({ peer }) => peer.close(), () => {});
    // At another point of the way each time.
    for (let turn = 0; turn < round; turn++) await Promise.resolve();
    if (round % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    controller.abort(new Error("gone"));
    await opening.catch(() => {});
  }
  await until("nothing is open", () => test.agent.sessions === 0);
  await until("all are told", () => server.ended.length === test.starters.begun.length);
  await until(
    "nothing is written down",
    async () => await Deno.readTextFile(test.folder.sessionsPath) === "[]\n",
  );
  const { peer } = await server.open(link, alice, { action: "exec" });
  peer.close();
});

Deno.test("Agent tells an administrator who leaves from one whose link is lost", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  (await server.open(link, alice, { action: "exec" })).peer.close();
  await until("the end is told", () => server.ended.length === 1);
  (await server.open(link, alice, { action: "exec" })).flow.reset("lost", "the link is gone");
  await until("the end is told", () => server.ended.length === 2);
  assert.deepEqual(server.ended.map(({ ending }) => ending), ["closed", "lost"]);
  // Whether somebody has left a shell that outlives its link is for the shell to say.
  (await server.open(link, alice, { action: "shell", outlivesLink: true })).peer.close();
  await until("its viewer is missed", () => test.starters.begun[2]?.isDetached);
  assert.deepEqual(test.starters.begun[2]?.endings, []);
});

Deno.test("Agent hands nothing but shells to another viewer", async () => {
  const server = await StandInServer.create();
  await using test = await startAgent(server);
  const link = await server.linked();
  const { session } = await server.open(link, alice, { action: "exec" });
  const refusal = await refusalOf(server.open(link, alice, { action: "attach", session }));
  assert.match(refusal.message, /no shell [0-9a-f]{16} of this administrator is here any more/);
  assert.equal(test.starters.begun[0]?.attached, 0);
});

Deno.test("Agent refuses sessions while it is being stopped", async () => {
  const server = await StandInServer.create();
  const test = await startAgent(server);
  const link = await server.linked();
  await server.open(link, alice, { action: "shell" });
  const [shell] = test.starters.begun;
  if (shell !== undefined) shell.obeys = false;
  const stopped = test[Symbol.asyncDispose]();
  assert.deepEqual(await refusalOf(server.open(link, alice, { action: "exec" })), {
    code: "shutting_down",
    message: "web1 refuses: its agent is being stopped",
  });
  shell?.finish("agent_stopped");
  await stopped;
  assert.equal(server.ended.length, 1);
});
