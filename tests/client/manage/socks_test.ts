import assert from "node:assert/strict";
import fc from "fast-check";
import {
  readSocksRequest,
  replySocks,
  SocksError,
  type SocksSocket,
} from "../../../src/client/manage/socks.ts";
import type { Target } from "../../../src/protocol/manage/target_pattern.ts";
import { holds } from "../../property.ts";

/** A client that sends these bytes, some at a time, and then nothing more. */
class Client implements SocksSocket {
  readonly #bytes: Uint8Array;
  readonly #most: number;
  #at = 0;
  readonly answers: number[] = [];

  constructor(bytes: Uint8Array, most = Infinity) {
    this.#bytes = bytes;
    this.#most = most;
  }

  get unread(): string {
    return this.#bytes.subarray(this.#at).toHex();
  }

  read(buffer: Uint8Array): Promise<number | null> {
    if (this.#at === this.#bytes.length) return Promise.resolve(null);
    const count = Math.min(buffer.length, this.#most, this.#bytes.length - this.#at);
    buffer.set(this.#bytes.subarray(this.#at, this.#at + count));
    this.#at += count;
    return Promise.resolve(count);
  }

  write(bytes: Uint8Array): Promise<number> {
    this.answers.push(...bytes);
    return Promise.resolve(bytes.length);
  }

  get answered(): string {
    return Uint8Array.from(this.answers).toHex();
  }
}

function client(hex: string, most?: number): Client {
  return new Client(Uint8Array.fromHex(hex.replaceAll(" ", "")), most);
}

const GOOD: readonly { readonly what: string; readonly hex: string; readonly target: Target }[] = [
  {
    what: "an IPv4 address",
    hex: "05 01 00  05 01 00 01 0a000005 0050",
    target: { host: "10.0.0.5", port: 80 },
  },
  {
    what: "a name",
    hex: "05 02 00 02  05 01 00 03 0b 6578616d706c652e6f7267 01bb",
    target: { host: "example.org", port: 443 },
  },
  {
    what: "an IPv6 address",
    hex: "05 01 00  05 01 00 04 20010db8000000000000000000000001 1538",
    target: { host: "2001:db8::1", port: 5432 },
  },
  {
    what: "an address as a name",
    hex: "05 01 00  05 01 00 03 03 3a3a31 0016",
    target: { host: "::1", port: 22 },
  },
  {
    what: "none as the last of its methods",
    hex: "05 03 01 02 00  05 01 00 01 7f000001 ffff",
    target: { host: "127.0.0.1", port: 65535 },
  },
];

for (const { what, hex, target } of GOOD) {
  Deno.test(`readSocksRequest() reads ${what}, however slowly it comes, and nothing behind it`, async () => {
    for (const most of [1, 2, 3, 7, Infinity]) {
      const early = client(`${hex} deadbeef`, most);
      assert.deepEqual(await readSocksRequest(early), target);
      assert.equal(early.unread, "deadbeef");
      // The choice of no authentication, and no reply before there is a connection.
      assert.equal(early.answered, "0500");
    }
  });
}

const BAD: readonly (readonly [string, string, string, RegExp])[] = [
  ["insists on a password", "05 01 02", "05ff", /insists on authentication/],
  ["offers no method at all", "05 00", "05ff", /insists on authentication/],
  ["speaks SOCKS 4", "04 01 0050 0a000005 00", "", /its first byte is 4, expected is 5/],
  ["speaks HTTP", "474554202f20", "", /its first byte is 71/],
  ["changes its version", "05 01 00  04 01 00 01 0a000005 0050", "0500", /its first byte is 4/],
  [
    "wants to be connected to",
    "05 01 00  05 02 00 01 0a000005 0050",
    "0500 05070001000000000000",
    /command 2/,
  ],
  ["wants UDP", "05 01 00  05 03 00 01 0a000005 0050", "0500 05070001000000000000", /command 3/],
  [
    "has an unknown address type",
    "05 01 00  05 01 00 02 0a000005 0050",
    "0500 05080001000000000000",
    /address type 2/,
  ],
  ["has an empty name", "05 01 00  05 01 00 03 00 0050", "0500 05040001000000000000", /no name or address/],
  ["has port 0", "05 01 00  05 01 00 01 0a000005 0000", "0500 05040001000000000000", /no name or address/],
  [
    "has a name with a blank",
    "05 01 00  05 01 00 03 03 612062 0050",
    "0500 05040001000000000000",
    /no name or/,
  ],
  [
    "has a name that ends a line",
    "05 01 00  05 01 00 03 03 610a62 0050",
    "0500 05040001000000000000",
    /no name or/,
  ],
  ["has a pattern for a name", "05 01 00  05 01 00 03 01 2a 0050", "0500 05040001000000000000", /no name or/],
  [
    "has a network for a name",
    "05 01 00  05 01 00 03 0a 31302e302e302e302f38 0050",
    "0500 05040001000000000000",
    /no name/,
  ],
  [
    "has a port in its name",
    "05 01 00  05 01 00 03 05 5d3a31302e 0050",
    "0500 05040001000000000000",
    /no name/,
  ],
  ["leaves at once", "", "", /left before/],
  ["leaves in its methods", "05 05 00", "", /left before/],
  ["leaves in its request", "05 01 00  05 01 00 03 0b 6578", "0500", /left before/],
];

for (const [what, hex, answered, message] of BAD) {
  Deno.test(`readSocksRequest() refuses a client that ${what}`, async () => {
    const hostile = client(hex);
    await assert.rejects(readSocksRequest(hostile), (error: unknown) => {
      assert(error instanceof SocksError);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(hostile.answered, answered.replaceAll(" ", ""));
  });
}

Deno.test("readSocksRequest() gives a target or a SocksError for any bytes, and reads at most what the fields say", async () => {
  const started = fc.uint8Array({ maxLength: 600 }).chain((rest) =>
    fc.constantFrom(
      "",
      "05",
      "0501",
      "050100",
      "05010005",
      "050100050100",
      "05010005010003",
      "0501000501000300",
    ).map((
      begin,
    ) => new Uint8Array([...Uint8Array.fromHex(begin), ...rest]))
  );
  const tries: Promise<void>[] = [];
  holds(fc.property(started, (bytes) => {
    tries.push(serveAnybody(new Client(bytes), bytes.length));
  }));
  await Promise.all(tries);
});

Deno.test("replySocks() writes each reply in ten bytes", async () => {
  const served = client("");
  await replySocks(served, "succeeded");
  await replySocks(served, "not_allowed");
  assert.equal(served.answered, "05000001000000000000" + "05020001000000000000");
});

async function serveAnybody(anybody: Client, length: number): Promise<void> {
  const outcome = await readSocksRequest(anybody).catch((error: unknown) => error);
  const isTarget = typeof outcome === "object" && outcome !== null && "host" in outcome && "port" in outcome;
  assert(outcome instanceof SocksError || (isTarget && /^[a-z0-9._:-]+$/.test(String(outcome.host))));
  // 2 + 255 methods, 4 + 1 + 255 + 2 of a request.
  assert(length - anybody.unread.length / 2 <= 519);
}
