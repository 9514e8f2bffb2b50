/** A disk without room for the audit: nobody gets a session, nobody loses his link, and room is all it takes. */
import assert from "node:assert/strict";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import { mountObstacle, succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { ScriptedAdmin } from "./scripted_admin.ts";
import { ScriptedHost } from "./scripted_host.ts";
import { ServerGround } from "./server_ground.ts";

/** Fills what is left of a small file system. */
async function fill(folder: string): Promise<void> {
  using file = await Deno.open(`${folder}/filler`, { create: true, write: true });
  await assert.rejects(async () => {
    for (let size = 64 * 1024; size >= 1;) {
      try {
        await file.write(new Uint8Array(size));
      } catch (error) {
        if (size === 1) throw error;
        size = size >> 4;
      }
    }
  }, /os error 28/);
}

Deno.test({
  ...unless(
    await mountObstacle(),
    "ManageServer without room for its audit opens no session, keeps all links, and recovers by itself",
  ),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("manage-disk");
    const options = ["-t", "tmpfs", "-o", "size=2m,mode=0700", "none", folder.path];
    assert.ok(await succeeds("mount", options), "mount failed");
    await using undo = new AsyncDisposableStack();
    undo.defer(async () => assert.ok(await succeeds("umount", [folder.path]), "umount failed"));
    const ground = undo.use(await ServerGround.lay({ parent: folder.path }));
    const hostKey = await ground.member("host", "web1");
    const otherKey = await ground.member("host", "web2");
    const host = await ScriptedHost.start(ground, hostKey);
    const admin = await ScriptedAdmin.start(ground, await ground.member("administrator", "alice"));
    const running = await admin.open("web1");

    await fill(folder.path);
    const end = { ending: "done", exitCode: 0, bytesIn: 0, bytesOut: 0, durationMs: 1 } as const;
    // The write-ahead log may have a little room left inside of it.
    let refusal: unknown = null;
    for (let i = 0; i < 500 && refusal === null; i++) {
      await admin.open("web1", { action: "exec" }).catch((error: unknown) => refusal = error);
    }
    assert.ok(refusal instanceof ResetError);
    assert.equal(refusal.code, "not_audited");
    assert.match(refusal.message, /audit/);
    assert.ok(ground.lines.some((line) => line.includes("session not opened") && /full|space/.test(line)));
    const ending = host.peer.client.ended({ session: running.session, ...end });
    await assert.rejects(
      ending,
      (error) => error instanceof ApplicationError && error.reason === "not_audited",
    );
    const taken = host.taken.length;
    await assert.rejects(admin.open("web1"));
    assert.equal(host.taken.length, taken);
    // Links stay, and new ones are made.
    assert.equal(host.dialled.link.isOpen && admin.dialled.link.isOpen, true);
    const other = await ScriptedHost.start(ground, otherKey);
    assert.equal(other.dialled.name, "web2");
    assert.deepEqual((await admin.peer.client.hosts(null)).map(({ online }) => online), [true, true]);

    await Deno.remove(`${folder.path}/filler`);
    await admin.open("web1");
    await host.peer.client.ended({ session: running.session, ...end });
    assert.deepEqual(ground.registry.audit.verify().isSound, true);
  },
});
