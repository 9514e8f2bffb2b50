import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { FRAME_KINDS } from "../../../src/protocol/rpc/frame.ts";
import { shakeHands } from "../../../src/protocol/rpc/handshake.ts";
import { noHandshake } from "../../../src/protocol/rpc/handshake_policy.ts";
import { encodeHandshakeFrame } from "../../../src/protocol/rpc/handshake_frame.ts";
import { encodeHello, type Hello, parseHello, type Role } from "../../../src/protocol/rpc/hello.ts";
import { hmac } from "../../../src/protocol/rpc/hmac_handshake.ts";
import { SharedSecret, transcriptOf } from "../../../src/protocol/rpc/shared_secret.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/rpc/limits.ts";
import { systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { TransportError } from "../../../src/protocol/transport/transport.ts";
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
import { type Change, readExactly, readToEnd, type Tap, tapped } from "./tapped_connection.ts";

const HELLO_FRAME_BYTES = 16 + 264,
  PROOF_FRAME_BYTES = 16 + 32;
const policy = hmac(SECRET);
const secretBytes = new TextEncoder().encode(SECRET);
const isHello = (bytes: Uint8Array): boolean =>
  bytes.length === HELLO_FRAME_BYTES && bytes[4] === FRAME_KINDS.hello;
const isProof = (bytes: Uint8Array): boolean =>
  bytes.length === PROOF_FRAME_BYTES && bytes[4] === FRAME_KINDS.proof;

/** Somebody on the way who writes hellos anew. */
function changingHellos(change: (hello: Hello) => Partial<Hello>): Change {
  return (_from, bytes) => {
    if (!isHello(bytes)) return bytes;
    const hello = parseHello(bytes.slice(16));
    return encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello({ ...hello, ...change(hello) }));
  };
}

// Short secrets.
for (
  const [name, secret] of [["empty", ""], ["of 15 bytes", "0123456789abcde"], [
    "of 15 raw bytes",
    new Uint8Array(15),
  ]] as const
) {
  Deno.test(`hmac() refuses a secret that is ${name}, and does not repeat it`, () => {
    assert.throws(() => hmac(secret), (error: Error) => {
      assert.ok(error instanceof TypeError);
      assert.ok(secret.length === 0 || !error.message.includes("0123"));
      return true;
    });
  });
}

Deno.test("hmac() counts bytes of UTF-8, not characters, and refuses a text that has none", () => {
  assert.doesNotThrow(() => hmac("\u{1f511}".repeat(4)));
  assert.throws(() => hmac("0123456789abcdef\ud800"), TypeError);
});

Deno.test("hmac() keeps its own copy of the secret", async () => {
  // A Buffer's own `slice` copies nothing.
  for (const bytes of [secretBytes.slice(), Buffer.from(SECRET)]) {
    const copied = hmac(bytes);
    bytes.fill(0);
    const { words } = await bothOf(tapped(), { policy: copied }, { policy });
    assert.deepEqual(words, { dialler: "accepted", listener: "accepted" });
  }
});

Deno.test("hmac() shows its secret to nobody who prints or stores the policy", () => {
  const shown = Deno.inspect(policy, { depth: 10, showHidden: true }) + JSON.stringify(policy);
  for (const form of formsOf(secretBytes)) assert.ok(!shown.includes(form));
  assert.ok(!shown.includes(SECRET));
});

Deno.test("hmac() shows both sides that the other holds the secret", async () => {
  const { dialler, listener } = await bothOf(tapped(), { policy }, { policy });
  assert.equal(dialler.result?.peer.authenticated, "secret");
  assert.equal(listener.result?.peer.authenticated, "secret");
});

Deno.test("no secret, and no key made of it, is on the wire of an HMAC handshake that succeeds or fails", async () => {
  for (const other of [policy, hmac("another secret, long enough")]) {
    const tap = tapped();
    const { dialler, listener } = await bothOf(tap, { policy }, { policy: other });
    const secrets = [secretBytes, ...keysOf(tap)];
    const wire = [...tap.written.dialler, ...tap.written.listener];
    assert.ok(wire.length >= 3);
    const errors = [dialler.error, listener.error].map((error) => Deno.inspect(error, { depth: 10 })).join();
    for (const secret of secrets) {
      for (const bytes of wire) assert.equal(indexOf(bytes, secret), -1);
      for (const form of formsOf(secret)) {
        const text = wire.map((bytes) => String.fromCharCode(...bytes)).join("");
        assert.ok(!text.includes(form));
        assert.ok(!errors.includes(form));
      }
    }
    assert.ok(!errors.includes(SECRET));
  }
});

