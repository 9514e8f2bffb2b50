import assert from "node:assert/strict";
import { Caller, EARLY_BYTES } from "../../../src/server/relay/caller.ts";
import { settled } from "../../protocol/rpc/fake_timers.ts";
import { FakeConnection } from "./fake_connection.ts";

Deno.test("Caller knows its network: an IPv4 address, mapped or not, or an IPv6 /64", () => {
  const networkOf = (hostname: string): [string, string] => {
    const { address, network } = new Caller(new FakeConnection(hostname), 33);
    return [address, network];
  };
  assert.deepEqual(networkOf("192.0.2.7"), ["192.0.2.7", "192.0.2.7/32"]);
  assert.deepEqual(networkOf("::ffff:192.0.2.7"), ["192.0.2.7", "192.0.2.7/32"]);
  assert.deepEqual(networkOf("2001:db8:1:2:3:4:5:6"), ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"]);
  assert.deepEqual(networkOf("2001:db8:1:2:ffff::9")[1], "2001:db8:1:2::/64");
});

Deno.test("readIdentifier() takes exactly its length, and what came behind it is early", async () => {
  const connection = new FakeConnection();
  const caller = new Caller(connection, 4);
  const reading = caller.readIdentifier();
  connection.say(3, 0xab);
  await settled();
  connection.say(6, 0xcd);
  assert.deepEqual(connection.options, []);
  assert.equal(await reading, "abababcd");
  assert.deepEqual(connection.options, ["no delay", "keep alive"]);
  const { said, reading: pending, rest } = caller.takeOver();
  assert.deepEqual(said, new Uint8Array(5).fill(0xcd));
  assert.equal(pending, null);
  assert.equal(rest.length, EARLY_BYTES - 5);
});

Deno.test("readIdentifier() gives the identifier of a connection that was reset meanwhile, as the next read will tell", async () => {
  const connection = new FakeConnection();
  const caller = new Caller(connection, 4);
  const reading = caller.readIdentifier();
  connection.say(4, 0xab);
  connection.fail();
  assert.equal(await reading, "abababab");
  assert.equal(await caller.hasHungUp(), true);
});

Deno.test("readIdentifier() gives nothing for a connection that ends before, in whatever way", async () => {
  for (const end of ["end", "fail", "close"] as const) {
    const connection = new FakeConnection();
    const caller = new Caller(connection, 4);
    const reading = caller.readIdentifier();
    connection.say(3);
    await settled();
    if (end === "close") caller.close();
    else connection[end]();
    assert.equal(await reading, null, end);
  }
});

Deno.test("hasHungUp() sees the end, keeps what comes before it, and stops reading when it has kept enough", async () => {
  for (const end of ["end", "fail"] as const) {
    const connection = new FakeConnection();
    const caller = await arrived(connection);
    const hangingUp = caller.hasHungUp();
    connection.say(10);
    await settled();
    connection[end]();
    assert.equal(await hangingUp, true);
  }
  const connection = new FakeConnection();
  const caller = await arrived(connection);
  const hangingUp = caller.hasHungUp();
  assert.equal(connection.say(EARLY_BYTES + 1), EARLY_BYTES);
  assert.equal(await hangingUp, false);
  assert(!connection.isRead);
  assert.equal(caller.takeOver().said.length, EARLY_BYTES);
});

Deno.test("takeOver() hands over the read under way, whose bytes are then nobody else's", async () => {
  const connection = new FakeConnection();
  const caller = await arrived(connection);
  const hangingUp = caller.hasHungUp();
  connection.say(2, 7);
  await settled();
  const { said, reading, rest } = caller.takeOver();
  connection.say(3, 8);
  assert.equal(await reading, 3);
  assert.equal(await hangingUp, false);
  assert.deepEqual([...said, ...rest.subarray(0, 3)], [7, 7, 8, 8, 8]);
});

Deno.test("takeOver() loses no byte of a read that has just succeeded", async () => {
  const connection = new FakeConnection();
  const caller = await arrived(connection);
  void caller.hasHungUp();
  connection.say(3, 8);
  // The bytes are in the buffer, and nobody has been told yet.
  const { said, reading, rest } = caller.takeOver();
  assert.equal(said.length, 0);
  assert.equal(await reading, 3);
  assert.deepEqual([...rest.subarray(0, 3)], [8, 8, 8]);
});

async function arrived(connection: FakeConnection): Promise<Caller> {
  const caller = new Caller(connection, 4);
  const reading = caller.readIdentifier();
  connection.say(4);
  await reading;
  return caller;
}
