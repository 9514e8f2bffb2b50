import assert from "node:assert/strict";
import { ConnectionError } from "../../../src/protocol/rpc/errors.ts";
import { asSignedProcess, noHandshake, versionOnly } from "../../../src/protocol/rpc/handshake_policy.ts";
import { shakeHands } from "../../../src/protocol/rpc/handshake.ts";
import { hmac } from "../../../src/protocol/rpc/hmac_handshake.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/rpc/limits.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers, settled } from "./fake_timers.ts";
import {
  bothOf,
  clock,
  math,
  outcomeOf,
  type Overrides,
  refusalIn,
  SECRET,
  sideOf,
} from "./handshake_sides.ts";
import { type Change, readExactly, readToEnd, tapped } from "./tapped_connection.ts";

const HELLO_FRAME_BYTES = 16 + 264;

Deno.test("shakeHands() tells each side what the other takes and who it is", async () => {
  const tap = tapped();
  const limits = {
    ...DEFAULT_LIMITS,
    maxBodyBytes: 100_000,
    maxConcurrentCalls: 3,
    streamWindowBytes: 50_000,
  };
  const { dialler, listener } = await bothOf(tap, {}, { limits });
  assert.deepEqual(dialler.result?.told, {
    maxBodyBytes: 100_000,
    maxConcurrentCalls: 3,
    streamWindowBytes: 50_000,
  });
  assert.equal(listener.result?.told.maxBodyBytes, DEFAULT_LIMITS.maxBodyBytes);
  assert.deepEqual(listener.result?.peer, {
    transport: "memory",
    remoteAddress: null,
    authenticated: "none",
    executablePath: null,
  });
  assert.equal(dialler.result?.connection, tap.dialler);
});

const agreements: readonly (readonly [string, Overrides, Overrides])[] = [
  ["no handshake and differing services and versions", { service: "OTHER" }, {}],
  ["versionOnly() and the same service", {
    policy: versionOnly({ applicationVersion: "7" }),
    service: "MATH",
  }, { policy: versionOnly({ applicationVersion: "7" }) }],
  ["versionOnly() and a dialler that names no service", { policy: versionOnly() }, { policy: versionOnly() }],
  ["hmac() and the same secret", { policy: hmac(SECRET), service: "MATH" }, { policy: hmac(SECRET) }],
  ["hmac() and the secret once as text and once as bytes", { policy: hmac(SECRET) }, {
    policy: hmac(new TextEncoder().encode(SECRET)),
  }],
  ["a contract each way", { serves: clock }, { calls: clock }],
  ["nothing called and nothing served", { calls: null }, { serves: null }],
];
for (const [name, dialler, listener] of agreements) {
  Deno.test(`shakeHands() accepts with ${name}`, async () => {
    const { words } = await bothOf(tapped(), dialler, listener);
    assert.deepEqual(words, { dialler: "accepted", listener: "accepted" });
  });
}

const named = (policy: Overrides["policy"], service?: string): Overrides => ({
  ...(policy && { policy }),
  ...(service !== undefined && { service }),
});
const disagreements: readonly (readonly [string, Overrides, Overrides, string])[] = [
  ["codecs differ", { codecId: "view" }, {}, "codec_mismatch"],
  ["contracts differ", { calls: clock }, {}, "contract_mismatch"],
  ["the dialler calls what the listener does not serve", {}, { serves: null }, "contract_mismatch"],
  ["the listener calls what the dialler does not serve", {}, { calls: clock }, "contract_mismatch"],
  [
    "the listener calls another contract than is served",
    { serves: math },
    { calls: clock },
    "contract_mismatch",
  ],
  ["services differ", named(versionOnly(), "OTHER"), named(versionOnly()), "service_mismatch"],
  ["the listener has no name", named(versionOnly(), "MATH"), named(versionOnly(), ""), "service_mismatch"],
  ["services differ under hmac", named(hmac(SECRET), "OTHER"), named(hmac(SECRET)), "service_mismatch"],
  [
    "application versions differ",
    named(versionOnly({ applicationVersion: "1" })),
    named(versionOnly({ applicationVersion: "2" })),
    "application_version",
  ],
  ["only one has an application version", named(versionOnly()), {
    policy: versionOnly({ applicationVersion: "2" }),
  }, "application_version"],
  ["the listener demands more", {}, named(hmac(SECRET)), "handshake_mismatch"],
  ["the listener demands less", named(hmac(SECRET)), {}, "handshake_mismatch"],
  ["one wants versions only", named(versionOnly()), named(noHandshake()), "handshake_mismatch"],
  ["the dialler is a process and the listener wants a secret", named(asSignedProcess()), {
    policy: hmac(SECRET),
  }, "handshake_mismatch"],
  [
    "the secrets differ",
    named(hmac(SECRET)),
    named(hmac("another secret, long enough")),
    "authentication_failed",
  ],
  ["the secrets differ in the last bit", named(hmac(SECRET)), {
    policy: hmac(SECRET.replace(/\.$/, "/")),
  }, "authentication_failed"],
  ["the secret is longer by a zero byte", named(hmac(SECRET)), {
    policy: hmac(`${SECRET}${"\0".repeat(33)}`),
  }, "authentication_failed"],
];
for (const [name, dialler, listener, reason] of disagreements) {
  Deno.test(`shakeHands() refuses with ${reason} on both sides when ${name}`, async () => {
    const timers = new FakeTimers();
    const { words } = await bothOf(tapped(), { ...dialler, timers }, { ...listener, timers });
    assert.deepEqual(words, { dialler: `${reason} there`, listener: `${reason} here` });
    assert.equal(timers.pending, 0);
  });
}

