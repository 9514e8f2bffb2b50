import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { KnownNetworks } from "../../../src/protocol/knock/known_networks.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const home = parseIp("192.0.2.7");

Deno.test("a network is known for 24 hours from its last genuine packet", () => {
  const networks = new KnownNetworks();
  assert.equal(networks.has(home, 0), false);
  networks.remember(home, 0);
  assert.equal(networks.has(home, DAY_MS - 1), true);
  assert.equal(networks.has(home, DAY_MS), false);
  networks.remember(home, DAY_MS - 1);
  assert.equal(networks.has(home, 2 * DAY_MS - 2), true);
  assert.equal(networks.has(home, 2 * DAY_MS - 1), false);
});

Deno.test("a network is one IPv4 address or 64 bits of IPv6", () => {
  const networks = new KnownNetworks();
  networks.remember(home, 0);
  networks.remember(parseIp("2001:db8:1:2:3:4:5:6"), 0);
  assert.equal(networks.has(parseIp("192.0.2.8"), 1), false);
  assert.equal(networks.has(parseIp("2001:db8:1:2:ffff::1"), 1), true);
  assert.equal(networks.has(parseIp("2001:db8:1:3::1"), 1), false);
});

Deno.test("256 networks are remembered, and the longest silent one leaves first", () => {
  const networks = new KnownNetworks();
  networks.remember(home, 0);
  for (let i = 0; i < 255; i++) {
    networks.remember(parseIp(`198.51.100.${i}`), 1 + i);
  }
  networks.remember(home, 300);
  networks.remember(parseIp("203.0.113.1"), 301);
  assert.equal(networks.size, 256);
  assert.equal(networks.has(home, 302), true);
  assert.equal(networks.has(parseIp("198.51.100.0"), 302), false);
  assert.equal(networks.has(parseIp("198.51.100.1"), 302), true);
});

Deno.test("expired networks are swept when another one comes", () => {
  const networks = new KnownNetworks();
  for (let i = 0; i < 100; i++) {
    networks.remember(parseIp(`198.51.100.${i}`), i);
  }
  networks.remember(home, DAY_MS + 49);
  assert.equal(networks.size, 51);
});
