import assert from "node:assert/strict";
import { generateKey } from "../../../src/protocol/knock/key.ts";
import type { Key } from "../../../src/protocol/knock/key.ts";
import { encodeFloors } from "../../../src/protocol/knock/floors_codec.ts";
import { seedFirstFloors } from "../../../src/server/knock/first_floors.ts";
import { FloorsFile } from "../../../src/server/knock/floors_file.ts";
import { checkServer } from "../../../src/server/knock/startup.ts";
import { KnockServer } from "../../../src/server/knock/server.ts";
import { Failure } from "../../../src/system/failure.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeDisk } from "./fake_disk.ts";
import { FakeClock } from "./knocks.ts";
import { ServerFolder } from "./server_folder.ts";

const PATH = "/state/blocklist.msgpck";
const FLOOR = 1_790_000_000_000_000_000n;

function clockAt(wallMs: number): FakeClock {
  const clock = new FakeClock();
  clock.shiftWall(wallMs - clock.wallMs());
  return clock;
}

function named(stem: string, key: Key = generateKey()): { stem: string; key: Key } {
  return { stem, key };
}

async function fileWith(floors: ReadonlyMap<bigint, bigint>): Promise<[FloorsFile, FakeDisk]> {
  const disk = new FakeDisk({ [PATH]: encodeFloors(floors) });
  return [await FloorsFile.load(PATH, disk), disk];
}

Deno.test("seedFirstFloors() refuses a key its first floor by a clock from before this program, and writes nothing", async () => {
  for (const wallMs of [0, 60_000, Date.UTC(2025, 11, 31, 23, 59, 59)]) {
    const [file, disk] = await fileWith(new Map());
    await assert.rejects(seedFirstFloors(file, [named("user")], clockAt(wallMs)), (error) => {
      assert.ok(error instanceof Failure);
      assert.equal(
        error.message,
        "cannot give key user its first floor: the clock says " +
          `${new Date(wallMs).toISOString()}, accepted is a time after 2026-01-01`,
      );
      assert.match(error.hint ?? "", /set the clock, or wait until it is synchronised/);
      return true;
    });
    assert.deepEqual([file.floors.snapshot(), disk.steps], [new Map(), []]);
  }
});

Deno.test("seedFirstFloors() gives no key a floor when one must be refused", async () => {
  const old = named("old");
  const [file] = await fileWith(new Map([[old.key.id, FLOOR]]));
  await assert.rejects(
    seedFirstFloors(file, [old, named("new"), named("newer")], clockAt(0)),
    /cannot give keys new, newer their first floor/,
  );
  assert.deepEqual(file.floors.snapshot(), new Map([[old.key.id, FLOOR]]));
});

Deno.test("seedFirstFloors() leaves keys that have a floor alone, whatever the clock says", async () => {
  const old = named("old");
  const [file] = await fileWith(new Map([[old.key.id, FLOOR]]));
  await seedFirstFloors(file, [old], clockAt(0));
  assert.deepEqual(file.floors.snapshot(), new Map([[old.key.id, FLOOR]]));
  assert.equal(file.isDurable, true);
});

Deno.test("seedFirstFloors() gives a new key a durable floor of now", async () => {
  const [file, disk] = await fileWith(new Map());
  const clock = clockAt(Date.UTC(2026, 0, 1));
  const user = named("user");
  await seedFirstFloors(file, [user], clock);
  const onPlatter = await FloorsFile.load(PATH, disk.afterPowerCut("least"));
  assert.equal(onPlatter.floors.get(user.key.id), clock.wallNs());
});

Deno.test("a server, and its check, refuse to start with a new key by such a clock, and start with an old one", async () => {
  await using folder = await ServerFolder.make();
  const key = await folder.addKey("user");
  const clock = clockAt(0);
  const log = new Log({ role: "server", format: "text", write: () => {}, clock });
  const parts = { log, clock, random: Math.random };
  const refused = /cannot give key user its first floor: the clock says 1970-01-01T00:00:00.000Z/;
  await assert.rejects(checkServer(await folder.config(), parts), refused);
  await assert.rejects(KnockServer.start(await folder.config(), parts), refused);
  await Deno.writeFile(`${folder.path}/blocklist.msgpck`, encodeFloors(new Map([[key.id, FLOOR]])));
  await checkServer(await folder.config(), parts);
  const server = await KnockServer.start(await folder.config(), parts);
  await server.stop();
});