Deno.test("shakeHands() says in its message what was found and what is accepted, on both sides", async () => {
  const { dialler, listener } = await bothOf(tapped(), { codecId: "view" });
  assert.equal(
    (listener.error as Error).message,
    'could not shake hands: found codec "view", accepted is "json"',
  );
  assert.equal(
    (dialler.error as Error).message,
    'could not shake hands: the other side refused: codec_mismatch, found codec "view", accepted is "json"',
  );
});

Deno.test("shakeHands() refuses with role_mismatch when both sides have dialled", async () => {
  const tap = tapped();
  const outcomes = await Promise.all([
    outcomeOf(sideOf("dialler", tap.dialler)),
    outcomeOf(sideOf("dialler", tap.listener)),
  ]);
  assert.deepEqual(outcomes.map(({ words }) => words), ["role_mismatch here", "role_mismatch here"]);
});

Deno.test("shakeHands() reads nothing that comes behind the accept frame", async () => {
  const follows = new TextEncoder().encode("what follows");
  const tap = tapped({
    change: (from, bytes, index) =>
      from === "listener" && index === 1 ? new Uint8Array([...bytes, ...follows]) : bytes,
  });
  const [dialled] = await Promise.all([
    shakeHands(sideOf("dialler", tap.dialler)),
    shakeHands(sideOf("listener", tap.listener)),
  ]);
  const read = await readExactly(dialled.connection, follows.length);
  assert.equal(new TextDecoder().decode(read), "what follows");
  tap.dialler.close();
  tap.listener.close();
});

Deno.test("shakeHands() asks admit once the other side is known, and refuses as it says", async () => {
  const asked: unknown[] = [];
  const { words, dialler } = await bothOf(tapped(), { policy: hmac(SECRET) }, {
    policy: hmac(SECRET),
    admit(peer): Promise<"taken"> {
      asked.push(peer.authenticated);
      return Promise.resolve("taken");
    },
  });
  assert.deepEqual(words, { dialler: "taken there", listener: "taken here" });
  assert.deepEqual(asked, ["secret"]);
  assert.ok(dialler.error instanceof ConnectionError);
});

Deno.test("shakeHands() never asks admit for a stranger", async () => {
  let asked = 0;
  const admit = (): Promise<null> => (asked++, Promise.resolve(null));
  const wrong = await bothOf(tapped(), { policy: hmac("another secret, long enough") }, {
    policy: hmac(SECRET),
    admit,
  });
  assert.equal(wrong.words.listener, "authentication_failed here");
  assert.equal(asked, 0);
  await bothOf(tapped(), { policy: hmac(SECRET) }, { policy: hmac(SECRET), admit });
  assert.equal(asked, 1);
});

Deno.test("shakeHands() tells of a failing admit as internal, and not what it was", async () => {
  const tap = tapped();
  const { words, listener } = await bothOf(tap, {}, {
    admit: () => Promise.reject(new Error("the books are at /var/lib/books")),
  });
  assert.deepEqual(words, { dialler: "internal there", listener: "internal here" });
  assert.match(String((listener.error as Error).cause), /books/);
  assert.ok(!tap.arrived.listener.some((bytes) => new TextDecoder().decode(bytes).includes("books")));
});