Deno.test("the wire recorder would find a secret", () => {
  assert.equal(indexOf(new Uint8Array([1, 2, ...secretBytes, 3]), secretBytes), 2);
});

for (
  const [name, confidential, sealed] of [
    ["on neither end", false, true],
    ["on the dialler's end only", { dialler: true, listener: false }, true],
    ["on the listener's end only", { dialler: false, listener: true }, true],
    ["on both ends", true, false],
  ] as const
) {
  Deno.test(`hmac() ${sealed ? "seals" : "does not seal"} what follows when the connection is confidential ${name}`, async () => {
    const tap = tapped({ confidential });
    const [dialled, listened] = await Promise.all([
      shakeHands(sideOf("dialler", tap.dialler, { policy })),
      shakeHands(sideOf("listener", tap.listener, { policy })),
    ]);
    for (
      const [from, to, role] of [
        [dialled.connection, listened.connection, "dialler"],
        [listened.connection, dialled.connection, "listener"],
      ] as const
    ) {
      const text = new TextEncoder().encode(`the ${role} says this`);
      await from.write(text);
      assert.deepEqual(await readExactly(to, text.length), text);
      assert.equal(tap.written[role].some((bytes) => indexOf(bytes, text) >= 0), !sealed);
    }
    assert.equal(dialled.connection === tap.dialler, !sealed);
    assert.equal(listened.connection.confidential, true);
    dialled.connection.close();
    listened.connection.close();
  });
}

Deno.test("hmac() makes other keys for each direction and each connection", async () => {
  const keys = new Set<string>();
  for (let connection = 0; connection < 3; connection++) {
    const tap = tapped();
    await bothOf(tap, { policy }, { policy });
    for (const key of keysOf(tap)) keys.add(key.toHex());
  }
  assert.equal(keys.size, 6);
});

// A proof carried elsewhere: somebody on the way makes the hellos fit, so that only the proofs can tell.
const carried: readonly (readonly [string, Overrides, Overrides, (hello: Hello) => Partial<Hello>])[] = [
  ["another service", { service: "BOOKS" }, {}, ({ role, service }) => ({
    service: role === "dialler" ? "MATH" : service === "MATH" ? "BOOKS" : service,
  })],
  ["a service that was not asked for", { service: "BOOKS" }, { service: "MATH" }, ({ role }) => ({
    service: role === "dialler" ? "" : "BOOKS",
  })],
  [
    "another contract",
    { calls: clock },
    {},
    ({ role }) => role === "dialler" ? { calls: math.hash } : { serves: clock.hash },
  ],
  [
    "another contract the other way",
    { serves: clock },
    { calls: math },
    ({ role }) => role === "dialler" ? { serves: math.hash } : { calls: clock.hash },
  ],
  ["another application version", { policy: hmac(SECRET, { applicationVersion: "1" }) }, {
    policy: hmac(SECRET, { applicationVersion: "2" }),
  }, ({ role }) => ({ applicationVersion: role === "dialler" ? "2" : "1" })],
  [
    "another codec",
    { codecId: "view" },
    {},
    ({ role }) => ({ codecId: role === "dialler" ? "json" : "view" }),
  ],
  ["other limits", {}, {}, ({ told }) => ({ told: { ...told, maxBodyBytes: 1 } })],
  ["another connection, by its nonces", {}, {}, () => ({ nonce: new Uint8Array(32).fill(7) })],
  ["a connection that is said to be confidential", {}, {}, () => ({ confidential: true })],
];
for (const [name, dialler, listener, change] of carried) {
  Deno.test(`hmac() refuses on both sides a proof that is carried to ${name}`, async () => {
    // The nonces that are given out must differ, or the hello would look like one's own.
    const both = (hello: Hello): Partial<Hello> => {
      const changed = change(hello);
      return changed.nonce === undefined
        ? changed
        : { nonce: changed.nonce.map((byte) => hello.role === "dialler" ? byte : byte + 1) };
    };
    const { words } = await bothOf(
      tapped({ change: changingHellos(both) }),
      { policy, ...dialler },
      { policy, ...listener },
    );
    assert.deepEqual(words, {
      dialler: "authentication_failed there",
      listener: "authentication_failed here",
    });
  });
}

