/** dialLink() and acceptLink() against whoever is not who they say, in front of them or in between. */
import assert from "node:assert/strict";
import { joinBytes, u16, u32, u8 } from "../../../src/protocol/manage/byte_fields.ts";
import { encodeControlOpen } from "../../../src/protocol/manage/control_flow.ts";
import { encodeFrame, FRAME_HEADER_BYTES, FRAME_TYPES } from "../../../src/protocol/manage/frame.ts";
import { DIAL_TIMEOUT_MS } from "../../../src/protocol/manage/link_handshake.ts";
import { encodeHello, HELLO_BYTES, proofBytes } from "../../../src/protocol/manage/link_hello.ts";
import { RESET_CODES, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { until } from "../../e2e/until.ts";
import { FakeTimers, settled } from "../rpc/fake_timers.ts";
import {
  accept,
  answerHello,
  dial,
  otherCertificate,
  proofOf,
  refusedAs,
  sayHello,
  type ScriptedServerOptions,
  ScriptedSide,
  secret,
} from "./link_sides.ts";
import {
  type Bytes,
  flipped,
  hex,
  hostKey,
  KEYS_OF_NOBODY,
  serverKey,
  strangerKey,
} from "./manage_identities.ts";

const HELLO_FRAME_BYTES = FRAME_HEADER_BYTES + HELLO_BYTES;
const onOpen = (): void => {};

// Servers that are not the one that was joined.

const impostors: readonly (readonly [string, ScriptedServerOptions])[] = [
  ["that has another key", { key: strangerKey.publicKey, signer: strangerKey }],
  ["that has the pinned key in its hello but cannot sign with it", { signer: strangerKey }],
  ["that has shown another certificate in TLS", { certificate: otherCertificate }],
];
for (const [name, options] of impostors) {
  for (const kind of ["link", "join"] as const) {
    Deno.test(`dialLink() refuses a server ${name} before it says more than its hello (${kind})`, async () => {
      const [here, there] = memoryPair(), server = new ScriptedSide(there);
      const dialled = dial(here, { kind });
      const { hello } = await answerHello(server, options);
      await assert.rejects(dialled, refusedAs("authentication", "here"));
      const all = joinBytes(hello, await server.hearAll());
      assert.equal(all.length, HELLO_FRAME_BYTES);
      assert(!all.toHex().includes(secret.toHex()));
    });
  }
}

Deno.test("dialLink() refuses a key that anybody can sign for, also where it was talked into pinning it", async () => {
  for (const key of KEYS_OF_NOBODY) {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here, { serverKey: hex(key) });
    await server.hearFrame();
    const hello = joinBytes(u8(1), u8(1), u8(0), systemRandomBytes(32), hex(key));
    const forged = new Uint8Array(64);
    forged[0] = 1;
    await server.say(encodeFrame(FRAME_TYPES.hello, 0, hello), encodeFrame(FRAME_TYPES.prove, 0, forged));
    await assert.rejects(dialled, refusedAs("malformed", "here"));
    assert.equal((await server.hearAll()).length, 0);
  }
});

Deno.test("dialLink() refuses the answer that a server gave to another dialler, and one given to itself before", async () => {
  const [first, firstThere] = memoryPair(), recorded = new ScriptedSide(firstThere);
  const before = dial(first);
  const { answer } = await answerHello(recorded);
  await recorded.hearFrame();
  firstThere.close();
  await assert.rejects(before, refusedAs("lost"));

  const [here, there] = memoryPair(), server = new ScriptedSide(there);
  const dialled = dial(here);
  await server.hearFrame();
  await server.say(answer);
  await assert.rejects(dialled, refusedAs("authentication", "here"));
  assert.equal((await server.hearAll()).length, 0);
});

Deno.test("dialLink() refuses its own hello, a hello of another kind, and its own nonce", async () => {
  {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here);
    await server.say((await server.hearFrame()).bytes);
    await assert.rejects(dialled, refusedAs("malformed", "here"));
    await server.hearAll();
  }
  {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here, { kind: "join" });
    await server.hearFrame();
    const hello = encodeHello({
      kind: "link",
      role: "server",
      nonce: systemRandomBytes(32),
      key: serverKey.publicKey,
    });
    await server.say(encodeFrame(FRAME_TYPES.hello, 0, hello));
    await assert.rejects(dialled, refusedAs("malformed", "here"));
    await server.hearAll();
  }
  const nonce = new Uint8Array(32).fill(4);
  const [here, there] = memoryPair(), server = new ScriptedSide(there);
  const dialled = dial(here, { random: () => nonce });
  await answerHello(server, { nonce });
  await assert.rejects(dialled, refusedAs("authentication", "here"));
  assert.equal((await server.hearAll()).length, 0);
});