// A listener, and somebody by hand.
const hostile: readonly (readonly [string, Uint8Array, string])[] = [
  [
    "an HTTP request",
    new TextEncoder().encode("GET / HTTP/1.1\r\nHost: postern\r\n\r\n"),
    "handshake_malformed",
  ],
  ["a TLS hello", new Uint8Array([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 1, 2, 3, 4, 5]), "handshake_malformed"],
  ["a hello one byte longer than any may be", frame(1, 513), "too_large"],
  ["a hello of 4 GiB", frame(1, 0xffff_ffff), "too_large"],
  ["a hello with flags", frame(1, 264, { flags: 1 }), "handshake_malformed"],
  ["a hello with a method", frame(1, 264, { method: 1 }), "handshake_malformed"],
  ["a hello with an id", frame(1, 264, { id: 1 }), "handshake_malformed"],
  ["a hello with a value", frame(1, 264, { value: 1 }), "handshake_malformed"],
  ["a hello of zeros", withBody(frame(1, 264), 264), "handshake_malformed"],
  ["an empty hello", frame(1, 0), "handshake_malformed"],
  ["a proof first", withBody(frame(2, 32), 32), "handshake_malformed"],
  ["an accept frame", frame(3, 0), "handshake_malformed"],
  ["a call before the handshake", frame(16, 0, { id: 1 }), "handshake_malformed"],
  ["a call with a body before the handshake", frame(16, 1_000_000, { id: 1 }), "handshake_malformed"],
  ["a ping before the handshake", frame(32, 0, { value: 1 }), "handshake_malformed"],
  ["a close frame with a reason that is none", frame(35, 0, { value: 9999 }), "handshake_malformed"],
];
for (const [name, bytes, reason] of hostile) {
  Deno.test(`shakeHands() refuses ${name} with ${reason}, and says so`, async () => {
    const tap = tapped();
    const timers = new FakeTimers();
    const refused = outcomeOf(sideOf("listener", tap.listener, { timers }));
    await tap.dialler.write(bytes);
    const answer = await readToEnd(tap.dialler);
    tap.dialler.close();
    assert.equal((await refused).words, `${reason} here`);
    assert.equal(refusalIn(answer), reason);
    assert.equal(timers.pending, 0);
  });

  Deno.test(`shakeHands() refuses ${name} with ${reason} when a listener sends it`, async () => {
    const tap = tapped();
    const refused = outcomeOf(sideOf("dialler", tap.dialler));
    await tap.listener.write(bytes);
    const answer = await readToEnd(tap.listener);
    tap.listener.close();
    assert.equal((await refused).words, `${reason} here`);
    assert.equal(refusalIn(answer.subarray(HELLO_FRAME_BYTES)), reason);
  });
}

Deno.test("shakeHands() refuses another version of the protocol whatever its hello looks like", async () => {
  const body = new Uint8Array(40);
  body.set(new TextEncoder().encode("PSTRNRPC"));
  body[8] = 2;
  const bytes = new Uint8Array([...frame(1, body.length), ...body]);
  const tap = tapped();
  const refused = outcomeOf(sideOf("listener", tap.listener));
  await tap.dialler.write(bytes);
  const answer = await readToEnd(tap.dialler);
  tap.dialler.close();
  assert.equal((await refused).words, "protocol_version here");
  assert.equal(refusalIn(answer), "protocol_version");
});

Deno.test("shakeHands() gives a stranger's text without what a terminal would act on", async () => {
  const text = new TextEncoder().encode("\x1b[2Jgone\r\n\u202efdp");
  const padding = new Uint8Array((8 - text.length % 8) % 8);
  const tap = tapped();
  const refused = outcomeOf(sideOf("dialler", tap.dialler));
  await tap.listener.write(new Uint8Array([...frame(35, text.length, { value: 42 }), ...text, ...padding]));
  const { words, error } = await refused;
  assert.equal(words, "taken there");
  assert.equal(
    (error as Error).message,
    "could not shake hands: the other side refused: taken, ?[2Jgone???fdp",
  );
  tap.listener.close();
});

