/** The server as a process with exactly the permissions it ships with. */
import assert from "node:assert/strict";
import { ManageLab, runShipped } from "../../../scripts/manage_lab.ts";
import { type DialledLink, dialLink } from "../../../src/protocol/manage/link_handshake.ts";
import { parseJoinToken } from "../../../src/protocol/manage/join_token.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { dialPinned } from "../../../src/protocol/transport/pinned_tls.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { ScriptedHost } from "./scripted_host.ts";
import type { GroundDial } from "./server_ground.ts";

/** What dials a laboratory's server. */
class LabDialler {
  readonly serverKey: Uint8Array<ArrayBuffer>;
  readonly #lab: ManageLab;

  constructor(lab: ManageLab, serverKey: Uint8Array<ArrayBuffer>) {
    this.#lab = lab;
    this.serverKey = serverKey;
  }

  async dial(options: GroundDial): Promise<DialledLink> {
    const { connection, certificate } = await dialPinned({
      address: `127.0.0.1:${this.#lab.cable.port}`,
      caCertificates: [await Deno.readTextFile(`${this.#lab.serverDir}/ca.pem`)],
    });
    return await dialLink(connection, {
      kind: "link",
      role: "host",
      serverKey: this.serverKey,
      serverCertificate: certificate,
      timers: systemTimers,
      random: systemRandomBytes,
      onOpen: (flow) => flow.refuse("internal", "not scripted"),
      ...options,
    });
  }
}

async function joined(
  lab: ManageLab,
  kind: "host" | "admin",
  name: string,
): Promise<[LabDialler, SigningKey]> {
  const { secret, serverKey } = parseJoinToken(await lab.invite(kind, name));
  const dialler = new LabDialler(lab, serverKey);
  const key = await SigningKey.generate(systemRandomBytes);
  const role = kind === "host" ? "host" : "administrator";
  const { link } = await dialler.dial({ key, role, kind: "join", secret });
  link.close("cancelled", "joined");
  await link.closed;
  return [dialler, key];
}

Deno.test("server manage serves, rereads, shuts out whom `revoke` names, and ends by SIGTERM", async () => {
  await using lab = await ManageLab.make();
  const [dialler, hostKey] = await joined(lab, "host", "web1");
  const [, adminKey] = await joined(lab, "admin", "alice");
  const [, otherKey] = await joined(lab, "host", "web2");
  const host = await ScriptedHost.start(dialler, hostKey);
  const other = await ScriptedHost.start(dialler, otherKey);
  const admin = await ScriptedAdmin.start(dialler, adminKey);
  await admin.open("web1");

  Deno.kill(lab.server.pid, "SIGHUP");
  await lab.server.line(({ fields }) => fields["message"] === "read again");
  const revoked = await lab.serverCommand("revoke", "host", "web2");
  assert.equal(revoked.code, 0, revoked.stderr);
  assert.equal((await other.dialled.link.closed).code, "revoked");

  const { server } = lab;
  await lab.stopServer();
  assert.equal((await server.status).code, 0);
  assert.equal((await host.dialled.link.closed).code, "shutting_down");
  assert.equal((await admin.dialled.link.closed).code, "shutting_down");
  await server.line(({ fields }) => fields["message"] === "management server stopped");
  const kept = server.lines.filter(({ fields }) => fields["message"] === "permission could not be given up");
  assert.deepEqual(kept, []);
  const unexpected = server.lines.filter(({ fields }) => fields["level"] === "error");
  assert.deepEqual(unexpected, []);

  const verified = await lab.serverCommand("audit", "--verify");
  assert.equal(verified.code, 0, verified.stderr);
});

Deno.test("server manage --check looks at the folder and binds nothing; a bad address and folder are said", async () => {
  await using lab = await ManageLab.make();
  const line = ["server", "manage", "--dir", lab.serverDir];
  const bound = await runShipped([
    ...line,
    "--bind",
    "127.0.0.1:1",
    "--check",
  ]);
  assert.equal(bound.code, 0, bound.stderr);
  assert.match(new TextDecoder().decode(bound.stdout), /is good\n.*address: +127\.0\.0\.1:1\n/s);
  await assert.rejects(
    runShipped([...line, "--bind", "localhost:7022"]),
    /cannot use option --bind: found "localhost:7022"/,
  );
  const folder = await runShipped([
    "server",
    "manage",
    "--dir",
    `${lab.folder}/nowhere`,
    "--bind",
    "127.0.0.1:0",
  ]);
  assert.equal(folder.code, 1);
  assert.match(folder.stderr, /nowhere/);
  assert.match(folder.stderr, /server manage init/);
});