Deno.test("dialLink() refuses a server that says nothing but hello, or says something else in between", async () => {
  {
    // A reset of a flow that there is not is none of the link.
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here);
    await server.hearFrame();
    await server.say(encodeFrame(FRAME_TYPES.reset, 0x80, u16(RESET_CODES.shutting_down)));
    await assert.rejects(dialled, refusedAs("malformed", "here"));
    assert.equal((await server.hearAll()).length, 0);
  }
  for (
    const type of [FRAME_TYPES.heartbeat, FRAME_TYPES.prove, FRAME_TYPES.hello, FRAME_TYPES.open] as const
  ) {
    const [here, there] = memoryPair(), server = new ScriptedSide(there);
    const dialled = dial(here, { kind: "join" });
    await server.hearFrame();
    const isOpen = type === FRAME_TYPES.open, isEmpty = type === FRAME_TYPES.heartbeat;
    await server.say(encodeFrame(type, isOpen ? 0x80 : 0, new Uint8Array(isEmpty ? 0 : isOpen ? 10 : 64)));
    // A hello of zeros is one of version 0.
    await assert.rejects(dialled, refusedAs(type === FRAME_TYPES.hello ? "version" : "malformed", "here"));
    assert.equal((await server.hearAll()).length, 0);
  }
});

// Diallers that are not who they say.

Deno.test("acceptLink() refuses a dialler that cannot sign with its key, and tells it no more than that", async () => {
  for (const joinSecret of [null, secret]) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = assert.rejects(
      accept(here, { timers: new FakeTimers() }),
      refusedAs("authentication", "here"),
    );
    const { transcript } = await sayHello(dialler, { kind: joinSecret === null ? "link" : "join" });
    await dialler.say(await proofOf(transcript, strangerKey, joinSecret));
    assert.deepEqual(await dialler.hearReset(), {
      code: "authentication",
      text: "the proof of the key is wrong",
    });
    // The end comes at once, not when its time is over.
    assert.equal((await dialler.hearAll()).length, 0);
    there.close();
    await accepted;
  }
});

Deno.test("acceptLink() refuses hello and proof of another connection, and those of another server's", async () => {
  const [first, firstThere] = memoryPair(), recorded = new ScriptedSide(firstThere);
  const honest = dial(first);
  const { hello } = await answerHello(recorded);
  const { bytes: proof } = await recorded.hearFrame();
  firstThere.close();
  await assert.rejects(honest);

  const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = assert.rejects(accept(here), refusedAs("authentication", "here"));
  await dialler.say(hello);
  await dialler.hearFrame();
  await dialler.hearFrame();
  await dialler.say(proof);
  assert.equal((await dialler.hearReset()).code, "authentication");
  there.close();
  await accepted;
});

Deno.test("acceptLink() refuses its own proof, sent back to it with its own key", async () => {
  const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = assert.rejects(accept(here), refusedAs("authentication", "here"));
  const { answer } = await sayHello(dialler, { key: serverKey.publicKey });
  await dialler.say(encodeFrame(FRAME_TYPES.prove, 0, answer[1]?.data ?? new Uint8Array(64)));
  assert.equal((await dialler.hearReset()).code, "authentication");
  there.close();
  await accepted;
});

Deno.test("acceptLink() refuses a dialler that says it is a server, or what is no role or kind", async () => {
  for (const [kind, role] of [[1, 0], [1, 3], [0, 1], [3, 1]] as const) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = assert.rejects(accept(here), refusedAs("malformed", "here"));
    const hello = joinBytes(u8(1), u8(kind), u8(role), systemRandomBytes(32), hostKey.publicKey);
    await dialler.say(encodeFrame(FRAME_TYPES.hello, 0, hello));
    assert.equal((await dialler.hearReset()).code, "malformed");
    there.close();
    await accepted;
  }
});

Deno.test("acceptLink() refuses keys that anybody can sign for", async () => {
  for (const key of KEYS_OF_NOBODY) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = assert.rejects(accept(here), refusedAs("malformed", "here"));
    const hello = joinBytes(u8(1), u8(1), u8(1), systemRandomBytes(32), hex(key));
    await dialler.say(encodeFrame(FRAME_TYPES.hello, 0, hello));
    assert.equal((await dialler.hearReset()).code, "malformed");
    there.close();
    await accepted;
  }
});

