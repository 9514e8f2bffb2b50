import assert from "node:assert/strict";
import type { EndedSession } from "../../../src/protocol/manage/control_contract.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { fingerprint } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import type { OpenedSession } from "../../../src/server/manage/registry.ts";
import { RegistryGround } from "./registry_ground.ts";

const SESSION = "0123456789abcdef";

function opened(more: Partial<OpenedSession> = {}): OpenedSession {
  return {
    session: SESSION,
    admin: "carol",
    adminKey: new Uint8Array(32).fill(1),
    host: "web1",
    hostKey: new Uint8Array(32).fill(2),
    action: "shell",
    outlivesLink: true,
    targets: [],
    address: "192.0.2.9:1",
    ...more,
  };
}

function ended(more: Partial<EndedSession> = {}): EndedSession {
  return {
    session: SESSION,
    ending: "done",
    exitCode: 3,
    bytesIn: 10,
    bytesOut: 20,
    durationMs: 1500,
    ...more,
  };
}

function refuses(code: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof ResetError && error.code === code && /^the server refuses: /.test(error.message);
}

Deno.test("sessionOpened() writes the session and its row, durable for every other program", async () => {
  await using ground = await RegistryGround.make();
  const { registry, clock } = ground;
  const open = opened({ action: "forward", targets: ["db:5432"], outlivesLink: false });
  const head = registry.sessionOpened(open);
  using another = await ground.another();
  assert.deepEqual(another.audit.head(), head);
  const { address: _address, ...facts } = open;
  assert.deepEqual(another.openSessions(), [{ ...facts, openedMs: clock.nowMs }]);
  assert.deepEqual(another.openSession(SESSION), { ...facts, openedMs: clock.nowMs });
  assert.deepEqual(ground.rows(head.number).map(({ event, body }) => ({ event, body })), [{
    event: "session_opened",
    body: {
      session: SESSION,
      admin: "carol",
      admin_key: fingerprint(open.adminKey),
      host: "web1",
      host_key: fingerprint(open.hostKey),
      action: "forward",
      outlives_link: false,
      targets: ["db:5432"],
      address: "192.0.2.9:1",
    },
  }]);
});

Deno.test("sessionOpened() refuses a number that was used, also one of a session that is over", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const open = opened();
  registry.sessionOpened(open);
  const before = registry.audit.head();
  const stranger = opened({ adminKey: systemRandomBytes(32), admin: "eve" });
  assert.throws(() => registry.sessionOpened(stranger), refuses("refused_by_server"));
  registry.sessionEnded(open.hostKey, ended());
  assert.throws(() => registry.sessionOpened(open), refuses("refused_by_server"));
  assert.equal(registry.audit.head().number, before.number + 1);
});

Deno.test("sessionOpened() takes a session up again for its own administrator on its own host only", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const open = opened();
  assert.throws(() => registry.sessionOpened({ ...open, action: "attach" }), refuses("refused_by_server"));
  registry.sessionOpened(open);
  const attach = { ...open, action: "attach" } as const;
  const head = registry.sessionOpened(attach);
  assert.equal(ground.rows(head.number)[0]?.event, "session_opened");
  assert.equal(registry.openSession(SESSION)?.action, "shell");
  for (const change of [{ adminKey: systemRandomBytes(32) }, { hostKey: systemRandomBytes(32) }]) {
    assert.throws(() => registry.sessionOpened({ ...attach, ...change }), refuses("refused_by_server"));
  }
  registry.sessionEnded(open.hostKey, ended());
  assert.throws(() => registry.sessionOpened(attach), refuses("refused_by_server"));
  assert.equal(registry.audit.head().number, head.number + 1);
});

Deno.test("sessionEnded() counts once, however often the host tells it", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const open = opened();
  const { number } = registry.sessionOpened(open);
  const head = registry.sessionEnded(open.hostKey, ended());
  assert.deepEqual(registry.sessionEnded(open.hostKey, ended()), head);
  assert.deepEqual(registry.sessionEnded(open.hostKey, ended({ exitCode: 0 })), head);
  assert.deepEqual(registry.openSessions(), []);
  assert.deepEqual(ground.rows(number + 1).map(({ event, body }) => ({ event, body })), [{
    event: "session_ended",
    body: {
      session: SESSION,
      admin: "carol",
      host: "web1",
      action: "shell",
      ending: "done",
      exit_code: 3,
      bytes_in: 10,
      bytes_out: 20,
      duration_ms: 1500,
    },
  }]);
});

Deno.test("sessionEnded() takes nothing from a host that does not have the session", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const head = registry.sessionOpened(opened());
  assert.deepEqual(registry.sessionEnded(systemRandomBytes(32), ended()), head);
  assert.deepEqual(registry.sessionEnded(opened().hostKey, ended({ session: "fedcba9876543210" })), head);
  assert.equal(registry.openSessions().length, 1);
});

Deno.test("openSessions() outlives the revocation of its host and administrator, for those who must end them", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const hostKey = ground.join("web1"), adminKey = ground.join("carol", "administrator");
  registry.sessionOpened(opened({ hostKey, adminKey }));
  registry.revoke("host", "web1");
  registry.revoke("administrator", "carol");
  assert.equal(registry.openSessions().length, 1);
  registry.sessionEnded(hostKey, ended({ ending: "revoked", exitCode: null }));
  assert.equal(registry.openSessions().length, 0);
});
