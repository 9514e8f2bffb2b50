/**
 * A transfer between three hosts with a firewall in between, each host a network namespace:
 *
 *   sender 198.18.3.2 ---- 198.18.3.1 relay 198.18.4.1 ---- 198.18.4.2, later 198.18.4.3 receiver
 *
 * The firewall swallows everything between relay and receiver: no reset, no answer, as a cable that was pulled or a
 * laptop that was carried elsewhere. Both sides have to notice it by themselves.
 */
import assert from "node:assert/strict";
import { event, startRelay, startTransfer } from "../../scripts/transfer_lab.ts";
import { namespaceObstacle, unless } from "./machine.ts";
import { Host, plugIn } from "./namespaces.ts";
import { TempFolder } from "./temp_folder.ts";
import { assertDone, codeOf, namesIn, sha256Of, writeRandom } from "./transfer_world.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = 64 * MIB;
/** So slow that the middle lasts. */
const BYTES_PER_SECOND = 16 * MIB;

const obstacle = await namespaceObstacle();

Deno.test({
  ...unless(obstacle, "a transfer goes on after a black hole in which the receiver's address has changed"),
  timeout: 180_000,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("transfer-net");
    await using relay = await Host.make("relay");
    await using near = await Host.make("sender");
    await using far = await Host.make("receiver");
    await plugIn(
      { host: relay, device: "lan", addresses: ["198.18.3.1/24"] },
      { host: near, device: "wire", addresses: ["198.18.3.2/24"] },
    );
    await plugIn(
      { host: relay, device: "wan", addresses: ["198.18.4.1/24"] },
      { host: far, device: "wire", addresses: ["198.18.4.2/24"] },
    );
    const { process, port } = await startRelay(["--rate", String(BYTES_PER_SECOND)], {
      address: "0.0.0.0:0",
      launcher: relay.launcher,
    });
    await using _relay = process;
    await writeRandom(`${folder.path}/image.bin`, FILE_BYTES);
    await Deno.mkdir(`${folder.path}/in`);

    await using sender = await startTransfer(
      ["share", `${folder.path}/image.bin`, "--relay", `198.18.3.1:${port}`],
      { stateHome: `${folder.path}/sender`, launcher: near.launcher },
    );
    const code = await codeOf(sender);
    await using receiver = await startTransfer(
      ["receive", code, "--yes", "-o", `${folder.path}/in`, "--relay", `198.18.4.1:${port}`],
      { stateHome: `${folder.path}/receiver`, launcher: far.launcher },
    );
    await event(receiver, "progress", {
      matches: ({ receivedBytes }) => Number(receivedBytes) > FILE_BYTES / 4,
    });

    await relay.run(
      "nft",
      "add table ip hole; add chain ip hole swallow { type filter hook prerouting priority 0; }",
    );
    await relay.run("nft", "add rule ip hole swallow iifname wan drop");
    await far.run("ip", "address", "add", "198.18.4.3/24", "dev", "wire");
    await far.run("ip", "address", "del", "198.18.4.2/24", "dev", "wire");
    await far.run("ip", "address", "add", "198.18.4.3/24", "dev", "wire").catch(() => {});
    await Promise.all([event(sender, "interrupted"), event(receiver, "interrupted")]);
    await relay.run("nft", "delete table ip hole");

    await event(receiver, "paired", { matches: ({ resumed }) => resumed === true });
    await assertDone(sender, receiver);
    assert.equal(await sha256Of(`${folder.path}/in/image.bin`), await sha256Of(`${folder.path}/image.bin`));
    assert.deepEqual(await namesIn(`${folder.path}/in`), ["image.bin"]);
  },
});
