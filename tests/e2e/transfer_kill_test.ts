/** kill -9 of either side, at random moments, again and again: what arrives is what was sent. */
import assert from "node:assert/strict";
import { event } from "../../scripts/transfer_lab.ts";
import type { LoggedProcess } from "../../scripts/process.ts";
import { assertDone, codeOf, namesIn, sha256Of, TransferWorld, writeRandom } from "./transfer_world.ts";

const MIB = 1024 * 1024;
const FILE_BYTES = 200 * MIB;
const TRANSFERS = 10;
const KILLS_EACH = 5;
/** So slow that there are moments to choose from, and that what a second carries is known. */
const BYTES_PER_SECOND = 100 * MIB;
/** What was not yet in a list on disk travels again: a second's worth, what was on its way, and what gets lost with it. */
const AGAIN_PER_KILL_BYTES = BYTES_PER_SECOND * 1.5;

const seed = Number(Deno.env.get("POSTERN_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** The same moments again with the same seed (mulberry32). */
function randomBy(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A moment: after this much was carried, or this long after both have started, whatever comes first. */
async function momentComes(world: TransferWorld, random: () => number): Promise<void> {
  const after = new AbortController();
  const timer = setTimeout(() => after.abort(), 50 + random() * 1500);
  // All of them together come before the end: what has ended cannot be killed.
  const carried = world.cable.bytes.down + random() * FILE_BYTES / (KILLS_EACH + 2);
  await Promise.race([
    world.cable.carried(carried),
    new Promise<void>((resolve) => after.signal.addEventListener("abort", () => resolve(), { once: true })),
  ]);
  clearTimeout(timer);
}

async function killAndGoOn(random: () => number): Promise<number> {
  await using world = await TransferWorld.make(["--rate", String(BYTES_PER_SECOND)]);
  await writeRandom(`${world.out}/image.bin`, FILE_BYTES);
  const share = (): Promise<LoggedProcess> => world.share([`${world.out}/image.bin`]);
  let sender = await share();
  const code = await codeOf(sender);
  const receive = (): Promise<LoggedProcess> => world.receive(code, { cabled: true });
  let receiver = await receive();
  // Before they have met, a killed sender has nothing but its code to go on with, and a killed receiver nothing at all.
  await event(receiver, "paired");
  let kills = 0;
  for (; kills < KILLS_EACH; kills++) {
    await momentComes(world, random);
    if (random() < 0.5) {
      await sender.stop("SIGKILL");
      sender = await share();
    } else {
      await receiver.stop("SIGKILL");
      receiver = await receive();
    }
  }
  await assertDone(sender, receiver);
  assert.equal(await sha256Of(`${world.in}/image.bin`), await sha256Of(`${world.out}/image.bin`));
  assert.deepEqual(await namesIn(world.in), ["image.bin"]);
  const again = world.cable.bytes.down - FILE_BYTES;
  assert(again < kills * AGAIN_PER_KILL_BYTES, `${again} bytes were sent again after ${kills} kills`);
  return kills;
}

Deno.test({
  name: `share and receive end identical after kill -9 of either side at 50 random moments (seed ${seed})`,
  timeout: 300_000,
  async fn(): Promise<void> {
    const random = randomBy(seed);
    let kills = 0;
    for (let transfer = 0; transfer < TRANSFERS; transfer++) kills += await killAndGoOn(random);
    assert.equal(kills, TRANSFERS * KILLS_EACH);
  },
});
