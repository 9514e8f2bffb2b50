import assert from "node:assert/strict";
import { fingerprint } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { Failure } from "../../../src/system/failure.ts";
import { HOUR_MS, RegistryGround } from "./registry_ground.ts";

const ADDRESS = "192.0.2.7:4711";

Deno.test("bindToken() lets the first key in under the name and tags of the invitation, with a row", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const secretHash = ground.invite("web1", { tags: ["prod", "eu"] });
  const key = systemRandomBytes(32);
  const before = registry.audit.head().number;
  assert.deepEqual(registry.bindToken({ secretHash, role: "host", key, address: ADDRESS }), {
    role: "host",
    name: "web1",
    tags: ["prod", "eu"],
  });
  assert.deepEqual(registry.hostByKey(key), {
    role: "host",
    name: "web1",
    key,
    tags: ["prod", "eu"],
    joinedMs: ground.clock.nowMs,
    online: false,
    sinceMs: null,
    version: null,
    system: null,
    pinsGeneration: 0,
  });
  assert.deepEqual(registry.hostByName("web1"), registry.hostByKey(key));
  assert.equal(registry.adminByKey(key), null);
  assert.equal(registry.adminByName("web1"), null);
  const [row, ...others] = ground.rows(before + 1);
  assert.deepEqual(others, []);
  assert.equal(row?.event, "joined");
  assert.deepEqual(row?.body, {
    role: "host",
    name: "web1",
    tags: ["prod", "eu"],
    key: fingerprint(key),
    replaced: null,
    address: ADDRESS,
  });
});

Deno.test("bindToken() gives the same key the same answer until the token expires, without another row", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const secretHash = ground.invite("web1", { tags: ["prod"] });
  const shown = { secretHash, role: "host", key: systemRandomBytes(32), address: ADDRESS } as const;
  const first = registry.bindToken(shown);
  const head = registry.audit.head();
  ground.clock.nowMs += HOUR_MS - 1;
  using another = await ground.another(); // the server was restarted meanwhile
  assert.deepEqual(another.bindToken(shown), first);
  assert.deepEqual(registry.audit.head(), head);
  ground.clock.nowMs += 1;
  assert.deepEqual(registry.bindToken(shown), {
    refused: "token",
    text: "the server refuses: the token has expired",
  });
  assert.ok(registry.hostByName("web1") !== null);
});

Deno.test("bindToken() refuses a second key, and audits it", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const secretHash = ground.invite("web1");
  const first = systemRandomBytes(32), second = systemRandomBytes(32);
  registry.bindToken({ secretHash, role: "host", key: first, address: ADDRESS });
  const before = registry.audit.head().number;
  assert.deepEqual(registry.bindToken({ secretHash, role: "host", key: second, address: ADDRESS }), {
    refused: "token",
    text: "the server refuses: the token was used by another key",
  });
  assert.equal(registry.hostByKey(second), null);
  assert.deepEqual(ground.rows(before + 1).map(({ event, body }) => ({ event, body })), [{
    event: "join_refused",
    body: {
      role: "host",
      name: "web1",
      reason: "the token was used by another key",
      key: fingerprint(second),
      address: ADDRESS,
    },
  }]);
});