Deno.test("hmac() refuses a proof of the other role: two diallers that somebody joins as if one listened", async () => {
  const tap = tapped();
  const second = tapped();
  const asRole = (bytes: Uint8Array<ArrayBuffer>, role: Role): Uint8Array => {
    const hello = parseHello(bytes.slice(16));
    const fits = { role, serves: hello.calls, calls: hello.serves };
    return encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello({ ...hello, ...fits }));
  };
  const outcomes = Promise.all([
    outcomeOf(sideOf("dialler", tap.dialler, { policy })),
    outcomeOf(sideOf("dialler", second.dialler, { policy })),
  ]);
  const [first, other] = [tap.listener, second.listener];
  const hellos = [
    await readExactly(first, HELLO_FRAME_BYTES),
    await readExactly(other, HELLO_FRAME_BYTES),
  ] as const;
  await Promise.all([first.write(asRole(hellos[1], "listener")), other.write(asRole(hellos[0], "listener"))]);
  const proofs = [
    await readExactly(first, PROOF_FRAME_BYTES),
    await readExactly(other, PROOF_FRAME_BYTES),
  ] as const;
  await Promise.all([first.write(proofs[1]), other.write(proofs[0])]);
  await Promise.all([readToEnd(first), readToEnd(other)]);
  first.close();
  other.close();
  assert.deepEqual((await outcomes).map(({ words }) => words), [
    "authentication_failed here",
    "authentication_failed here",
  ]);
});

Deno.test("hmac() refuses everything a dialler once wrote, replayed to the same listener", async () => {
  const recorded = tapped();
  assert.equal((await bothOf(recorded, { policy }, { policy })).words.listener, "accepted");
  const again = tapped();
  const refused = outcomeOf(sideOf("listener", again.listener, { policy }));
  for (const bytes of recorded.written.dialler) await again.dialler.write(bytes);
  const answer = await readToEnd(again.dialler);
  again.dialler.close();
  assert.equal((await refused).words, "authentication_failed here");
  assert.equal(refusalIn(answer), "authentication_failed");
  // Nothing that the secret was needed for was given away.
  assert.ok(!again.written.listener.some(isProof));
});

Deno.test("hmac() refuses everything a listener once wrote, replayed to the same dialler", async () => {
  const recorded = tapped();
  await bothOf(recorded, { policy }, { policy });
  const again = tapped();
  const refused = outcomeOf(sideOf("dialler", again.dialler, { policy }));
  for (const bytes of recorded.written.listener) await again.listener.write(bytes);
  await readToEnd(again.listener);
  again.listener.close();
  assert.equal((await refused).words, "authentication_failed here");
});

Deno.test("hmac() refuses its own hello and its own proof, reflected", async () => {
  for (const isRelabelled of [false, true]) {
    const tap = tapped();
    const refused = outcomeOf(sideOf("dialler", tap.dialler, { policy, calls: null }));
    const hello = await readExactly(tap.listener, HELLO_FRAME_BYTES);
    const parsed = parseHello(hello.slice(16));
    const relabelled = encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello({ ...parsed, role: "listener" }));
    await tap.listener.write(isRelabelled ? relabelled : hello);
    const answer = await readToEnd(tap.listener);
    tap.listener.close();
    assert.equal((await refused).words, "role_mismatch here");
    assert.equal(refusalIn(answer), "role_mismatch");
  }
});

Deno.test("hmac() refuses a listener that has no secret and gives the dialler its own proof back", async () => {
  const tap = tapped();
  const refused = outcomeOf(sideOf("dialler", tap.dialler, { policy }));
  const hello = parseHello((await readExactly(tap.listener, HELLO_FRAME_BYTES)).slice(16));
  const own: Hello = {
    ...hello,
    role: "listener",
    serves: hello.calls,
    calls: null,
    nonce: new Uint8Array(32).fill(1),
  };
  await tap.listener.write(encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello(own)));
  await tap.listener.write(await readExactly(tap.listener, PROOF_FRAME_BYTES));
  await readToEnd(tap.listener);
  tap.listener.close();
  assert.equal((await refused).words, "authentication_failed here");
});

