import assert from "node:assert/strict";
import { systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { TELL_ENDS_MS } from "../../../src/server/manage/missing_sessions.ts";
import { until } from "../../e2e/until.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { ServerGround } from "./server_ground.ts";

const RUNNING = "00000000000000a1", LOST = "00000000000000b2", TOLD = "00000000000000c3";

Deno.test("ManageServer ends sessions that it had opened when it died, and of which the host knows nothing", async () => {
  const waiting: (() => void)[] = [];
  const timers: Timers = {
    ...systemTimers,
    after: (delayMs, act) => {
      if (delayMs !== TELL_ENDS_MS) return systemTimers.after(delayMs, act);
      waiting.push(act);
      return () => {};
    },
  };
  await using ground = await ServerGround.lay({ timers });
  const hostKey = await ground.member("host", "web1"),
    adminKey = await ground.member("administrator", "alice");
  await ground.server.stop();
  for (const session of [RUNNING, LOST, TOLD]) {
    ground.registry.sessionOpened({
      session,
      host: "web1",
      hostKey: hostKey.publicKey,
      admin: "alice",
      adminKey: adminKey.publicKey,
      action: "exec",
      outlivesLink: false,
      targets: [],
      address: "192.0.2.1:1",
    });
  }
  await ground.restart();
  const session = {
    session: RUNNING,
    adminKey: adminKey.publicKey,
    action: "exec",
    detached: false,
  } as const;
  const host = await ScriptedHost.start(ground, hostKey, { sessions: [session] });
  const told = { ending: "done", exitCode: 0, bytesIn: 0, bytesOut: 0, durationMs: 9 } as const;
  await host.peer.client.ended({ session: TOLD, ...told });
  const admin = await ScriptedAdmin.start(ground, adminKey);
  const opened = await admin.open("web1", { action: "exec" });
  assert.equal((await admin.peer.client.hosts(null))[0]?.sessions, 3);
  waiting.forEach((act) => act());
  await until("it is over", async () => (await admin.peer.client.hosts(null))[0]?.sessions === 2);
  const rows = await ground.rows("session_ended", 2);
  assert.deepEqual(rows.map(({ session, ending }) => [session, ending]), [[TOLD, "done"], [LOST, "lost"]]);
  assert.deepEqual(
    ground.registry.openSessions().map(({ session }) => session),
    [RUNNING, opened.session],
  );
});