Deno.test("bindToken() refuses an expired, a revoked and an unknown token, and one of the other role", async () => {
  await using ground = await RegistryGround.make();
  const { registry, clock } = ground;
  const key = systemRandomBytes(32);
  const refusal = (secretHash: Uint8Array<ArrayBuffer>, role: "host" | "administrator" = "host"): string => {
    const bound = registry.bindToken({ secretHash, role, key, address: ADDRESS });
    assert.ok("refused" in bound);
    assert.equal(bound.refused, "token");
    return bound.text;
  };
  const head = registry.audit.head().number;
  assert.equal(refusal(systemRandomBytes(32)), "the server refuses: the token is not known here");
  assert.equal(
    registry.audit.head().number,
    head,
    "anybody can make up a token, and no row is written for it",
  );

  assert.equal(
    refusal(ground.invite("web1"), "administrator"),
    "the server refuses: the token is one for a host",
  );
  assert.equal(
    refusal(ground.invite("carol", { role: "administrator" })),
    "the server refuses: the token is one for an administrator",
  );
  const taken = ground.invite("web2");
  assert.equal(registry.revokeInvite("web2"), 1);
  assert.equal(refusal(taken), "the server refuses: the token was revoked");
  const old = ground.invite("web3");
  clock.nowMs += HOUR_MS - 1;
  assert.equal(registry.invites().some(({ name }) => name === "web3"), true);
  clock.nowMs += 1;
  assert.equal(refusal(old), "the server refuses: the token has expired");
  assert.equal(registry.invites().some(({ name }) => name === "web3"), false);
  assert.deepEqual(registry.hosts(), []);
  assert.deepEqual(registry.admins(), []);
  assert.equal(ground.events(head + 1).filter((event) => event === "join_refused").length, 4);
});

Deno.test("bindToken() refuses an old token when the clock has been set back far before it was made", async () => {
  await using ground = await RegistryGround.make();
  const { registry, clock } = ground;
  const madeMs = clock.nowMs;
  const shown = { secretHash: ground.invite("web1"), role: "host", address: ADDRESS } as const;
  clock.nowMs = 60_000;
  assert.deepEqual(registry.bindToken({ ...shown, key: systemRandomBytes(32) }), {
    refused: "token",
    text: "the server refuses: the token is newer than the server's clock, which is wrong",
  });
  // A clock that was a little ahead is put right.
  clock.nowMs = madeMs - 60_000;
  assert.ok(!("refused" in registry.bindToken({ ...shown, key: systemRandomBytes(32) })));
});

Deno.test("createInvite() takes the earlier unused invitation of the name back", async () => {
  await using ground = await RegistryGround.make();
  const { registry, clock } = ground;
  const lost = ground.invite("web1");
  const other = ground.invite("web1", { role: "administrator" });
  const invite = {
    role: "host",
    name: "web1",
    tags: [],
    replaces: false,
    expiresMs: clock.nowMs + HOUR_MS,
    secretHash: systemRandomBytes(32),
  } as const;
  assert.equal(registry.createInvite(invite), 1);
  const key = systemRandomBytes(32);
  assert.ok("refused" in registry.bindToken({ secretHash: lost, role: "host", key, address: ADDRESS }));
  assert.ok(
    "name" in registry.bindToken({ secretHash: invite.secretHash, role: "host", key, address: ADDRESS }),
  );
  assert.ok(
    "name" in registry.bindToken({ secretHash: other, role: "administrator", key, address: ADDRESS }),
  );
});

Deno.test("createInvite() of a name that is taken needs replaces, and only the use of the token replaces the key", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const old = ground.join("web1", "host", ["prod"]);
  const before = registry.audit.head();
  assert.throws(() => ground.invite("web1"), (error) => {
    assert.ok(error instanceof Failure);
    assert.match(error.message, /cannot invite host web1: there is one of this name/);
    assert.match(error.hint ?? "", /--replace/);
    return true;
  });
  assert.deepEqual(registry.audit.head(), before, "nothing half-written");
  const secretHash = ground.invite("web1", { replaces: true, tags: null });
  assert.deepEqual(registry.hostByName("web1")?.key, old, "the living host is not locked out");
  assert.equal(registry.wasRevoked("host", old), false);

  const key = systemRandomBytes(32);
  assert.deepEqual(registry.bindToken({ secretHash, role: "host", key, address: ADDRESS }), {
    role: "host",
    name: "web1",
    tags: ["prod"],
  });
  assert.equal(registry.hostByKey(old), null);
  assert.equal(registry.wasRevoked("host", old), true);
  assert.deepEqual(registry.hostByName("web1")?.key, key);
  const body = ground.rows().at(-1)?.body;
  assert.ok(typeof body === "object");
  assert.equal(body["replaced"], fingerprint(old));
});

