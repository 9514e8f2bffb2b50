/** The time from an NTP server, a hostile one too, and from a Date header. */
import assert from "node:assert/strict";
import { encodeNtpRequest, NTP_BYTES, offsetOf, readNtpAnswer } from "../../../src/setup/doctor/sntp.ts";
import {
  parseTimeSource,
  readDate,
  readTime,
  timeSourceHost,
} from "../../../src/setup/doctor/time_source.ts";
import { Failure, UsageFailure } from "../../../src/system/failure.ts";
import { ntpAnswer, NtpDouble } from "./ntp_double.ts";

const TIMEOUT = { timeoutMs: 300 };

async function ask(server: NtpDouble): Promise<{ aheadMs: number; uncertaintyMs: number }> {
  return await readTime(parseTimeSource(server.address), TIMEOUT);
}

async function refusal(server: NtpDouble): Promise<string> {
  try {
    await ask(server);
  } catch (error) {
    assert(error instanceof Failure, String(error));
    return error.message;
  }
  return assert.fail("a time was had");
}

Deno.test("readTime() gives how far a server is ahead", { timeout: 5000 }, async () => {
  for (const aheadMs of [0, 90_000, -7_200_000]) {
    await using server = new NtpDouble((request) => [ntpAnswer(request, { aheadMs })]);
    const reading = await ask(server);
    assert(Math.abs(reading.aheadMs - aheadMs) <= reading.uncertaintyMs + 5, JSON.stringify(reading));
  }
});

const STRAYS: readonly [what: string, found: RegExp, (request: Uint8Array) => Uint8Array][] = [
  [
    "another originate timestamp",
    /originate/,
    (request) => ntpAnswer(request, { originate: new Uint8Array(8) }),
  ],
  ["mode 5 (broadcast)", /mode 5/, (request) => ntpAnswer(request, { mode: 5 })],
  ["mode 3, an echo of the question", /mode 3/, (request) => request],
  ["version 2", /version 2/, (request) => ntpAnswer(request, { version: 2 })],
  ["a byte too few", /47 bytes/, (request) => ntpAnswer(request).subarray(0, NTP_BYTES - 1)],
  ["nothing in it", /0 bytes/, () => new Uint8Array()],
];

for (const [what, found, make] of STRAYS) {
  Deno.test(`readTime() does not believe an answer with ${what}`, { timeout: 5000 }, async () => {
    await using server = new NtpDouble((request) => [make(request)]);
    assert.match(await refusal(server), found);
  });

  Deno.test(`readTime() waits for the right answer after one with ${what}`, { timeout: 5000 }, async () => {
    await using server = new NtpDouble((request) => [make(request), ntpAnswer(request, { aheadMs: 5000 })]);
    assert(Math.abs((await ask(server)).aheadMs - 5000) < 1000);
  });
}

const REFUSALS: readonly [what: string, found: RegExp, (request: Uint8Array) => Uint8Array][] = [
  ["sends us away", /kiss-o'-death RATE/, (request) => ntpAnswer(request, { stratum: 0, code: "RATE" })],
  [
    "sends us away with a code of hostile bytes",
    /kiss-o'-death without a code/,
    (request) => ntpAnswer(request, { stratum: 0, code: "\x1b[2J" }),
  ],
  ["has stratum 16", /stratum 16/, (request) => ntpAnswer(request, { stratum: 16 })],
  ["is not synchronised", /not synchronised/, (request) => ntpAnswer(request, { leap: 3 })],
  ["leaves its time out", /left its time out/, (request) => ntpAnswer(request, { timestamps: "zero" })],
  [
    "answers before it is asked",
    /before our question/,
    (request) => ntpAnswer(request, { timestamps: "backwards" }),
  ],
];

for (const [what, found, make] of REFUSALS) {
  Deno.test(`readTime() takes no time from a server that ${what}`, { timeout: 5000 }, async () => {
    await using server = new NtpDouble((request) => [make(request)]);
    assert.match(await refusal(server), found);
  });
}

Deno.test("readTime() does not believe what comes from another address", { timeout: 5000 }, async () => {
  await using server = new NtpDouble(() => [], [{ aheadMs: 9000 }]);
  assert.match(await refusal(server), /found only a datagram from another address/);
});

Deno.test("readTime() gives up on silence", { timeout: 5000 }, async () => {
  await using server = new NtpDouble(() => []);
  assert.match(await refusal(server), /within 0\.3 s: found no answer/);
});

Deno.test("readTime() asks a server by its name", { timeout: 5000 }, async () => {
  await using server = new NtpDouble((request) => [ntpAnswer(request, { aheadMs: 5000 })]);
  const source = parseTimeSource(server.address.replace("127.0.0.1", "localhost"));
  assert(Math.abs((await readTime(source, TIMEOUT)).aheadMs - 5000) < 1000);
});

Deno.test("encodeNtpRequest() tells nothing but a version, a mode and the nonce", () => {
  const nonce = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  assert.equal(encodeNtpRequest(nonce).toHex(), `23${"00".repeat(39)}0102030405060708`);
});

Deno.test("readNtpAnswer() reads a fixed answer, of both eras", () => {
  const nonce = new Uint8Array(8).fill(7);
  // 0xEE000000 s and a half after 1900 is in 2026; 0x10000000 s after the second era began, in 2044.
  for (
    const [seconds, time] of [["ee000000", "2026-07-14T00:23:28.500Z"], [
      "10000000",
      "2044-08-10T03:52:32.500Z",
    ]]
  ) {
    const hex = `24020000${"00".repeat(20)}${nonce.toHex()}${seconds}80000000${seconds}80000000`;
    const answer = readNtpAnswer(Uint8Array.fromHex(hex), nonce);
    assert.equal(answer.kind, "time");
    assert.equal(new Date(answer.kind === "time" ? answer.sentAtMs : 0).toISOString(), time);
  }
});

Deno.test("offsetOf() takes the way there and back into account", () => {
  const answer = { receivedAtMs: 1_000_150, sentAtMs: 1_000_160 };
  assert.deepEqual(offsetOf(answer, 1000, 1110), { aheadMs: 999_100, uncertaintyMs: 50 });
});

Deno.test("readDate() reads a Date header, in the middle of its second", () => {
  const date = "Sat, 21 Nov 2026 12:00:00 GMT";
  const atMs = Date.parse(date);
  assert.deepEqual(readDate("h", date, atMs, atMs + 200), { aheadMs: 400, uncertaintyMs: 600 });
  assert.throws(() => readDate("h", null, 0, 0), /h gave no time: its answer has no Date/);
  assert.throws(() => readDate("h", "yesterday", 0, 0), Failure);
});

Deno.test("parseTimeSource() takes servers and https addresses, and nothing else", () => {
  const hosts = [
    "pool.ntp.org",
    "192.0.2.1:124",
    "2001:db8::1",
    "[2001:db8::1]:124",
    "https://example.org/x",
  ];
  assert.deepEqual(hosts.map((text) => timeSourceHost(parseTimeSource(text))), [
    "pool.ntp.org:123",
    "192.0.2.1:124",
    "[2001:db8::1]:123",
    "[2001:db8::1]:124",
    "example.org:443",
  ]);
  for (
    const text of ["http://example.org/", "file:///etc/passwd", "https://user:secret@h/", "", "a b", "h:0"]
  ) {
    assert.throws(() => parseTimeSource(text), UsageFailure, text);
  }
});