Deno.test("acceptLink() refuses a join whose secret is another one than was signed for", async () => {
  const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = assert.rejects(accept(here), refusedAs("authentication", "here"));
  const { transcript } = await sayHello(dialler, { kind: "join" });
  const proof = await proofOf(transcript, hostKey, secret);
  await dialler.say(flipped(proof, (proof.length - 1) * 8));
  assert.equal((await dialler.hearReset()).code, "authentication");
  there.close();
  await accepted;
});

Deno.test("acceptLink() refuses a link's proof in a join and a join's in a link", async () => {
  for (const kind of ["link", "join"] as const) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = assert.rejects(accept(here), refusedAs("malformed", "here"));
    const { transcript } = await sayHello(dialler, { kind });
    await dialler.say(await proofOf(transcript, hostKey, kind === "join" ? null : secret));
    assert.equal((await dialler.hearReset()).code, "malformed");
    there.close();
    await accepted;
  }
});

// Somebody in between.

/** Carries frames both ways, changed or not, until one side ends; gives the bytes that went by. */
function inBetween(
  dialler: Connection,
  server: Connection,
  change: (from: "dialler" | "server", frame: number, bytes: Bytes) => Bytes = (_from, _frame, bytes) =>
    bytes,
): Promise<unknown> {
  async function carry(from: "dialler" | "server", source: Connection, target: Connection): Promise<void> {
    const side = new ScriptedSide(source);
    try {
      for (let frame = 0;; frame++) await target.write(change(from, frame, (await side.hearFrame()).bytes));
    } catch {
      // One of the two has hung up.
    }
    dialler.close();
    server.close();
  }
  return Promise.all([carry("dialler", dialler, server), carry("server", server, dialler)]);
}

Deno.test("somebody in between with a certificate of his own gets neither side to link, whoever looks", async () => {
  {
    const [dialler, left] = memoryPair(), [right, server] = memoryPair();
    const accepted = assert.rejects(accept(server), refusedAs("lost"));
    const between = inBetween(left, right);
    await assert.rejects(
      dial(dialler, { kind: "join", serverCertificate: otherCertificate }),
      refusedAs("authentication", "here"),
    );
    await Promise.all([accepted, between]);
  }
  // A dialler that does not look at the server's proof still proves nothing to the server.
  const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = assert.rejects(
    accept(here, { serverCertificate: otherCertificate }),
    refusedAs("authentication"),
  );
  const { transcript } = await sayHello(dialler);
  await dialler.say(await proofOf(transcript));
  await dialler.hearReset();
  there.close();
  await accepted;
});

const SAID: readonly (readonly [string, "dialler" | "server", number, number])[] = [
  ["the dialler's hello", "dialler", 0, HELLO_FRAME_BYTES],
  ["the server's hello", "server", 0, HELLO_FRAME_BYTES],
  ["the server's proof", "server", 1, FRAME_HEADER_BYTES + proofBytes("join", "server")],
  ["the dialler's proof", "dialler", 1, FRAME_HEADER_BYTES + proofBytes("join", "dialler")],
];
/** Of a frame: the length in its header. */
const LENGTH_BITS: ReadonlySet<number> = new Set(Array.from({ length: 16 }, (_, at) => 24 + at));
for (const [name, sayer, number, bytes] of SAID) {
  Deno.test(`no link comes of a join when any bit of ${name} is changed on its way`, async () => {
    // A step of 5 comes to every byte, and to each bit of some.
    for (let bit = 0; bit < bytes * 8; bit += 5) {
      const [dialler, left] = memoryPair(), [right, server] = memoryPair();
      let seen = 0;
      const between = inBetween(left, right, (from, frame, data) => {
        if (from !== sayer || frame !== number) return data;
        seen++;
        assert.equal(data.length, bytes);
        return flipped(data, bit);
      });
      const timers = new FakeTimers();
      const outcomes = Promise.allSettled([
        dial(dialler, { kind: "join", timers }),
        accept(server, { timers }),
      ]);
      if (LENGTH_BITS.has(bit)) {
        // Somebody waits for bytes that never come, and then for nobody.
        await until("the changed frame has passed", () => seen > 0, { pollMs: 1 });
        await settled();
        await timers.pass(DIAL_TIMEOUT_MS + 1_000);
      }
      const [dialled, accepted] = await outcomes;
      assert.deepEqual([seen, dialled.status, accepted.status], [1, "rejected", "rejected"], `bit ${bit}`);
      assert(dialled.status === "rejected" && dialled.reason instanceof ResetError, `bit ${bit}`);
      assert(accepted.status === "rejected" && accepted.reason instanceof ResetError, `bit ${bit}`);
      await between;
    }
  });
}