Deno.test("shakeHands() refuses who says nothing with handshake_timeout, in time and on both sides", async () => {
  const tap = tapped();
  const timers = new FakeTimers();
  const refused = outcomeOf(sideOf("listener", tap.listener, { timers }));
  await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs - 1);
  await settled();
  assert.equal(tap.written.listener.length, 0);
  await timers.pass(1);
  assert.equal(refusalIn(await readToEnd(tap.dialler)), "handshake_timeout");
  tap.dialler.close();
  assert.equal((await refused).words, "handshake_timeout here");
  assert.equal(timers.pending, 0);
});

Deno.test("shakeHands() of a slow listener tells a patient dialler handshake_timeout", async () => {
  const timers = new FakeTimers();
  const patient = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 2 * DEFAULT_LIMITS.handshakeTimeoutMs };
  const outcome = bothOf(tapped(), { timers, limits: patient }, {
    timers,
    admit: () => new Promise(() => {}),
  });
  await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs);
  assert.deepEqual((await outcome).words, {
    dialler: "handshake_timeout there",
    listener: "handshake_timeout here",
  });
  assert.equal(timers.pending, 0);
});

for (const from of ["dialler", "listener"] as const) {
  Deno.test(`shakeHands() refuses an oversized hello of the ${from} with too_large on both sides`, async () => {
    const oversize: Change = (role, bytes, index) => {
      if (role === from && index === 0) new DataView(bytes.buffer).setUint32(0, 513);
      return bytes;
    };
    const policy = hmac(SECRET);
    const { words } = await bothOf(tapped({ change: oversize }), { policy }, { policy });
    const [here, there] = ["too_large here", "too_large there"];
    assert.deepEqual(words, {
      dialler: from === "dialler" ? there : here,
      listener: from === "dialler" ? here : there,
    });
  });
}

Deno.test("shakeHands() refuses who sends a hello byte by byte once the time is over", async () => {
  const tap = tapped();
  const timers = new FakeTimers();
  const refused = outcomeOf(sideOf("listener", tap.listener, { timers }));
  const hello = frame(1, 264);
  for (const byte of hello) {
    await tap.dialler.write(new Uint8Array([byte]));
    await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs / hello.length);
    await settled();
  }
  assert.equal(refusalIn(await readToEnd(tap.dialler)), "handshake_timeout");
  tap.dialler.close();
  assert.equal((await refused).words, "handshake_timeout here");
});

Deno.test("shakeHands() gives a silent listener up, and the dialler who waits is told by nobody", async () => {
  const tap = tapped();
  const timers = new FakeTimers();
  const refused = outcomeOf(sideOf("dialler", tap.dialler, { timers }));
  await settled();
  await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs);
  await settled();
  // Nobody reads the reason at the other end: the connection is closed all the same.
  await timers.pass(1_000);
  assert.equal((await refused).words, "handshake_timeout here");
  assert.equal(timers.pending, 0);
  assert.equal(refusalIn((await readToEnd(tap.listener)).subarray(HELLO_FRAME_BYTES)), "handshake_timeout");
  tap.listener.close();
});

Deno.test("shakeHands() ends in time although a write never settles, and begins no second one", async () => {
  const tap = tapped();
  let isClosed = false;
  let writes = 0;
  const stuck: Connection = {
    ...tap.dialler,
    write: () => (writes++, new Promise(() => {})),
    close: () => {
      isClosed = true;
      tap.dialler.close();
    },
  };
  const timers = new FakeTimers();
  const refused = outcomeOf(sideOf("dialler", stuck, { timers }));
  await timers.pass(DEFAULT_LIMITS.handshakeTimeoutMs);
  assert.equal((await refused).words, "handshake_timeout here");
  assert.ok(isClosed);
  assert.equal(writes, 1);
  tap.listener.close();
});

Deno.test("shakeHands() leaves nothing behind on the signal it was given", async () => {
  const { signal } = new AbortController();
  const listening = new Set<unknown>();
  signal.addEventListener = (_type: string, listener: unknown): void => void listening.add(listener);
  signal.removeEventListener = (_type: string, listener: unknown): void => void listening.delete(listener);
  const outcome = bothOf(tapped(), { signal });
  assert.equal(listening.size, 1);
  assert.equal((await outcome).words.dialler, "accepted");
  assert.equal(listening.size, 0);
});