Deno.test("bindToken() tells a key that has lost its place so, when it shows its old token again", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const shown = {
    secretHash: ground.invite("web1"),
    role: "host",
    key: systemRandomBytes(32),
    address: ADDRESS,
  } as const;
  registry.bindToken(shown);
  const secretHash = ground.invite("web1", { replaces: true });
  registry.bindToken({ ...shown, secretHash, key: systemRandomBytes(32) });
  assert.deepEqual(registry.bindToken(shown), {
    refused: "token",
    text: "the server refuses: web1 was revoked",
  });
});

Deno.test("bindToken() lets a key take its own place, with the tags of the new invitation", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const key = ground.join("web1", "host", ["prod"]);
  const secretHash = ground.invite("web1", { replaces: true, tags: ["test"] });
  const bound = registry.bindToken({ secretHash, role: "host", key, address: ADDRESS });
  assert.deepEqual(bound, { role: "host", name: "web1", tags: ["test"] });
  assert.deepEqual(registry.hosts().map(({ name, tags }) => [name, tags]), [["web1", ["test"]]]);
});

Deno.test("bindToken() refuses a key that has joined under another name of the same role", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const key = ground.join("web1");
  const second = ground.invite("web2");
  assert.deepEqual(registry.bindToken({ secretHash: second, role: "host", key, address: ADDRESS }), {
    refused: "token",
    text: "the server refuses: this key has joined as web1",
  });
  // The same key may be an administrator's as well: another role.
  assert.ok(
    "name" in registry.bindToken({
      secretHash: ground.invite("carol", { role: "administrator" }),
      role: "administrator",
      key,
      address: ADDRESS,
    }),
  );
});

Deno.test("revoke() shuts a member out for good, keeps its rows, and frees the name", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  for (const role of ["host", "administrator"] as const) {
    const secretHash = ground.invite("x1", { role });
    const key = systemRandomBytes(32);
    const shown = { secretHash, role, key, address: ADDRESS };
    registry.bindToken(shown);
    const before = registry.audit.head().number;
    assert.equal(registry.revoke(role, "x1"), true);
    assert.equal(registry.wasRevoked(role, key), true);
    assert.equal(registry.hostByKey(key) ?? registry.adminByKey(key), null);
    assert.deepEqual(ground.events(before + 1), ["revoked"]);
    const again = registry.bindToken(shown);
    assert.ok("refused" in again, "it cannot come back by the token that it has used");
    assert.equal(registry.revoke(role, "x1"), false);
    const next = ground.join("x1", role);
    assert.equal(registry.wasRevoked(role, next), false);
    assert.equal(registry.wasRevoked(role, key), true);
  }
  assert.equal(registry.wasRevoked("host", systemRandomBytes(32)), false);
});

Deno.test("revoke() takes the open invitations of the name back as well", async () => {
  await using ground = await RegistryGround.make();
  ground.join("web1");
  const secretHash = ground.invite("web1", { replaces: true });
  ground.registry.revoke("host", "web1");
  const key = systemRandomBytes(32);
  assert.ok("refused" in ground.registry.bindToken({ secretHash, role: "host", key, address: ADDRESS }));
});

Deno.test("revokeInvite() takes back what nobody has used, and nothing else", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const key = ground.join("web1");
  const before = registry.audit.head();
  assert.equal(registry.revokeInvite("web1"), 0, "it is used");
  assert.equal(registry.revokeInvite("web9"), 0);
  assert.deepEqual(registry.audit.head(), before);
  assert.ok(registry.hostByKey(key) !== null);
});