// Versions.

Deno.test("acceptLink() and dialLink() call another version by its name, of frames and of hellos", async () => {
  const ours = encodeHello({
    kind: "link",
    role: "host",
    nonce: systemRandomBytes(32),
    key: hostKey.publicKey,
  });
  const laterHello = joinBytes(u8(2), ours.subarray(1), new Uint8Array(40));
  const laterFrame = encodeFrame(FRAME_TYPES.hello, 0, ours);
  laterFrame[0] = 2;
  for (const said of [encodeFrame(FRAME_TYPES.hello, 0, laterHello), laterFrame]) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    const accepted = assert.rejects(accept(here), refusedAs("version", "here"));
    await dialler.say(said);
    const { code, text } = await dialler.hearReset();
    assert.equal(code, "version");
    assert.match(text, /found version 2.*, accepted is 1$/);
    there.close();
    await accepted;

    const [ourEnd, serverEnd] = memoryPair(), server = new ScriptedSide(serverEnd);
    const dialled = assert.rejects(dial(ourEnd), refusedAs("version", "here"));
    await server.hearFrame();
    await server.say(said);
    await dialled;
    await server.hearAll();
  }
});

// Time and size, before the proof.

for (const bytesSaid of [0, 3, 40, HELLO_FRAME_BYTES, HELLO_FRAME_BYTES + 20]) {
  Deno.test(`acceptLink() waits for all of it together, not again at each piece, of a dialler that stops at ${bytesSaid}`, async () => {
    const timers = new FakeTimers(), [here, there] = memoryPair(), dialler = new ScriptedSide(there);
    let hasEnded = false;
    const accepted = assert.rejects(accept(here, { timers, timeoutMs: 3_000 }), refusedAs("silent", "here"))
      .then(() => hasEnded = true);
    const hello = encodeHello({
      kind: "link",
      role: "host",
      nonce: systemRandomBytes(32),
      key: hostKey.publicKey,
    });
    const all = joinBytes(
      encodeFrame(FRAME_TYPES.hello, 0, hello),
      encodeFrame(FRAME_TYPES.prove, 0, new Uint8Array(64)),
    );
    const pieces = 10, pieceBytes = Math.ceil(bytesSaid / pieces);
    for (let at = 0; at < pieces; at++) {
      await dialler.say(all.subarray(0, bytesSaid).subarray(at * pieceBytes, (at + 1) * pieceBytes));
      await timers.pass(290);
    }
    await timers.pass(2_999 - pieces * 290);
    assert.equal(hasEnded, false);
    await timers.pass(1);
    assert.equal(hasEnded, true);
    await accepted;
    await dialler.hearAll();
    await assert.rejects(dialler.say(Uint8Array.of(1)));
    assert.equal(timers.pending, 0);
  });
}

Deno.test("dialLink() gives a server that says nothing, and one that does not answer its proof, 4 s for all", async () => {
  for (const answers of [false, true]) {
    const timers = new FakeTimers(), [here, there] = memoryPair(), server = new ScriptedSide(there);
    let hasEnded = false;
    const dialled = assert.rejects(dial(here, { timers }), refusedAs("silent", "here")).then(() =>
      hasEnded = true
    );
    await timers.pass(2_000);
    if (answers) await answerHello(server);
    await timers.pass(DIAL_TIMEOUT_MS - 2_001);
    assert.equal(hasEnded, false);
    await timers.pass(1_001);
    assert.equal(hasEnded, true);
    await dialled;
    assert.equal(timers.pending, 0);
    await server.hearAll();
  }
});

