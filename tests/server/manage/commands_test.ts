/** What `server manage invite | revoke | list | audit` do, beside a registry that somebody else has open. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { encodeHead, signHead } from "../../../src/protocol/manage/audit_head.ts";
import { parseJoinToken, tokenHash } from "../../../src/protocol/manage/join_token.ts";
import { fingerprint, SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import {
  auditLine,
  auditObject,
  auditRows,
  verifiedLines,
  verifyAudit,
} from "../../../src/server/manage/audit_command.ts";
import { certificateBytes } from "../../../src/server/manage/certificates.ts";
import { type Invitation, invite } from "../../../src/server/manage/invite.ts";
import { listing, listingLines } from "../../../src/server/manage/list.ts";
import { revoke } from "../../../src/server/manage/revoke.ts";
import { readServerKey } from "../../../src/server/manage/server_identity.ts";
import { Failure } from "../../../src/system/failure.ts";
import { HOUR_MS, RegistryGround } from "./registry_ground.ts";

const ADDRESS = "192.0.2.7:4711";
const WEB1: Invitation = { role: "host", name: "web1", tags: ["prod"], lifeMs: HOUR_MS, replaces: false };

/** Writes the newest head as a client keeps it. */
async function keepHead(ground: RegistryGround, key: SigningKey): Promise<string> {
  const path = `${ground.folder.path}.head`;
  const head = encodeHead(await signHead(ground.registry.audit.head(), key));
  await Deno.writeTextFile(path, `${head.toHex()}\n`);
  return path;
}

/** Cuts the newest rows off, as whoever can write the file could. */
function cut(ground: RegistryGround, sql: string): void {
  const raw = new DatabaseSync(ground.folder.registry);
  raw.exec(`DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_cut; ${sql}`);
  raw.close();
}

Deno.test("invite() gives a token with addresses, certificate and server key, which the registry takes", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry, clock } = ground;
  const { token, expiresMs, takenBack } = await invite(folder.path, WEB1, { clock });
  assert.equal(takenBack, 0);
  assert.equal(expiresMs, clock.nowMs + HOUR_MS);
  const { kind, secret, serverKey, addresses, caCertificate } = parseJoinToken(token);
  assert.equal(kind, "host");
  assert.deepEqual(addresses, ["manage.example:7022", "[2001:db8::1]:7022"]);
  assert.deepEqual(serverKey, (await readServerKey(folder)).publicKey);
  const ca = await Deno.readTextFile(folder.caCertificate);
  assert.deepEqual(caCertificate, certificateBytes(ca, "ca.pem"));
  const key = systemRandomBytes(32);
  const bound = registry.bindToken({ secretHash: tokenHash(secret), role: "host", key, address: ADDRESS });
  assert.deepEqual(bound, { role: "host", name: "web1", tags: ["prod"] });
  assert.equal((await invite(folder.path, { ...WEB1, name: "web2" }, { clock })).takenBack, 0);
  assert.equal((await invite(folder.path, { ...WEB1, name: "web2" }, { clock })).takenBack, 1);
});

Deno.test("invite() refuses names and tags without a form, and a name that is taken, and writes nothing", async () => {
  await using ground = await RegistryGround.make();
  ground.join("web1");
  const head = ground.registry.audit.head();
  const wrong: readonly [Partial<Invitation>, RegExp][] = [
    [{ name: "" }, /cannot invite ""/],
    [{ name: "Web" }, /cannot invite "Web": accepted is a name of 1 to 64/],
    [{ name: "../x" }, /cannot invite/],
    [{ name: "a".repeat(65) }, /cannot invite/],
    [{ name: "web3", tags: ["pr od"] }, /cannot use the tag "pr od"/],
    [{ name: "web3", tags: [""] }, /cannot use the tag ""/],
    [{ name: "web3", tags: ["a", "a"] }, /the same tag twice/],
    [{ name: "web3", tags: Array.from({ length: 33 }, (_, n) => `t${n}`) }, /cannot give 33 tags/],
    [{ role: "administrator", name: "carol" }, /cannot give tags to an administrator/],
    [{}, /there is one of this name/],
  ];
  for (const [change, message] of wrong) {
    await assert.rejects(invite(ground.folder.path, { ...WEB1, ...change }), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, message);
      return true;
    });
  }
  assert.deepEqual(ground.registry.audit.head(), head);
});

