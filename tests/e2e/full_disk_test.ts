/** A disk without room for the replay floors: no command runs, and what was refused then never runs later. */
import assert from "node:assert/strict";
import { formatKey } from "../../src/protocol/knock/key.ts";
import { buildRurocoPacket } from "../reference/ruroco.ts";
import { nextCounter } from "./counters.ts";
import { mountObstacle, unless } from "./machine.ts";
import { NO_RATES, ServerLab } from "./server_lab.ts";
import { refusalsByReason, statusAfter, statusWhere } from "./status_file.ts";
import { TinyDisk } from "./tiny_disk.ts";
import { UdpPeer } from "./udp_peer.ts";

const PEER = "127.0.0.1";
const DISK_BYTES = 64 * 1024;

Deno.test({
  ...unless(
    await mountObstacle(),
    "server without room for its floors runs nothing, recovers, and never runs what it refused",
  ),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount(DISK_BYTES);
    await using lab = await ServerLab.start({ config: NO_RATES, blocklistDir: disk.path });
    await using peer = new UdpPeer(lab.port);
    const { statusPath } = lab.files;
    const key = formatKey(lab.files.key);
    function packet(): Uint8Array {
      return buildRurocoPacket({ key, command: "default", counter: nextCounter(), destinationIp: PEER });
    }

    const before = packet();
    await peer.send(before);
    await statusAfter(statusPath, peer.sent);
    assert.equal(lab.recorder.messages.length, 1);

    await disk.fill();
    const failed = Array.from({ length: 20 }, packet);
    await peer.sendAll(failed);
    const full = await statusAfter(statusPath, peer.sent);
    assert.deepEqual(refusalsByReason(full), { floor_not_durable: failed.length });
    assert.equal(full.floors_durable, false);
    assert(full.floor_write_failures > 0);
    // A replay while the disk is full is known from memory.
    await peer.sendAll(failed);
    const replayed = await statusAfter(statusPath, peer.sent);
    assert.deepEqual(refusalsByReason(replayed), {
      floor_not_durable: failed.length,
      replayed: failed.length,
    });
    assert.equal(lab.recorder.messages.length, 1);

    await disk.free();
    const after = packet();
    await peer.send(after);
    await statusAfter(statusPath, peer.sent);
    assert.equal(lab.recorder.messages.length, 2);
    await statusWhere(statusPath, "durable floors", (status) => status.floors_durable);
    await peer.sendAll([...failed, before, after]);
    const { refused } = await statusAfter(statusPath, peer.sent);
    assert.equal(refused["replayed"], 2 * failed.length + 2);
    assert.equal(lab.recorder.messages.length, 2);

    // What a killed server remembers is what was on disk.
    await lab.restart();
    await using again = new UdpPeer(lab.port);
    await again.sendAll([...failed, before, after]);
    const restarted = await statusAfter(statusPath, again.sent);
    assert.deepEqual(refusalsByReason(restarted), { replayed: failed.length + 2 });
    await again.send(packet());
    await statusAfter(statusPath, again.sent);
    assert.equal(lab.recorder.messages.length, 3);
    assert.deepEqual([...peer.answers, ...again.answers], []);
  },
});