Deno.test("noteOnline() and noteOffline() keep who is there since when, with rows", async () => {
  await using ground = await RegistryGround.make();
  const { registry, clock } = ground;
  const key = ground.join("web1");
  const facts = { version: "0.1.0", system: "linux x86_64", pinsGeneration: 1, address: ADDRESS };
  const before = registry.audit.head().number;
  registry.noteOnline(key, facts);
  const onlineMs = clock.nowMs;
  clock.nowMs += 5000;
  assert.deepEqual(
    registry.hosts().map(({ online, sinceMs, version, system, pinsGeneration }) => [
      online,
      sinceMs,
      version,
      system,
      pinsGeneration,
    ]),
    [[true, onlineMs, "0.1.0", "linux x86_64", 1]],
  );
  registry.noteOffline(key, { reason: "silent", address: ADDRESS });
  assert.deepEqual(registry.hosts().map(({ online, sinceMs }) => [online, sinceMs]), [[false, clock.nowMs]]);
  registry.noteOnline(key, facts);
  clock.nowMs += 5000;
  registry.noteAllOffline();
  assert.deepEqual(registry.hosts().map(({ online, sinceMs }) => [online, sinceMs]), [[false, clock.nowMs]]);
  registry.noteOnline(systemRandomBytes(32), facts);
  assert.deepEqual(ground.events(before + 1), ["link_up", "link_down", "link_up"]);
  const offlineMs = clock.nowMs;
  clock.nowMs += 5000;
  registry.noteOffline(key, { reason: "lost", address: ADDRESS });
  assert.equal(registry.hostByKey(key)?.sinceMs, offlineMs, "it was offline already");
});

Deno.test("changes() moves when another program has written, and not by own writes or others' reading", async () => {
  await using ground = await RegistryGround.make();
  using another = await ground.another();
  const { registry } = ground;
  const before = registry.changes();
  ground.join("web1");
  assert.equal(another.hosts().length, 1);
  assert.equal(registry.changes(), before);
  another.revoke("host", "web1");
  assert.notEqual(registry.changes(), before);
  assert.deepEqual(registry.hosts(), []);
});

Deno.test("batch() writes all or nothing", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const head = registry.audit.head();
  const wrong = new Error("no");
  assert.throws(() =>
    registry.batch(() => {
      ground.join("web1");
      registry.audit.append("policy_changed", {});
      throw wrong;
    }), wrong);
  assert.deepEqual(registry.audit.head(), head);
  assert.deepEqual(registry.hosts(), []);
  ground.join("web1");
  assert.equal(registry.audit.verify().isSound, true);
});

Deno.test("withoutPins() names who has not stored the newest authorities", async () => {
  await using ground = await RegistryGround.make();
  const { registry } = ground;
  const web = ground.join("web1"), carol = ground.join("carol", "administrator");
  assert.deepEqual(registry.withoutPins().map(({ name }) => name), ["web1", "carol"]);
  registry.notePinned("host", web, registry.pinsGeneration());
  assert.deepEqual(registry.withoutPins().map(({ name }) => name), ["carol"]);
  registry.notePinned("administrator", carol, registry.pinsGeneration());
  assert.deepEqual(registry.withoutPins(), []);
  // It has those of a change that this registry, an older copy, knows nothing of.
  registry.notePinned("host", web, registry.pinsGeneration() + 2);
  assert.deepEqual(registry.withoutPins().map(({ name }) => name), ["web1"]);
});

Deno.test("The registry file holds no secret of a token, only its hash", async () => {
  await using ground = await RegistryGround.make();
  const { invite } = await import("../../../src/server/manage/invite.ts");
  const { parseJoinToken } = await import("../../../src/protocol/manage/join_token.ts");
  const { token } = await invite(ground.folder.path, {
    role: "host",
    name: "web1",
    tags: null,
    lifeMs: HOUR_MS,
    replaces: false,
  });
  const { secret } = parseJoinToken(token);
  for await (const { name } of Deno.readDir(ground.folder.path)) {
    const bytes = await Deno.readFile(`${ground.folder.path}/${name}`);
    assert.ok(!bytes.toHex().includes(secret.toHex()), name);
    assert.ok(!new TextDecoder().decode(bytes).includes(token.slice(30, 60)), name);
  }
});
