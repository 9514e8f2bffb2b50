/** A management server that is restarted and killed under load: nothing that it has acknowledged is lost. */
import assert from "node:assert/strict";
import { manageFolder } from "../../src/client/manage/manage_folder.ts";
import { connectServer } from "../../src/client/manage/server_link.ts";
import { AgentFolder } from "../../src/commander/agent/agent_folder.ts";
import { dialServer } from "../../src/commander/agent/server_dial.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import { dataFolder } from "../../src/server/manage/data_folder.ts";
import { Registry } from "../../src/server/manage/registry.ts";
import { ManageLab, textOf } from "../../scripts/manage_lab.ts";
import { type Enrolled, RestartLoad, seeded } from "./manage_restart_load.ts";
import { pause, until } from "./until.ts";

const RESTARTS = 24;
const HOSTS = ["web1", "web2", "web3", "web4", "web5", "web6"] as const, ADMINS = ["alice", "bob"] as const;
/**
 * How long a restart waits for a session: hosts that have lost two servers in ten seconds come back at a time of their own
 * within ten more. Then a random time of at most so much.
 */
const SESSION_MS = 3_000, UP_MS = 500;
const BACK_MS = 60_000;
const ALL_ROWS = 1_000_000;

Deno.test({
  name:
    `a server that is restarted ${RESTARTS} times under load loses no enrolment, no audit row and no agent`,
  timeout: 300_000,
  async fn(): Promise<void> {
    const seed = Number(Deno.env.get("POSTERN_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    say(`seed ${seed}`);
    await using lab = await ManageLab.make();
    await Promise.all([
      ...HOSTS.map((name) => lab.joinHost(name)),
      ...ADMINS.map((name) => lab.joinAdmin(name)),
    ]);
    await Promise.all(HOSTS.map((name) => lab.startAgent(name)));
    const load = new RestartLoad(lab, HOSTS, ADMINS, seed + 1);
    try {
      await restartAll(lab, load, seeded(seed));
    } finally {
      await load.end();
    }
    await allAreBack(lab);
    say(
      `${load.opened.length} sessions opened, ${load.finished} of them ran to their end; ` +
        `${load.enrolled.length} joined, ${load.repeatedJoins} attempts in vain`,
    );
    assert(load.opened.length >= RESTARTS && load.enrolled.length >= 4, "there was no load");
    await everyRowIsThere(lab, load);
    for (const enrolled of load.enrolled) await isKnown(lab, enrolled);
    await headsFit(lab);
    assert.deepEqual(load.notices.filter((line) => line.includes("warning")), []);
    const complaints = HOSTS.flatMap((name) =>
      lab.agent(name).lines.filter(({ text }) => /audit/.test(text))
    );
    assert.deepEqual(complaints.map(({ text }) => text), []);
  },
});

function say(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`    ${text}\n`));
}

/** In turns in order and by a kill, at random moments while sessions run. */
async function restartAll(lab: ManageLab, load: RestartLoad, chance: () => number): Promise<void> {
  for (let restart = 0; restart < RESTARTS; restart++) {
    const before = load.opened.length;
    const isBusy = (): boolean => load.opened.length > before;
    // Some restarts come before anybody is back.
    await until("a session", isBusy, { timeoutMs: SESSION_MS }).catch(() => {});
    await pause(chance() * UP_MS);
    await lab.stopServer(restart % 2 === 0 ? "SIGTERM" : "SIGKILL");
    await lab.startServer();
  }
}

/** Every agent works again, and the ends of all sessions have been told. */
async function allAreBack(lab: ManageLab): Promise<void> {
  using registry = await Registry.open(dataFolder(lab.serverDir));
  const patience = { timeoutMs: BACK_MS, pollMs: 100 };
  await until("all agents are back", () => {
    const online = new Set(registry.hosts().filter((host) => host.online).map(({ name }) => name));
    return HOSTS.every((name) => online.has(name));
  }, patience);
  for (const name of HOSTS) {
    assert.equal(textOf(await lab.client("alice", ["exec", name, "--", "echo", name])), `${name}\n`);
  }
  await until("the ends of all sessions are told", () => registry.openSessions().length === 0, patience);
}

/** Every session that a client saw has both its rows, and so has every other one that the server has begun. */
async function everyRowIsThere(lab: ManageLab, { opened }: RestartLoad): Promise<void> {
  using registry = await Registry.open(dataFolder(lab.serverDir));
  const rows = registry.audit.rows({ limit: ALL_ROWS });
  const sessionsOf = (event: string): string[] =>
    rows.filter((row) => row.event === event).map(({ body }) =>
      String(typeof body === "string" ? body : body["session"])
    );
  const begun = sessionsOf("session_opened"), ended = sessionsOf("session_ended");
  assert.equal(new Set(begun).size, begun.length);
  assert.equal(new Set(ended).size, ended.length);
  assert.deepEqual(begun.toSorted(), ended.toSorted());
  const known = new Set(begun);
  assert.deepEqual(opened.filter((session) => !known.has(session)), []);
}

/** What was told "joined" can link. */
async function isKnown(lab: ManageLab, { role, name, dir }: Enrolled): Promise<void> {
  using registry = await Registry.open(dataFolder(lab.serverDir));
  const member = role === "host" ? registry.hostByName(name) : registry.adminByName(name);
  assert(member !== null, `${name} has joined and is not known`);
  if (role === "administrator") {
    const link = await connectServer({ folder: manageFolder(dir), timers, onNotice: () => {} });
    assert.equal(link.name, name);
    return await link.leave();
  }
  const folder = new AgentFolder(dir);
  const dialled = await dialServer({
    server: await folder.readServer(),
    key: await folder.readKey(),
    onOpen: (flow) => flow.refuse("refused_by_host", "only looking"),
    timers,
    random,
  }, new AbortController().signal);
  assert.equal(dialled.name, name);
  dialled.link.close("cancelled", "only looking");
  await dialled.link.closed;
}

/** The chain is whole, and holds every head that anybody has kept. */
async function headsFit(lab: ManageLab): Promise<void> {
  textOf(await lab.serverCommand("audit", "--verify"));
  const heads = [...ADMINS.map((name) => lab.adminDir(name)), ...HOSTS.map((name) => lab.agentDir(name))];
  for (const dir of heads) textOf(await lab.serverCommand("audit", "--verify", "--head", `${dir}/head`));
}