Deno.test("a listener's hello gives a stranger nothing to dial the same listener with", async () => {
  const first = tapped();
  const waiting = outcomeOf(sideOf("listener", first.listener, { policy }));
  await first.dialler.write(
    encodeHandshakeFrame(
      FRAME_KINDS.hello,
      encodeHello({ ...strangersHello(), calls: math.hash }),
    ),
  );
  const listenersHello = await readExactly(first.dialler, HELLO_FRAME_BYTES);
  const second = tapped();
  const refused = outcomeOf(sideOf("listener", second.listener, { policy }));
  await second.dialler.write(listenersHello);
  assert.equal(refusalIn(await readToEnd(second.dialler)), "role_mismatch");
  second.dialler.close();
  assert.equal((await refused).words, "role_mismatch here");
  first.dialler.close();
  assert.equal((await waiting).words, "lost there");
});

for (const weaker of ["none", "version-only"] as const) {
  Deno.test(`hmac() is not talked down to ${weaker}, whoever changes the hellos`, async () => {
    const down = changingHellos(() => ({ mode: weaker }));
    const { words } = await bothOf(tapped({ change: down }), { policy }, { policy });
    assert.deepEqual(words, { dialler: "handshake_mismatch there", listener: "handshake_mismatch here" });
  });

  Deno.test(`hmac() is not talked down to ${weaker} by a listener that demands nothing`, async () => {
    const down = changingHellos(() => ({ mode: weaker }));
    const tap = tapped({
      change: (from, bytes, index) => from === "dialler" ? down(from, bytes, index) : bytes,
    });
    const [dialler, told] = await Promise.all([
      outcomeOf(sideOf("dialler", tap.dialler, { policy })),
      shakeHands(sideOf("listener", tap.listener, { policy: { ...noHandshake(), mode: weaker } })).then(
        async ({ connection }) => {
          const bytes = await readToEnd(connection);
          connection.close();
          return bytes;
        },
      ),
    ]);
    assert.equal(dialler.words, "handshake_mismatch here");
    assert.equal(refusalIn(told), "handshake_mismatch");
  });
}

Deno.test("hmac() refuses a proof in which one bit was changed, on both sides", async () => {
  const flip: Change = (from, bytes) => {
    if (from === "dialler" && isProof(bytes)) bytes[40] = (bytes[40] ?? 0) ^ 1;
    return bytes;
  };
  const { words } = await bothOf(tapped({ change: flip }), { policy }, { policy });
  assert.deepEqual(words, { dialler: "authentication_failed there", listener: "authentication_failed here" });
});

Deno.test("hmac() never has a dialler accepted when any one bit of the dialogue was changed on the way", async () => {
  const limits = { ...DEFAULT_LIMITS, handshakeTimeoutMs: 50 };
  const sides = [{ policy, limits, timers: systemTimers }, { policy, limits, timers: systemTimers }] as const;
  const whole = tapped();
  assert.equal((await bothOf(whole, ...sides)).words.dialler, "accepted");
  let changed = 0;
  for (const role of ["dialler", "listener"] as const) {
    for (const [index, bytes] of whole.written[role].entries()) {
      for (let at = 0; at < bytes.length; at++) {
        const flip: Change = (from, bytes, write) => {
          if (from === role && write === index) bytes[at] = (bytes[at] ?? 0) ^ (1 << at % 8);
          return bytes;
        };
        const tap = tapped({ change: flip });
        const [dialler] = await Promise.all([
          outcomeOf(sideOf("dialler", tap.dialler, sides[0])).finally(() => tap.dialler.close()),
          // Accepted on this side only, it hears of the refusal as a peer would.
          outcomeOf(sideOf("listener", tap.listener, sides[1])).then(() => readToEnd(tap.listener))
            .finally(() => tap.listener.close()),
        ]);
        assert.notEqual(dialler.words, "accepted", `byte ${at} of write ${index} of the ${role}`);
        changed++;
      }
    }
  }
  assert.ok(changed > 2 * (HELLO_FRAME_BYTES + PROOF_FRAME_BYTES), String(changed));
});

