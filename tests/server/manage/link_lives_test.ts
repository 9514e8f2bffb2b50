import assert from "node:assert/strict";

import { controlPeer, encodeControlOpen } from "../../../src/protocol/manage/control_flow.ts";
import { encodeFrame, FRAME_TYPES } from "../../../src/protocol/manage/frame.ts";
import { diallerProofText, encodeHello, linkTranscript } from "../../../src/protocol/manage/link_hello.ts";
import type { DialledLink } from "../../../src/protocol/manage/link_handshake.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { MAX_LINKS_PER_ADMIN } from "../../../src/server/manage/config.ts";
import { until } from "../../e2e/until.ts";
import { RawDialler } from "./raw_dialler.ts";
import { ServerGround } from "./server_ground.ts";

Deno.test("ManageServer ends the link of a host that was revoked between its proof and its link", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("host", "web1");
  const first = await ground.dial({ key });
  const asked = Promise.withResolvers<void>();
  controlPeer(first.control, {
    role: "dialler",
    side: "host",
    timers: systemTimers,
    handlers: {
      // Leaves the newcomer waiting: its key is known by now.
      ping: () => {
        asked.resolve();
        return new Promise<null>(() => {});
      },
      challenge: () => systemRandomBytes(16),
      end: () => null,
      pin: () => null,
    },
  });
  await until("it is there", () => ground.server.counts.hosts === 1);
  const newcomer = ground.dial({ key });
  newcomer.catch(() => {});
  await asked.promise;
  ground.registry.revoke("host", "web1");
  // The one that was there is shut out, so its place is free.
  assert.equal((await first.link.closed).code, "revoked");
  const refusal = await newcomer.then(({ link }) => link.closed, (error: unknown) => error);
  assert.ok(refusal instanceof ResetError, String(refusal));
  assert.equal(refusal.code, "revoked");
});

Deno.test("ManageServer ends the link of an administrator who was revoked while he held his control flow back", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("administrator", "alice");
  const { connection, certificate } = await ground.connect();
  const alice = new RawDialler(connection);
  const hello = encodeHello({
    kind: "link",
    role: "administrator",
    nonce: systemRandomBytes(32),
    key: key.publicKey,
  });
  await alice.send(encodeFrame(FRAME_TYPES.hello, 0, hello));
  const { data } = await alice.frame();
  await alice.frame();
  const proof = await key.sign(diallerProofText(linkTranscript(hello, data, certificate), null));
  await alice.send(encodeFrame(FRAME_TYPES.prove, 0, proof));
  // A stranger in the same room, behind her: when the server has refused him, it has looked her key up.
  const stranger = ground.dial({ key: await ground.member("host", "web9"), role: "administrator" });
  await assert.rejects(stranger, { code: "authentication" });
  ground.registry.revoke("administrator", "alice");
  await ground.server.reload();
  const open = new Uint8Array([1, 0, 1, 0, 0, ...encodeControlOpen("administrator")]);
  await alice.send(encodeFrame(FRAME_TYPES.open, 1, open));
  assert.equal(await alice.refusal(), "revoked");
  alice.close();
});

Deno.test("ManageServer gives an administrator no more links than that, though many are made at once", async () => {
  await using ground = await ServerGround.lay();
  const key = await ground.member("administrator", "alice");
  const dial = (): Promise<DialledLink> => ground.dial({ key, role: "administrator" });
  // From now on its network is known, and has more places.
  await dial();
  const more = await Promise.allSettled(Array.from({ length: MAX_LINKS_PER_ADMIN + 20 }, dial));
  const links = more.flatMap((each) => each.status === "fulfilled" ? [each.value.link] : []);
  assert.ok(ground.server.counts.admins <= MAX_LINKS_PER_ADMIN, `found ${ground.server.counts.admins}`);
  await until(
    "the others are closed",
    () => links.filter(({ isOpen }) => isOpen).length < MAX_LINKS_PER_ADMIN,
  );
  for (const link of links) if (!link.isOpen) assert.equal((await link.closed).code, "exhausted");
  assert.equal(ground.server.counts.admins, MAX_LINKS_PER_ADMIN);
});