Deno.test("shakeHands() stops taking in what a refused side goes on sending", async () => {
  const tap = tapped();
  const refused = outcomeOf(sideOf("listener", tap.listener));
  await tap.dialler.write(frame(1, 513));
  let sentBytes = 0;
  const flood = new Uint8Array(16_384);
  // Ends with an error only because the other side closes.
  await assert.rejects(async () => {
    while (sentBytes < 100 * 1024 * 1024) {
      await tap.dialler.write(flood);
      sentBytes += flood.length;
    }
  }, TransportError);
  assert.equal((await refused).words, "too_large here");
  assert.ok(sentBytes < 1024 * 1024, `${sentBytes} bytes went through`);
  tap.dialler.close();
});

for (let kept = 0; kept < 4; kept++) {
  Deno.test(`shakeHands() says "lost" when the connection ends after ${kept} frames`, async () => {
    let frames = 0;
    const tap = tapped({
      change: (_from, bytes) => {
        if (frames++ === kept) {
          tap.dialler.close();
          tap.listener.close();
        }
        return bytes;
      },
    });
    const policy = hmac(SECRET);
    const { dialler, listener } = await bothOf(tap, { policy }, { policy });
    // Closed at both ends at once: each may see its own closing or the other's.
    for (const { error } of [dialler, listener]) {
      assert.ok(error instanceof ConnectionError, String(error));
      assert.ok(error.reason === "lost" || error.reason === "aborted", error.reason);
    }
  });
}

Deno.test('shakeHands() says "lost" when the other side hangs up in the middle of a frame', async () => {
  const tap = tapped();
  const lost = outcomeOf(sideOf("listener", tap.listener));
  await tap.dialler.write(frame(1, 264).subarray(0, 7));
  tap.dialler.close();
  assert.equal((await lost).words, "lost there");
});

Deno.test("shakeHands() can be aborted before it begins and while it waits", async () => {
  for (const isBefore of [true, false]) {
    const tap = tapped();
    const controller = new AbortController();
    const timers = new FakeTimers();
    if (isBefore) controller.abort(new Error("enough"));
    const aborted = outcomeOf(sideOf("dialler", tap.dialler, { timers, signal: controller.signal }));
    await settled();
    controller.abort(new Error("enough"));
    const { words, error } = await aborted;
    assert.equal(words, "aborted here");
    assert.equal(((error as Error).cause as Error).message, "enough");
    assert.equal(timers.pending, 0);
    await assert.rejects(tap.dialler.write(new Uint8Array(1)), TransportError);
    tap.listener.close();
  }
});

Deno.test("shakeHands() that is aborted while it takes leave of a refused side closes at once", async () => {
  const tap = tapped();
  const controller = new AbortController();
  const timers = new FakeTimers();
  const refused = outcomeOf(sideOf("listener", tap.listener, { timers, signal: controller.signal }));
  await tap.dialler.write(frame(1, 513));
  await settled();
  controller.abort();
  assert.equal((await refused).words, "too_large here");
  assert.equal(timers.pending, 0);
  tap.dialler.close();
});

const misuses: readonly (readonly [string, Overrides])[] = [
  ["a service name with a space", { service: "my service" }],
  ["a service name that is too long", { service: "S".repeat(65) }],
  ["a codec id that is none", { codecId: "JSON" }],
  ["limits that are no whole number", { limits: { ...DEFAULT_LIMITS, maxBodyBytes: 1.5 } }],
  ["limits beyond 32 bits", { limits: { ...DEFAULT_LIMITS, streamWindowBytes: 2 ** 32 } }],
  ["the policy of a dialler", { policy: asSignedProcess() }],
];
for (const [name, overrides] of misuses) {
  Deno.test(`shakeHands() of a listener with ${name} is a TypeError at once, and closes`, async () => {
    const tap = tapped();
    const failed = outcomeOf(sideOf("listener", tap.listener, overrides));
    assert.equal(refusalIn(await readToEnd(tap.dialler)), "internal");
    tap.dialler.close();
    assert.ok((await failed).error instanceof TypeError);
  });
}

/** A header, and nothing behind it. */
function frame(
  kind: number,
  bodyBytes: number,
  { flags = 0, method = 0, id = 0, value = 0 } = {},
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bodyBytes);
  view.setUint8(4, kind);
  view.setUint8(5, flags);
  view.setUint16(6, method);
  view.setUint32(8, id);
  view.setUint32(12, value);
  return bytes;
}

function withBody(header: Uint8Array, bodyBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...header, ...new Uint8Array(bodyBytes)]);
}