Deno.test("hmac() tells a listener whose proof was changed on the way, in a record that only it can open", async () => {
  const tap = tapped({
    change: (from, bytes) => {
      if (from === "listener" && isProof(bytes)) bytes[40] = (bytes[40] ?? 0) ^ 1;
      return bytes;
    },
  });
  const [dialler, listener] = await Promise.all([
    outcomeOf(sideOf("dialler", tap.dialler, { policy })),
    shakeHands(sideOf("listener", tap.listener, { policy })).then(async ({ connection }) => {
      const told = await readToEnd(connection);
      connection.close();
      return told;
    }),
  ]);
  assert.equal(dialler.words, "authentication_failed here");
  assert.equal(refusalIn(listener), "authentication_failed");
  assert.equal(refusalIn(tap.written.dialler.at(-1) ?? new Uint8Array()), undefined);
});

Deno.test("hmac() tells of a place that is taken in a record, where nobody else can say it", async () => {
  const tap = tapped();
  const { words } = await bothOf(tap, { policy }, { policy, admit: () => Promise.resolve("taken") });
  assert.deepEqual(words, { dialler: "taken there", listener: "taken here" });
  const plain = tap.written.listener.filter((bytes) => isHello(bytes) || isProof(bytes));
  assert.equal(plain.length, 2);
  assert.ok(tap.written.listener.every((bytes) => refusalIn(bytes) === undefined));
});

for (const role of ["dialler", "listener"] as const) {
  Deno.test(`bytes injected into a sealed connection behind the ${role}'s handshake are tampering`, async () => {
    const tap = tapped();
    const [dialled, listened] = await Promise.all([
      shakeHands(sideOf("dialler", tap.dialler, { policy })),
      shakeHands(sideOf("listener", tap.listener, { policy })),
    ]);
    const [raw, reader] = role === "dialler" ? [tap.dialler, listened] : [tap.listener, dialled];
    await raw.write(encodeHandshakeFrame(FRAME_KINDS.close, new Uint8Array(0)));
    await assert.rejects(
      reader.connection.read(new Uint8Array(16)),
      (error: unknown) => error instanceof TransportError && error.code === "tampered",
    );
    dialled.connection.close();
    listened.connection.close();
  });
}

for (
  const injected of [
    ["an accept frame in the clear", encodeHandshakeFrame(FRAME_KINDS.accept, new Uint8Array(0))],
    ["a refusal in the clear", encodeHandshakeFrame(FRAME_KINDS.close, new Uint8Array(0), 42)],
  ] as const
) {
  Deno.test(`hmac() takes ${injected[0]} in place of the sealed one for tampering`, async () => {
    const tap = tapped({
      change: (from, bytes) =>
        from === "listener" && !isHello(bytes) && !isProof(bytes) ? injected[1] : bytes,
    });
    const { words } = await bothOf(tap, { policy }, { policy });
    assert.equal(words.dialler, "tampered here");
  });
}

function strangersHello(): Hello {
  return {
    mode: "hmac",
    role: "dialler",
    confidential: false,
    told: { maxBodyBytes: 1, maxConcurrentCalls: 1, streamWindowBytes: 1 },
    codecId: "json",
    serves: null,
    calls: null,
    service: "",
    applicationVersion: "",
    nonce: new Uint8Array(32).fill(9),
  };
}

/** The keys of a handshake that was listened to, by who knows the secret. */
function keysOf(tap: Tap): readonly Uint8Array[] {
  const [dialler, listener] = [tap.written.dialler[0], tap.written.listener[0]];
  if (dialler === undefined || listener === undefined || !isHello(listener)) return [];
  const { sending, receiving } = new SharedSecret(SECRET).keys("dialler", transcriptOf(dialler, listener));
  return [sending, receiving];
}

/** Ways in which bytes may stand in a text. */
function formsOf(bytes: Uint8Array): readonly string[] {
  const { buffer, byteOffset, length } = bytes;
  const base64 = new Uint8Array(buffer, byteOffset, length).toBase64().replace(/.?=*$/, "");
  return [bytes.toHex(), bytes.toHex().toUpperCase(), base64, bytes.join(", "), bytes.join(",")];
}

function indexOf(bytes: Uint8Array, wanted: Uint8Array): number {
  for (let at = 0; at + wanted.length <= bytes.length; at++) {
    if (wanted.every((byte, offset) => bytes[at + offset] === byte)) return at;
  }
  return -1;
}