Deno.test("ProvenDialler.accept() does not wait for ever for the control flow", async () => {
  const timers = new FakeTimers(), [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = accept(here, { timers, timeoutMs: 3_000 });
  const { transcript } = await sayHello(dialler);
  await dialler.say(await proofOf(transcript));
  const taken = assert.rejects(
    (await accepted).accept({ name: "web1", onOpen }),
    refusedAs("silent", "here"),
  );
  await timers.pass(3_000);
  assert.equal((await dialler.hearReset()).code, "silent");
  there.close();
  await timers.pass(1_000);
  await taken;
  assert.equal(timers.pending, 0);
});

/** Counts what is read through it, and what had been read when something was written last. */
function counting(
  connection: Connection,
): { readonly connection: Connection; readBytes(): number; readBeforeWrite(): number } {
  let bytes = 0, bytesBeforeWrite = 0;
  return {
    readBytes: () => bytes,
    readBeforeWrite: () => bytesBeforeWrite,
    connection: {
      transport: connection.transport,
      remoteAddress: connection.remoteAddress,
      localAddress: connection.localAddress,
      confidential: connection.confidential,
      async read(buffer): Promise<number | null> {
        const count = await connection.read(buffer);
        bytes += count ?? 0;
        return count;
      },
      write(data): Promise<void> {
        bytesBeforeWrite = bytes;
        return connection.write(data);
      },
      closeWrite: () => connection.closeWrite(),
      close: () => connection.close(),
    },
  };
}

Deno.test("acceptLink() reads not one byte behind the proof, and looks at nothing but headers before it", async () => {
  const junk = new Uint8Array(60_000).fill(1);
  const hello = encodeFrame(
    FRAME_TYPES.hello,
    0,
    encodeHello({ kind: "link", role: "host", nonce: systemRandomBytes(32), key: hostKey.publicKey }),
  );
  // Behind the hello, in place of a proof: a header is enough.
  for (
    const behind of [
      junk,
      joinBytes(u8(1), u8(FRAME_TYPES.prove), u8(0), u16(0xffff), junk),
      joinBytes(u8(1), u8(FRAME_TYPES.hello), u8(0), u16(HELLO_BYTES), junk),
      encodeFrame(FRAME_TYPES.open, 1, joinBytes(u8(1), u32(1), encodeControlOpen("host"))),
    ]
  ) {
    const [here, there] = memoryPair(), dialler = new ScriptedSide(there), counted = counting(here);
    const accepted = assert.rejects(accept(counted.connection), refusedAs("malformed", "here"));
    await dialler.say(hello, behind);
    await dialler.hearFrame();
    await dialler.hearFrame();
    assert.equal((await dialler.hearReset()).code, "malformed");
    assert.equal(counted.readBeforeWrite(), HELLO_FRAME_BYTES + FRAME_HEADER_BYTES);
    there.close();
    await accepted;
    // After that it is only drained.
    assert(counted.readBytes() <= HELLO_FRAME_BYTES + FRAME_HEADER_BYTES + 64 * 1024);
  }
  // Behind the proof: the control flow and more, unread until the dialler is accepted.
  const [here, there] = memoryPair(), dialler = new ScriptedSide(there), counted = counting(here);
  const accepted = accept(counted.connection);
  const { transcript } = await sayHello(dialler);
  await dialler.say(await proofOf(transcript), junk);
  const proven = await accepted;
  await settled();
  assert.equal(counted.readBytes(), HELLO_FRAME_BYTES + FRAME_HEADER_BYTES + proofBytes("link", "dialler"));
  const refused = proven.refuse("exhausted", "no room");
  assert.equal((await dialler.hearReset()).code, "exhausted");
  there.close();
  await refused;
});

Deno.test("a dialler that is refused and sends on is cut off", async () => {
  const timers = new FakeTimers(), [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  const accepted = assert.rejects(accept(here, { timers }), refusedAs("malformed", "here"));
  await dialler.say(new Uint8Array(200_000).fill(1));
  await dialler.hearReset();
  await assert.rejects(async () => {
    for (let i = 0; i < 10; i++) await dialler.say(new Uint8Array(100_000));
  });
  await accepted;
  assert.equal(timers.pending, 0);
});

Deno.test("a dialler that is refused and neither reads nor hangs up is cut off after a second", async () => {
  const timers = new FakeTimers(), [here, there] = memoryPair(), dialler = new ScriptedSide(there);
  let hasEnded = false;
  const accepted = assert.rejects(accept(here, { timers }), refusedAs("version", "here")).then(() =>
    hasEnded = true
  );
  await dialler.say(new Uint8Array(5).fill(9));
  await timers.pass(999);
  assert.equal(hasEnded, false);
  await timers.pass(1);
  assert.equal(hasEnded, true);
  await accepted;
  await dialler.hearAll();
});
