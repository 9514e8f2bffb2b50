/**
 * A server that was broken into: what it can still do. Each of these is in the table of docs/manage.md; a new one here
 * belongs there as well.
 */
import assert from "node:assert/strict";
import { exec } from "../../src/client/manage/exec.ts";
import type { OpenSession } from "../../src/client/manage/open_session.ts";
import { decodeOpen, signOpen } from "../../src/protocol/manage/session_open.ts";
import { CAREFREE, onHostileStage } from "./manage_hostile_world.ts";
import { pause, until } from "./until.ts";

const DELAY_MS = 300;

onHostileStage(
  "a server that was broken into can still cut, delay, refuse, end and watch sessions, hand out authorities, and command a host that pins nobody",
  ["cut: the session ends as lost at both ends, and is never taken for a proper end", async (world) => {
    const session = await world.open(await world.connect());
    const running = run(session, ["sh", "-c", "echo begun; sleep 60"], (text) => {
      if (text === "begun\n") world.server.wires.at(-1)?.cut();
    });
    await assert.rejects(running, /lost/);
    await world.logged("web1", "session ended", new RegExp(`${session.session}.*"ending":"lost"`));
  }],
  ["delay: as long as it likes, and the session goes on", async (world) => {
    world.server.wiles = {
      toAdmin: async (record, _, { on }) => {
        await pause(DELAY_MS);
        await on(record);
      },
    };
    const beganMs = performance.now();
    const session = await world.open(await world.connect());
    assert.equal(await run(session, ["echo", "late"]), "late\n");
    assert(performance.now() - beganMs >= DELAY_MS);
  }],
  [
    "keep a session open on the host when the administrator has gone: it waits there, and nobody is in it",
    async (world) => {
      const { server } = world;
      server.wiles = { keepsHost: true };
      const link = await world.connect();
      const session = await world.open(link);
      const running = run(session, ["sh", "-c", "echo begun; sleep 60"], () => link.close());
      await assert.rejects(running, /lost|ended|given up/);
      assert.equal(server.host("web1").ended.some((row) => row.session === session.session), false);
      server.wires.at(-1)?.cut();
      await until(
        "the row of it",
        () =>
          server.host("web1").ended.some((row) => row.session === session.session && row.ending === "lost"),
      );
    },
  ],
  ["refuse: it says no, and can say that the host is not there", async (world) => {
    const { lab, server } = world;
    server.wiles = {
      takeOpen: (flow) => Promise.resolve(flow.refuse("refused_by_server", "not today")),
    };
    const refused = await lab.client("alice", ["exec", "web1", "--", "true"]);
    assert.equal(refused.code, 255);
    assert.match(refused.stderr, /the server refuses: not today/);
    assert.match(
      (await lab.client("alice", ["exec", "web9", "--", "true"])).stderr,
      /the server refuses: no host web9/,
    );
  }],
  ["end: by an order to the host, which obeys and says so to the administrator", async (world) => {
    const session = await world.open(await world.connect());
    const running = run(session, ["sh", "-c", "echo begun; sleep 60"], () => {
      const order = { sessions: [session.session], ending: "revoked" } as const;
      void world.server.host("web1").peer.client.end(order);
    });
    await assert.rejects(running, /web1 has ended the program|revoked/);
    await until(
      "the row of it",
      () =>
        world.server.host("web1").ended.some(({ session: id, ending }) =>
          id === session.session && ending === "revoked"
        ),
    );
  }],
  [
    "watch: who, when, which host, which action, targets of forwards, how many bytes, how long, which exit code",
    async (world) => {
      const { server, alice } = world;
      const link = await world.connect();
      assert.equal(
        await run(await world.open(link), ["sh", "-c", "printf 12345; exit 7"], undefined, 7),
        "12345",
      );
      const seen = decodeOpen(server.opens.at(-1) ?? new Uint8Array(0));
      assert.deepEqual([seen.action, seen.targets], ["exec", []]);
      assert.deepEqual(seen.adminKey, alice.publicKey);
      assert.deepEqual(seen.hostKey, server.host("web1").key);
      const row = await until(
        "the row of it",
        () => server.host("web1").ended.find(({ session }) => session === seen.session),
      );
      assert.deepEqual([row.exitCode, row.bytesIn, row.bytesOut], [7, 0, 5]);
      assert(row.durationMs >= 0);
      const forward = await world.open(link, { action: "forward", targets: ["db.internal:5432", "*:80"] });
      const open = decodeOpen(server.opens.at(-1) ?? new Uint8Array(0));
      assert.deepEqual([open.action, open.targets], ["forward", ["db.internal:5432", "*:80"]]);
      forward.peer.close();
    },
  ],
  [
    "hand out an authority: hosts and administrators store it, and still believe the server's own key only",
    async (world) => {
      const { server, lab } = world;
      const own = await Deno.readTextFile(`${lab.serverDir}/tls.pem`);
      const pins = { caCertificates: [server.identity.pins.caCertificates[0] ?? "", own], generation: 99 };
      await server.host("web1").peer.client.pin(pins);
      await world.logged("web1", "CA certificates of the server stored", /"generation":99/);
      assert.match(await Deno.readTextFile(`${lab.agentDir("web1")}/server.json`), /99/);
      await world.connect();
      await server.admins.at(-1)?.peer.client.pin(pins);
      assert.equal(world.folder.server().generation, 99);
      assert.deepEqual(world.folder.server().serverKey, server.identity.serverKey.publicKey);
    },
  ],
  [
    "lie about names: a host is told another name of an administrator, and goes by the key all the same",
    async (world) => {
      const open = await world.fromAlice("web1");
      const { connection } = await world.server.sendOpen("web1", open, "robert");
      connection.reset("cancelled", "");
      await world.logged("web1", "session opened", /"administrator":"robert"/);
      const other = await signOpen(await world.fields(), world.mallory);
      await world.refused(other, "refused_by_host", /not in admins/);
    },
  ],
  [
    "lie about tags and hosts: it decides where a program for all hosts of a tag runs, within what each host allows",
    async (world) => {
      const row = { sinceMs: 1, online: true, latencyMs: 1, version: "1", system: "linux", sessions: 0 };
      // In truth none has a tag, and web1 is there.
      world.server.wiles = { rows: [{ ...row, name: "web2", tags: ["prod"] }] };
      const { code, stdout } = await world.lab.client("alice", [
        "exec",
        "--all-tagged",
        "prod",
        "--",
        "echo",
        "here",
      ]);
      assert.equal(code, 0);
      const text = new TextDecoder().decode(stdout);
      assert(/web2.*here/.test(text) && !text.includes("web1"), text);
      await world.logged("web2", "session opened", /"administrator":"alice"/);
    },
  ],
  [
    "command a host that pins nobody: it believes whom the server names, which its operator can end by agent trust",
    async (world) => {
      const open = await signOpen(await world.fields(CAREFREE), world.mallory);
      const { connection } = await world.server.sendOpen(CAREFREE, open);
      connection.reset("cancelled", "");
      await world.logged(CAREFREE, "session opened", /"administrator":"alice"/);
    },
  ],
);

/** Runs a program to its end; gives what it has printed. */
async function run(
  session: OpenSession,
  command: readonly string[],
  printed: (text: string) => void = () => {},
  expectedCode = 0,
): Promise<string> {
  let text = "";
  const exitCode = await exec(session, {
    host: "web1",
    command,
    stdin: null,
    onStdout: (bytes) => {
      text += new TextDecoder().decode(bytes);
      printed(text);
    },
    onStderr: () => {},
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal(exitCode, expectedCode);
  return text;
}
