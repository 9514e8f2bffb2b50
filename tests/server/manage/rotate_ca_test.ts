import assert from "node:assert/strict";
import { fits } from "../../../src/server/manage/certificates.ts";
import { isThere } from "../../../src/server/manage/data_folder.ts";
import { listing, listingLines } from "../../../src/server/manage/list.ts";
import {
  beginRotation,
  finishRotation,
  isRotating,
  waitingFor,
} from "../../../src/server/manage/rotate_ca.ts";
import { loadServerIdentity } from "../../../src/server/manage/server_identity.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { RegistryGround } from "./registry_ground.ts";

Deno.test("beginRotation() pins a second authority, and goes on with the certificate of the first", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  const before = await loadServerIdentity(folder, registry);
  assert.equal(isRotating(registry), false);
  await beginRotation(folder, registry);
  assert.equal(isRotating(registry), true);
  const now = await loadServerIdentity(folder, registry);
  assert.equal(now.rotating, true);
  assert.equal(now.pins.generation, before.pins.generation + 1);
  assert.equal(now.pins.caCertificates.length, 2);
  assert.equal(now.pins.caCertificates[0], before.pins.caCertificates[0]);
  assert.equal(now.tlsCertificate, before.tlsCertificate);
  assert.deepEqual(now.caCertificateDer, before.caCertificateDer, "tokens carry the one in force");
  await assert.rejects(beginRotation(folder, registry), /a change is running/);
  assert.deepEqual(ground.events(2), ["ca_rotated"]);
});

Deno.test("finishRotation() waits for every host, administrator and unused token", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  await assert.rejects(finishRotation(folder, registry, { evenWithout: true }), /none is running/);
  const web = ground.join("web1"), carol = ground.join("carol", "administrator");
  const secretHash = ground.invite("web2");
  await beginRotation(folder, registry);
  const generation = registry.pinsGeneration();
  const finish = (): Promise<boolean> => finishRotation(folder, registry, { evenWithout: false });
  assert.deepEqual(waitingFor(registry), {
    members: ["host web1", "administrator carol"],
    tokens: ["host web2"],
  });
  assert.equal(await finish(), false);
  registry.notePinned("host", web, generation);
  registry.notePinned("administrator", carol, generation);
  assert.equal(await finish(), false);
  assert.equal(
    listingLines(await listing(folder.path, { clock: ground.clock })).at(-1),
    "the certificate authority is being changed: not yet stored by the unused token for web2",
  );
  const key = systemRandomBytes(32);
  registry.bindToken({ secretHash, role: "host", key, address: "192.0.2.1:1" });
  assert.deepEqual(waitingFor(registry), { members: ["host web2"], tokens: [] });
  const rotating = await listing(folder.path, { clock: ground.clock });
  assert.deepEqual(
    rotating.hosts.map(({ name, hasNewestAuthorities }) => [name, hasNewestAuthorities]),
    [["web1", true], ["web2", false]],
  );
  assert.equal(
    listingLines(rotating).at(-1),
    "the certificate authority is being changed: not yet stored by web2",
  );
  assert.equal(await finish(), false);
  registry.notePinned("host", key, generation);
  const before = await loadServerIdentity(folder, registry);
  assert.equal(await finish(), true);
  for (
    const path of [folder.nextCaKey, folder.nextCaCertificate, folder.nextTlsKey, folder.nextTlsCertificate]
  ) {
    assert.equal(await isThere(path), false);
  }
  const after = await loadServerIdentity(folder, registry);
  assert.equal(after.rotating, false);
  assert.deepEqual(after.pins, {
    caCertificates: [before.pins.caCertificates[1]],
    generation: generation + 1,
  });
  assert.notEqual(after.tlsCertificate, before.tlsCertificate);
  assert.equal(
    await fits({ certificate: after.tlsCertificate, key: after.tlsKey }, before.pins.caCertificates[1] ?? ""),
    true,
  );
  await beginRotation(folder, registry);
  assert.deepEqual(waitingFor(registry).members, ["host web1", "host web2", "administrator carol"]);
  for (const name of ["web1", "web2"]) registry.revoke("host", name);
  assert.deepEqual(waitingFor(registry).members, ["administrator carol"], "who is shut out holds nobody up");
  assert.equal(registry.audit.verify().isSound, true);
});

Deno.test("finishRotation() goes on without some if it is told to, takes old tokens back, and says so in the audit", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  ground.join("web1");
  const secretHash = ground.invite("web2");
  await beginRotation(folder, registry);
  assert.equal(await finishRotation(folder, registry, { evenWithout: true }), true);
  const bound = registry.bindToken({ secretHash, role: "host", key: systemRandomBytes(32), address: "a" });
  assert.ok("refused" in bound);
  const row = ground.rows().filter(({ event }) => event === "ca_rotated").at(-1);
  assert.ok(typeof row?.body === "object");
  assert.deepEqual([row.body["step"], row.body["without"], row.body["tokens"]], [
    "finished",
    ["host web1"],
    ["host web2"],
  ]);
});

/** The files that a change leaves under their first names if it is killed behind its row: the last ones of these. */
const RENAMES = [
  ["nextTlsKey", "tlsKey"],
  ["nextTlsCertificate", "tlsCertificate"],
  ["nextCaKey", "caKey"],
  ["nextCaCertificate", "caCertificate"],
] as const;

Deno.test("loadServerIdentity() finishes a change that was killed behind its row, wherever that was", async () => {
  for (let done = 0; done < RENAMES.length; done++) {
    await using ground = await RegistryGround.make();
    const { folder, registry } = ground;
    await beginRotation(folder, registry);
    const old = new Map<string, string>();
    for (const [, name] of RENAMES) old.set(name, await Deno.readTextFile(folder[name]));
    await finishRotation(folder, registry, { evenWithout: false });
    const after = await loadServerIdentity(folder, registry);
    for (const [next, name] of RENAMES.slice(done)) {
      await Deno.rename(folder[name], folder[next]);
      await Deno.writeTextFile(folder[name], old.get(name) ?? "", { mode: 0o600 });
    }
    const { serverKey: _key, ...settled } = await loadServerIdentity(folder, registry);
    const { serverKey: _same, ...expected } = after;
    assert.deepEqual(settled, expected, `after ${done} renames`);
    assert.equal(await isThere(folder.nextCaCertificate), false);
  }
});

Deno.test("beginRotation() goes over what one that was killed before its row has left", async () => {
  await using ground = await RegistryGround.make();
  const { folder, registry } = ground;
  await Deno.copyFile(folder.tlsCertificate, folder.nextCaCertificate);
  await Deno.writeTextFile(folder.nextCaKey, "half", { mode: 0o600 });
  assert.equal((await loadServerIdentity(folder, registry)).rotating, false);
  await beginRotation(folder, registry);
  const { pins } = await loadServerIdentity(folder, registry);
  assert.equal(new Set(pins.caCertificates).size, 2);
  assert.equal(await finishRotation(folder, registry, { evenWithout: false }), true);
});
