import assert from "node:assert/strict";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { type Arrival, arrivalOf, UnprovenLinks } from "../../../src/server/manage/unproven_links.ts";

const LIMITS = { strangers: 4, known: 3, strangersPerNetwork: 2, knownPerNetwork: 2, timeMs: 5_000 };

function from(remoteAddress: string | null): Arrival {
  return arrivalOf({ remoteAddress } as Connection);
}

Deno.test("arrivalOf() names address and network, and shows an IPv4 peer of a [::] socket as IPv4", () => {
  const { ip, address, network } = from("[::ffff:192.0.2.7]:5000");
  assert.deepEqual([ip, address, network], ["192.0.2.7", "192.0.2.7:5000", "192.0.2.7/32"]);
  const six = from("[2001:db8:0:1:a::7]:5000");
  assert.deepEqual([six.ip, six.network], ["2001:db8:0:1:a::7", "2001:db8:0:1::/64"]);
  assert.equal(six.address, "[2001:db8:0:1:a::7]:5000");
  assert.equal(from(null).network, "unknown");
});

Deno.test("UnprovenLinks bounds strangers in total and of one network, and gives places back", () => {
  const room = new UnprovenLinks(LIMITS);
  const [a, b] = [from("192.0.2.1:1"), from("192.0.2.1:2")];
  assert.equal(room.enter(a, 0), null);
  assert.equal(room.enter(b, 0), null);
  assert.equal(room.enter(from("192.0.2.1:3"), 0), "share");
  assert.equal(room.enter(from("192.0.2.2:1"), 0), null);
  assert.equal(room.enter(from("192.0.2.3:1"), 0), null);
  assert.equal(room.enter(from("192.0.2.4:1"), 0), "full");
  room.leave(a);
  room.leave(a);
  assert.equal(room.size, 3);
  assert.equal(room.enter(from("192.0.2.4:1"), 0), null);
});

Deno.test("UnprovenLinks counts the addresses of one IPv6 /64 as one", () => {
  const room = new UnprovenLinks(LIMITS);
  assert.equal(room.enter(from("[2001:db8::1]:1"), 0), null);
  assert.equal(room.enter(from("[2001:db8::2]:1"), 0), null);
  assert.equal(room.enter(from("[2001:db8::3]:1"), 0), "share");
  assert.equal(room.enter(from("[2001:db8:0:1::3]:1"), 0), null);
});

Deno.test("UnprovenLinks keeps places for networks where a key was proven, whatever strangers do", () => {
  const room = new UnprovenLinks(LIMITS);
  const known = from("192.0.2.9:1");
  room.remember(known);
  for (let i = 1; i <= 4; i++) assert.equal(room.enter(from(`192.0.2.${i}:1`), 0), null);
  assert.equal(room.enter(from("192.0.2.5:1"), 0), "full");
  assert.equal(room.enter(known, 0), null);
  assert.equal(room.enter(from("192.0.2.9:2"), 0), null);
  assert.equal(room.enter(from("192.0.2.9:3"), 0), "share");
  assert.equal([...room.members()].length, 6);
});

Deno.test("UnprovenLinks forgets the network that was silent longest when there are too many", () => {
  const room = new UnprovenLinks({ ...LIMITS, strangers: 0 });
  const first = from("10.0.0.1:1");
  room.remember(first);
  for (let i = 0; i < 16_384; i++) {
    room.remember(from(`172.${16 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}:1`));
  }
  assert.equal(room.enter(first, 0), "full");
  assert.equal(room.enter(from("172.16.0.0:1"), 0), null);
});
