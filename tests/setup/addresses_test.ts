import assert from "node:assert/strict";
import { parseIps, publicAddresses } from "../../src/setup/addresses.ts";
import { Failure, UsageFailure } from "../../src/system/failure.ts";

function device(name: string, address: string): Deno.NetworkInterfaceInfo {
  const family = address.includes(":") ? "IPv6" : "IPv4";
  return { name, address, family } as Deno.NetworkInterfaceInfo;
}

Deno.test("publicAddresses() takes every public address once, and no other", () => {
  const found = publicAddresses([
    device("lo", "127.0.0.1"),
    device("lo", "::1"),
    device("eth0", "9.9.9.9"),
    device("eth0", "2620:fe::9"),
    device("eth0", "fe80::1"),
    device("eth1", "10.0.0.5"),
    device("eth2", "9.9.9.9"),
  ]);
  assert.deepEqual(found.map(({ ip, privateKind }) => [ip, privateKind]), [["9.9.9.9", null], [
    "2620:fe::9",
    null,
  ]]);
});

Deno.test("publicAddresses() explains NAT where all addresses are private, and shows them", () => {
  assert.throws(
    () => publicAddresses([device("lo", "127.0.0.1"), device("eth0", "10.0.0.5"), device("eth0", "fd00::5")]),
    (error: unknown) =>
      error instanceof Failure &&
      /10\.0\.0\.5 on eth0 \(private\), fd00::5 on eth0 \(unique-local\)/.test(error.message) &&
      /behind NAT/.test(error.hint ?? "") && /--ips/.test(error.hint ?? ""),
  );
  assert.throws(() => publicAddresses([]), /found no address/);
});

Deno.test("parseIps() takes public and private addresses, and says of each which it is", () => {
  assert.deepEqual(
    parseIps("9.9.9.9, 10.0.0.5,9.9.9.9,2620:FE::9").map(({ ip, privateKind }) => [ip, privateKind]),
    [["9.9.9.9", null], ["10.0.0.5", "private"], ["2620:fe::9", null]],
  );
});

for (
  const text of [
    "",
    "9.9.9.9,",
    "host.example",
    "9.9.9.9/32",
    "127.0.0.1",
    "::1",
    "0.0.0.0",
    "fe80::1",
    "9.9.9.9;8.8.8.8",
  ]
) {
  Deno.test(`parseIps() refuses "${text}"`, () => {
    assert.throws(() => parseIps(text), UsageFailure);
  });
}

Deno.test("parseIps() says of an address that no client could use what it is", () => {
  assert.throws(
    () => parseIps("127.0.0.1"),
    /found "127\.0\.0\.1", which is loopback, accepted: addresses that clients can/,
  );
  assert.throws(() => parseIps("9.9.9.9:34020"), /accepted: IPv4 and IPv6 addresses with commas/);
});
