import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatHostPort,
  type Lookup,
  parseHostAddress,
  resolveDestinations,
} from "../../../src/client/knock/destination.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { holds } from "../../property.ts";

const ACCEPTED: readonly [text: string, host: string, ip: string | null, port: number][] = [
  ["1.2.3.4", "1.2.3.4", "1.2.3.4", 80],
  ["1.2.3.4:1", "1.2.3.4", "1.2.3.4", 1],
  ["1.2.3.4:65535", "1.2.3.4", "1.2.3.4", 65535],
  ["::1", "::1", "::1", 80],
  ["::", "::", "::", 80],
  ["::1:80", "::1:80", "::1:80", 80],
  ["[::1]:81", "::1", "::1", 81],
  ["[2001:DB8:0::7]:443", "2001:DB8:0::7", "2001:db8::7", 443],
  ["::ffff:1.2.3.4", "::ffff:1.2.3.4", "1.2.3.4", 80],
  ["[::ffff:1.2.3.4]:9", "::ffff:1.2.3.4", "1.2.3.4", 9],
  ["host", "host", null, 80],
  ["host:81", "host", null, 81],
  ["host.example.", "host.example.", null, 80],
  ["Host-1.example:8080", "Host-1.example", null, 8080],
  ["_srv.example", "_srv.example", null, 80],
  ["1.2.3.4.example", "1.2.3.4.example", null, 80],
  ["xn--bcher-kva.example", "xn--bcher-kva.example", null, 80],
];
for (const [text, host, ip, port] of ACCEPTED) {
  Deno.test(`parseHostAddress() reads "${text}"`, () => {
    assert.deepEqual(parseHostAddress(text, 80), { host, ip, port });
  });
}

const REFUSED = [
  "",
  ":",
  ":80",
  "h:",
  "1.2.3.4:",
  "[::1]",
  "[::1]:",
  "[::1]80",
  "[::1]:80:81",
  "[1.2.3.4]:80",
  "[host]:80",
  "[]:80",
  "[::1",
  "::1]:80",
  "h:0",
  "h:65536",
  "h:99999",
  "h:080",
  "h:+80",
  "h:-1",
  "h:8 0",
  "h:80 ",
  " h:80",
  "h:http",
  "1.2.3",
  "127.1",
  "1.2.3.4.5",
  "1.2.3.08",
  "256.1.1.1",
  "0x7f.1",
  "0x7f000001",
  "2130706433",
  "1.2.3.4.",
  "fe80::1%eth0",
  "[fe80::1%2]:80",
  "::1/128",
  "10.0.0.0/8",
  "a..b",
  ".a",
  "a b",
  "user@host",
  "http://host",
  "host/path",
  "bücher.example",
  "h\n",
  "h\0",
  `${"a".repeat(64)}.example`,
  `${"a.".repeat(127)}example`,
];
for (const text of REFUSED) {
  Deno.test(`parseHostAddress() refuses ${JSON.stringify(text.slice(0, 40))} and names the forms`, () => {
    assert.throws(
      () => parseHostAddress(text, 80),
      (error) => error instanceof UsageFailure && error.message.includes("[::1]:80, host, host:80"),
    );
  });
}

Deno.test("parseHostAddress() without a default port refuses an address without a port", () => {
  for (const text of ["host", "1.2.3.4", "::1"]) assert.throws(() => parseHostAddress(text), UsageFailure);
  assert.deepEqual(parseHostAddress("[::1]:22"), { host: "::1", ip: "::1", port: 22 });
});

Deno.test("parseHostAddress() throws nothing but its refusal, and reads back what formatHostPort() writes", () => {
  let read = 0;
  const word = fc.oneof(
    fc.string(),
    fc.ipV4(),
    fc.ipV6(),
    fc.domain(),
    fc.tuple(fc.oneof(fc.ipV4(), fc.domain(), fc.ipV6().map((ip) => `[${ip}]`)), fc.nat(70_000))
      .map(([host, port]) => `${host}:${port}`),
  );
  holds(
    fc.property(word, (text) => {
      let address;
      try {
        address = parseHostAddress(text, 80);
      } catch (error) {
        assert(error instanceof UsageFailure);
        return;
      }
      read++;
      assert.deepEqual(parseHostAddress(formatHostPort(address.host, address.port), 80), address);
    }),
    { numRuns: 2000 },
  );
  assert(read > 500, `only ${read} were addresses`);
});

function answers(...addresses: string[]): Lookup {
  return () => Promise.resolve(addresses.map((address) => ({ address })));
}

const BOTH = answers("2001:db8::2", "192.0.2.1", "2001:db8::1", "192.0.2.2");
const RESOLUTIONS: readonly [what: string, family: 4 | 6 | null, lookup: Lookup, ips: string[]][] = [
  ["the first of each family, IPv4 first", null, BOTH, ["192.0.2.1", "2001:db8::2"]],
  ["only IPv4 if asked for", 4, BOTH, ["192.0.2.1"]],
  ["only IPv6 if asked for", 6, BOTH, ["2001:db8::2"]],
  ["the only family there is", null, answers("192.0.2.9"), ["192.0.2.9"]],
  ["no address with a zone", null, answers("fe80::1%eth0", "2001:db8::3"), ["2001:db8::3"]],
  ["a mapped address as IPv4", null, answers("::ffff:192.0.2.4"), ["192.0.2.4"]],
];
for (const [what, family, lookup, ips] of RESOLUTIONS) {
  Deno.test(`resolveDestinations() gives ${what}`, async () => {
    const found = await resolveDestinations(parseHostAddress("host:81", 80), family, lookup);
    assert.deepEqual(found, ips.map((ip) => ({ ip, port: 81 })));
  });
}

Deno.test("resolveDestinations() does not look up an IP address", async () => {
  function lookup(): never {
    throw new Error("looked up");
  }
  assert.deepEqual(await resolveDestinations(parseHostAddress("[::1]:5", 80), null, lookup), [
    { ip: "::1", port: 5 },
  ]);
  await assert.rejects(resolveDestinations(parseHostAddress("::1", 80), 4, lookup), UsageFailure);
});

Deno.test("resolveDestinations() names what was found if the family asked for is missing", async () => {
  const address = parseHostAddress("host", 80);
  await assert.rejects(
    resolveDestinations(address, 6, answers("192.0.2.1", "192.0.2.2")),
    (error) => error instanceof Failure && error.message.includes("over IPv6: found 192.0.2.1, 192.0.2.2"),
  );
  await assert.rejects(
    resolveDestinations(address, null, answers()),
    (error) => error instanceof Failure && error.message.includes("found no address"),
  );
});