Deno.test("invite() without tags leaves a host that is replaced its tags, and gives a new one none", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry, clock } = ground;
  ground.join("web1", "host", ["prod"]);
  for (const [name, replaces, tags] of [["web1", true, ["prod"]], ["web2", false, []]] as const) {
    const { token } = await invite(folder.path, { ...WEB1, name, tags: null, replaces }, { clock });
    const bound = registry.bindToken({
      secretHash: tokenHash(parseJoinToken(token).secret),
      role: "host",
      key: systemRandomBytes(32),
      address: ADDRESS,
    });
    assert.deepEqual(bound, { role: "host", name, tags });
  }
});

Deno.test("revoke() works beside a server, which sees that something has changed", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry, clock } = ground;
  ground.join("web1");
  ground.join("carol", "administrator");
  ground.invite("web2");
  for (const [kind, name] of [["host", "web1"], ["administrator", "carol"], ["invite", "web2"]] as const) {
    const before = registry.changes();
    await revoke(folder.path, kind, name, { clock });
    assert.notEqual(registry.changes(), before);
  }
  assert.deepEqual([registry.hosts(), registry.admins(), registry.invites()], [[], [], []]);
});

Deno.test("revoke() of a name that is not there tells the nearest one", async () => {
  await using ground = await RegistryGround.make();
  const { folder, clock } = ground;
  ground.join("web1");
  ground.join("carol", "administrator");
  ground.invite("db1");
  const wrong: readonly ["host" | "administrator" | "invite", string, RegExp][] = [
    ["host", "wbe1", /no host of this name \(did you mean web1\?\)/],
    ["host", "carol", /no host of this name$/],
    ["administrator", "caro", /no administrator of this name \(did you mean carol\?\)/],
    ["invite", "db2", /no unused invitation of this name \(did you mean db1\?\)/],
    ["invite", "web1", /no unused invitation/],
  ];
  for (const [kind, name, message] of wrong) {
    await assert.rejects(revoke(folder.path, kind, name, { clock }), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("invite() and revoke() do not repeat a token that was typed in the place of a name", async () => {
  await using ground = await RegistryGround.make();
  const { folder, clock } = ground;
  const { token } = await invite(folder.path, WEB1, { clock });
  for (const typed of [token, token.slice(0, 60), ` ${token}`]) {
    const attempts = [
      (): Promise<unknown> => invite(folder.path, { ...WEB1, name: typed }),
      (): Promise<unknown> => invite(folder.path, { ...WEB1, name: "web2", tags: [typed] }),
      (): Promise<unknown> => revoke(folder.path, "invite", typed),
      (): Promise<unknown> => revoke(folder.path, "host", typed),
    ];
    for (const attempt of attempts) {
      await assert.rejects(attempt, (error) => {
        assert.ok(error instanceof Failure);
        assert.match(error.message, /a text of \d+ characters/);
        assert.ok(!`${error.message} ${error.hint}`.includes(token.slice(20, 30)));
        return true;
      });
    }
  }
});

Deno.test("listing() shows hosts, administrators and invitations", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry, clock } = ground;
  assert.deepEqual(listingLines(await listing(folder.path, { clock })), [
    "no hosts",
    "",
    "no administrators",
    "",
    "no invitations",
  ]);
  const web = ground.join("web1", "host", ["prod", "eu"]);
  const db = ground.join("db1");
  const carol = ground.join("carol", "administrator");
  const facts = { version: "0.1.0", system: "linux x86_64", pinsGeneration: 1, address: ADDRESS };
  registry.noteOnline(web, facts);
  clock.nowMs += 60_000;
  ground.invite("web1", { replaces: true, tags: null });
  const lines = listingLines(await listing(folder.path, { clock }));
  assert.deepEqual(lines, [
    "hosts:",
    "  NAME  STATE   SINCE                 TAGS     VERSION  SYSTEM        KEY",
    `  db1   never   -                     -        -        -             ${fingerprint(db)}`,
    `  web1  online  2026-11-21T00:00:00Z  prod,eu  0.1.0    linux x86_64  ${fingerprint(web)}`,
    "",
    "administrators:",
    "  NAME   JOINED                KEY",
    `  carol  2026-11-21T00:00:00Z  ${fingerprint(carol)}`,
    "",
    "invitations:",
    "  KIND           NAME   EXPIRES               TAGS",
    "  host           db1    2026-11-21T01:00:00Z  -          used",
    "  host           web1   2026-11-21T01:00:00Z  prod,eu    used",
    "  host           web1   2026-11-21T01:01:00Z  as before  takes the place of the present one",
    "  administrator  carol  2026-11-21T01:00:00Z  -          used",
  ]);
  registry.noteOffline(web, { reason: "lost", address: ADDRESS });
  const [, host] = (await listing(folder.path, { clock })).hosts;
  assert.deepEqual([host?.state, host?.since], ["offline", "2026-11-21T00:01:00Z"]);
});

Deno.test("verifyAudit() says that the end is unproven without a head, and proves it with one", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  ground.join("web1");
  const key = await readServerKey(folder);
  const head = await keepHead(ground, key);
  const { number, hash } = registry.audit.head();
  const alone = await verifyAudit(folder.path, null);
  assert.deepEqual(alone, { sound: true, rows: number, head: hash.toHex(), against: null, wrong: null });
  assert.deepEqual(verifiedLines(alone), [
    `OK: ${number} rows, the last one has the hash ${hash.toHex()}`,
    "that no rows were cut off at the end is unproven: give --head a head that a client or an agent keeps",
  ]);
  const proven = verifiedLines(await verifyAudit(folder.path, head));
  assert.equal(proven[1], `the head that was kept is row ${number}: nothing was changed or cut off`);
  registry.audit.append("policy_changed", {});
  const older = verifiedLines(await verifyAudit(folder.path, head));
  assert.match(older[1] ?? "", /nothing was changed up to row 3, .*; the rows after it are unproven/);
});

Deno.test("verifyAudit() finds rows that were cut off, against a head, and rows that were changed, without", async () => {
  await using ground = await RegistryGround.make();
  const { folder } = ground;
  ground.join("web1");
  ground.join("web2");
  const head = await keepHead(ground, await readServerKey(folder));
  cut(ground, "DELETE FROM audit WHERE number > 3");
  assert.equal((await verifyAudit(folder.path, null)).sound, true);
  const verified = await verifyAudit(folder.path, head);
  assert.deepEqual([verified.sound, verified.wrong?.row], [false, 4]);
  assert.deepEqual(verifiedLines(verified), [
    "the audit is not sound: row 4: it and all later ones are missing, but a head of row 5 was kept",
  ]);
  const raw = new DatabaseSync(folder.registry);
  raw.exec("UPDATE audit SET body = replace(body, 'web1', 'web9') WHERE number = 2");
  raw.close();
  const changed = await verifyAudit(folder.path, null);
  assert.deepEqual([changed.sound, changed.rows, changed.wrong?.row], [false, 1, 2]);
});

Deno.test("verifyAudit() refuses a head that is none, or that this server has not signed", async () => {
  await using ground = await RegistryGround.make();
  const { folder } = ground;
  const other = await SigningKey.generate(systemRandomBytes);
  const foreign = await keepHead(ground, other);
  await assert.rejects(verifyAudit(folder.path, foreign), /this server, SHA256:.*, has not signed it/);
  for (const text of ["", "00", "zz".repeat(104), "00".repeat(105), `${"ff".repeat(8)}${"00".repeat(96)}`]) {
    await Deno.writeTextFile(foreign, text);
    await assert.rejects(verifyAudit(folder.path, foreign), Failure, text.slice(0, 20));
  }
  await assert.rejects(
    verifyAudit(folder.path, `${foreign}.gone`),
    /could not read .*: there is no such file/,
  );
});

Deno.test("auditRows() gives the newest rows, and auditLine() lets nothing drive a terminal", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  registry.audit.append("link_up", {
    host: "web1",
    system: "\u001b[2J x",
    tags: ["a", "b c"],
    n: 3,
    none: null,
    list: [],
  });
  const rows = await auditRows(folder.path, 1);
  assert.deepEqual(rows.map(auditLine), [
    '2 2026-11-21T00:00:00Z link_up host=web1 system="\\u001b[2J x" tags=a,"b c" n=3 list=-',
  ]);
  assert.deepEqual(rows.map(auditObject), [{
    number: 2,
    at: "2026-11-21T00:00:00Z",
    event: "link_up",
    body: { host: "web1", system: "\u001b[2J x", tags: ["a", "b c"], n: 3, none: null, list: [] },
  }]);
  cut(
    ground,
    "UPDATE audit SET body = 'no\u001b JSON', event = 'x\u001b', at_ms = 9223372036854775807 WHERE number = 2",
  );
  assert.deepEqual((await auditRows(folder.path, 1)).map(auditLine), ['2 - x\\u001b "no\\u001b JSON"']);
});
