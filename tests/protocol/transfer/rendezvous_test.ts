import assert from "node:assert/strict";
import { generateCode, type TransferCode } from "../../../src/protocol/transfer/code.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { codeIdentifier, resumeIdentifier } from "../../../src/protocol/transfer/identifier.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import type { Rendezvous } from "../../../src/protocol/transfer/pairing.ts";
import { type Dial, HANG_UP_MS, MAX_DIAL_MS } from "../../../src/protocol/transfer/rendezvous.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";
import { refused } from "./memory_relay.ts";
import { assertFailed, assertMet, Place, type Seeker } from "./rendezvous_place.ts";

Deno.test("meet() finds the other side whoever comes first", async () => {
  for (const [first, second] of [["sender", "receiver"], ["receiver", "sender"]] as const) {
    const place = new Place();
    const a = place.seek(first);
    await place.clock.pass(5_000);
    const b = place.seek(second);
    await place.ended();
    assertMet(a, b);
    assert.deepEqual([a.told, b.told], [["waiting"], []]);
    assert.deepEqual(a.book.lines.map(({ act }) => act), ["spend", "proven"]);
    assert.deepEqual(b.book.lines, a.book.lines);
    assert.deepEqual([a.endedMs, b.endedMs], [5_000, 5_000], "it takes no time of the clock");
    place.assertNothingLeft();
  }
});

Deno.test("meet() renews the connection that waits each 20 seconds, and closes the old one first", async () => {
  const place = new Place();
  const sender = place.seek("sender");
  await place.clock.pass(70_000);
  assert.deepEqual(place.times("sender"), [
    [0, 20_000],
    [20_000, 40_000],
    [40_000, 60_000],
    [60_000, null],
  ]);
  assert.equal(place.relay.parked, 1, "the relay never holds two, or would pair it with itself");
  assert.deepEqual(sender.told, ["waiting"]);
  const receiver = place.seek("receiver");
  await place.ended();
  assertMet(sender, receiver);
  place.assertNothingLeft();
});

Deno.test("meet() hangs up on its own role and redials after 0 to 2 seconds, which is no guess", async () => {
  const place = new Place();
  const senders = [place.seek("sender", { who: "a" }), place.seek("sender", { who: "b" })];
  await place.clock.pass(60_000);
  const receiver = place.seek("receiver");
  await place.clock.settle([receiver.found, Promise.race(senders.map(({ found }) => found))], 60_000);
  const dials = place.relay.traces.filter(({ who }) => who !== "receiver");
  assert(dials.length > 4, `they have met ${dials.length} times`);
  const pauses = ["a", "b"].flatMap((who) => {
    const times = place.times(who);
    return times.slice(1).map(([openedMs], index) => openedMs - (times[index]?.[1] ?? NaN));
  });
  for (const pauseMs of pauses) assert(pauseMs >= 0 && pauseMs <= 2_000, `a pause of ${pauseMs} ms`);
  assert(new Set(pauses).size > 3, "random");
  const [met] = senders.filter((each) => each.met !== null);
  assert(met !== undefined);
  assertMet(met, receiver);
  assert.equal(senders[0]!.book.spent + senders[1]!.book.spent, 1, "only the right one counts");
  for (const { stop } of senders) stop.abort(new Error("enough"));
  await place.ended();
  place.assertNothingLeft();
});

Deno.test("meet() hangs up on its own instance in the other role", async () => {
  const place = new Place();
  const instance = place.dice.bytes(16);
  const sender = place.seek("sender", { instance }), mirror = place.seek("receiver", { instance });
  await place.clock.pass(30_000);
  assert(place.relay.traces.length > 10);
  assert.deepEqual([sender.book.spent, mirror.book.spent], [0, 0]);
  for (const { stop } of place.seekers) stop.abort(new Error("enough"));
  await place.ended();
  place.assertNothingLeft();
});

Deno.test("meet() ends with absent when nobody comes in time, at that time", async () => {
  const place = new Place();
  const sender = place.seek("sender", { waitMs: 50_000 });
  await place.ended();
  assertFailed(sender, "absent");
  assert.equal(sender.endedMs, 50_000);
  assert.deepEqual(place.times("sender").map(([openedMs]) => openedMs), [0, 20_000, 40_000]);
  place.assertNothingLeft();
});

Deno.test("meet() ends with unreachable when the relay was out of reach for all of the grace time", async () => {
  const place = new Place({ dialled: () => Promise.reject(refused()) });
  let dials = 0;
  const dial: Dial = () => (dials++, Promise.reject(refused()));
  const sender = place.seek("sender", { dial });
  await place.ended();
  const error = assertFailed(sender, "unreachable");
  assert.match(error.message, /^cannot use the relay: could not connect: nobody listens there$/);
  assert.equal(sender.endedMs, 120_000);
  assert.deepEqual(sender.told, ["unreachable"], "told once");
  // 0.5 to 5 s each, so more than 24 and fewer than 240; the mean is 2.75 s once it has grown.
  assert(dials > 24 && dials < 80, `${dials} dials`);
  place.assertNothingLeft();
});

Deno.test("meet() begins a new grace time after the relay was reached", async () => {
  const place = new Place();
  const { clock } = place;
  const through = place.relay.dialFor("sender");
  let isUp = false;
  const dial: Dial = (signal) => isUp ? through(signal) : Promise.reject(refused());
  const sender = place.seek("sender", { dial });
  await clock.pass(100_000);
  isUp = true;
  await clock.pass(10_000);
  isUp = false;
  await clock.pass(120_000);
  assert.equal(sender.endedMs, -1, "its connection was renewed at the earliest after 20 s");
  isUp = true;
  await clock.pass(6_000);
  const receiver = place.seek("receiver");
  await place.ended();
  assertMet(sender, receiver);
  assert.deepEqual(sender.told, ["unreachable", "waiting", "unreachable", "waiting"]);
  place.assertNothingLeft();
});

Deno.test("meet() takes a relay that hangs up at once for one that is full", async () => {
  const place = new Place({ arrived: (end) => (end.connection.close(), true) });
  const sender = place.seek("sender");
  await place.ended();
  assert.match(assertFailed(sender, "unreachable").message, /full/);
  assert.equal(sender.endedMs, 120_000);
  assert(place.relay.traces.length < 80, `${place.relay.traces.length} dials`);
  place.assertNothingLeft();
});

Deno.test("meet() takes what answers without a hello for no relay, tries it for the grace time, and guesses nothing", async () => {
  for (const rendezvous of [undefined, { kind: "resume", secret: new Uint8Array(32).fill(7) }] as const) {
    const banner = new TextEncoder().encode("SSH-2.0-OpenSSH_9.2p1\r\n");
    const place = new Place({ arrived: (end) => (end.connection.write(banner).catch(() => {}), true) });
    const sender = place.seek("sender", rendezvous === undefined ? {} : { rendezvous });
    await place.ended();
    assert.equal(
      assertFailed(sender, "unreachable").message,
      "cannot use the relay: what answers at the relay's address is no Postern relay",
    );
    assert.equal(sender.endedMs, 120_000);
    assert.deepEqual([sender.told, sender.book.lines], [["unreachable"], []], "told once, and no guess");
    assert(place.relay.traces.length < 80, `${place.relay.traces.length} dials`);
    place.assertNothingLeft();
  }
});

Deno.test("meet() finds the other side behind a relay that was something else for a while", async () => {
  let isOther = true;
  const place = new Place({
    arrived: (end) => isOther && (end.connection.write(new Uint8Array(64)).catch(() => {}), true),
  });
  const sender = place.seek("sender");
  await place.clock.pass(60_000);
  isOther = false;
  await place.clock.pass(10_000);
  const receiver = place.seek("receiver");
  await place.ended();
  assertMet(sender, receiver);
  assert.deepEqual(sender.told, ["unreachable", "waiting"]);
  place.assertNothingLeft();
});

Deno.test("meet() takes a relay that hangs up later for one that was reached", async () => {
  const place = new Place({
    arrived(end): boolean {
      place.clock.later(HANG_UP_MS, () => end.connection.close());
      return true;
    },
  });
  const sender = place.seek("sender", { waitMs: 300_000 });
  await place.ended();
  assertFailed(sender, "absent");
  assert(place.relay.traces.length > 60 && place.relay.traces.length < 160);
  place.assertNothingLeft();
});

Deno.test("meet() gives a dialling 10 seconds, and closes a connection that comes later", async () => {
  const place = new Place();
  const [late, other] = memoryPair();
  const signals: AbortSignal[] = [];
  const arrives = Promise.withResolvers<Connection>();
  const dial: Dial = (signal) => (signals.push(signal), arrives.promise);
  const sender = place.seek("sender", { dial, graceMs: 0 });
  await place.clock.pass(MAX_DIAL_MS);
  assertFailed(sender, "unreachable");
  assert.deepEqual(signals.map(({ aborted }) => aborted), [true]);
  arrives.resolve(late);
  assert.equal(await other.read(new Uint8Array(1)), null);
  place.assertNothingLeft();
});

Deno.test("meet() tells why the relay was out of reach, and not that the last try had little time", async () => {
  const place = new Place();
  let dials = 0;
  const dial: Dial = () => dials++ === 0 ? Promise.reject(refused()) : new Promise(() => {});
  const sender = place.seek("sender", { dial, graceMs: 3_000 });
  await place.ended();
  assert.equal(dials, 2);
  assert.match(assertFailed(sender, "unreachable").message, /nobody listens there$/);
  place.assertNothingLeft();
});

Deno.test("meet() does not dial again what will always fail", async () => {
  for (
    const failure of [
      new TransportError("permission", "cannot connect: net access is needed"),
      new TransportError("address", "cannot connect: no such form"),
      new TransportError("unsupported", "cannot connect: not on this system"),
      new TypeError("no"),
    ]
  ) {
    const place = new Place();
    const sender = place.seek("sender", {
      dial: () => {
        throw failure;
      },
    });
    await place.ended();
    assert.equal(assertFailed(sender, "unreachable").cause, failure);
    assert.deepEqual([sender.endedMs, sender.told], [0, []]);
    place.assertNothingLeft();
  }
});

Deno.test("meet() ends with mismatch on both sides after one wrong code, and tells both the same", async () => {
  const place = new Place();
  const sender = place.seek("sender"), receiver = place.seek("receiver", { code: otherWords(place) });
  await place.ended();
  for (const side of [sender, receiver]) {
    const error = assertFailed(side, "mismatch");
    assert.equal(error.message, "the code does not match (typing error, or someone tried to guess)");
    assert.deepEqual(side.book.lines.map(({ act }) => act), ["spend"]);
  }
  assert.equal(place.relay.traces.length, 2, "never tried again");
  place.assertNothingLeft();
});

Deno.test("meet() does not end for a resumed pairing with a wrong secret, and spends nothing", async () => {
  const place = new Place();
  const secret = place.dice.bytes(32);
  const rendezvous: Rendezvous = { kind: "resume", secret };
  const sender = place.seek("sender", { rendezvous });
  const stranger: Dial = (signal) => place.relay.dialFor("stranger")(signal).then(lying);
  // It knows the identifier, which the relay does too, and not the secret.
  const liar = place.seek("receiver", { rendezvous, dial: stranger });
  await place.clock.pass(30_000);
  assert(place.relay.traces.length > 6);
  liar.stop.abort(new Error("enough"));
  const receiver = place.seek("receiver", { rendezvous });
  await place.clock.settle([sender.found, receiver.found], 30_000);
  assertMet(sender, receiver);
  assert.deepEqual([sender.book.lines, receiver.book.lines], [[], []]);
  await place.ended();
  place.assertNothingLeft();
});

/** Says, once, what somebody of another version would. */
async function sayOtherVersion(place: Place, identifier: Uint8Array, mode: number): Promise<Connection> {
  const other = await place.relay.dialFor("receiver")(new AbortController().signal);
  await other.write(identifier);
  await other.write(
    new Uint8Array([...new TextEncoder().encode("PSTN"), 2, mode, 2, ...place.dice.bytes(80)]),
  );
  return other;
}

Deno.test("meet() ends with version when the other side of a code speaks another one", async () => {
  const place = new Place();
  const sender = place.seek("sender");
  await place.clock.pass(1_000);
  const other = await sayOtherVersion(place, codeIdentifier(place.code.nameplate), 1);
  await place.ended();
  assertFailed(sender, "version");
  assert.equal(sender.book.spent, 0);
  other.close();
  place.assertNothingLeft();
});

Deno.test("meet() goes on after another version when resumed, and tells of it if nobody else comes", async () => {
  const place = new Place();
  const secret = place.dice.bytes(32);
  const rendezvous: Rendezvous = { kind: "resume", secret };
  const lucky = place.seek("sender", { rendezvous });
  await place.clock.pass(1_000);
  const other = await sayOtherVersion(place, resumeIdentifier(secret), 2);
  await place.clock.pass(5_000);
  const receiver = place.seek("receiver", { rendezvous });
  await place.ended();
  assertMet(lucky, receiver);
  const unlucky = place.seek("sender", { rendezvous, waitMs: 50_000 });
  await place.clock.pass(1_000);
  const another = await sayOtherVersion(place, resumeIdentifier(secret), 2);
  await place.ended();
  assertFailed(unlucky, "version");
  assert(unlucky.endedMs > 50_000);
  other.close();
  another.close();
  place.assertNothingLeft();
});

Deno.test("meet() passes on what the memory throws, and says nothing that could be a guess", async () => {
  const place = new Place();
  const full = new TransferError("storage", "cannot write");
  const memory: PairingMemory = { spend: () => Promise.reject(full), proven: () => Promise.resolve() };
  const sender = place.seek("sender"), receiver = place.seek("receiver", { memory });
  await place.clock.settle([receiver.found], 10_000);
  assert.equal(receiver.error, full);
  assert.equal(place.relay.traces[1]?.writtenBytes, 33 + 56, "identifier and hello");
  assert.equal(sender.book.spent, 0);
  sender.stop.abort(new Error("enough"));
  await place.ended();
  place.assertNothingLeft();
});

Deno.test("meet() ends at once by its signal, wherever it is, and leaves nothing", async () => {
  const stages: Record<string, (place: Place) => Promise<Seeker>> = {
    "before it began": (place) => {
      const seeker = place.seek("sender");
      return Promise.resolve(seeker);
    },
    dialling: async (place) => {
      const seeker = place.seek("sender", { dial: () => new Promise(() => {}) });
      await place.clock.pass(3_000);
      return seeker;
    },
    waiting: async (place) => {
      const seeker = place.seek("sender");
      await place.clock.pass(3_000);
      return seeker;
    },
    "in a pause": async (place) => {
      const seeker = place.seek("sender", { dial: () => Promise.reject(refused()) });
      await place.clock.pass(60_000);
      return seeker;
    },
    "in a pairing": async (place) => {
      const seeker = place.seek("receiver", {
        memory: { spend: () => place.clock.pause(5_000), proven: () => Promise.resolve() },
      });
      place.seek("sender");
      await place.clock.pass(2_000);
      return seeker;
    },
  };
  for (const [stage, reach] of Object.entries(stages)) {
    const place = new Place();
    const seeker = await reach(place);
    const reason = new Error(stage);
    for (const { stop } of place.seekers) stop.abort(reason);
    await place.ended(5_000);
    assert.equal(seeker.error, reason, stage);
    place.assertNothingLeft();
  }
});

/** The same nameplate, other words. */
function otherWords({ code, dice }: Place): TransferCode {
  const { words } = generateCode(dice.bytes);
  return { nameplate: code.nameplate, words, text: [code.nameplate, ...words].join("-") };
}

/** A side whose confirmation is wrong: one bit of each longer write is flipped behind identifier and hello. */
function lying(inner: Connection): Connection {
  let writes = 0;
  return {
    transport: inner.transport,
    remoteAddress: null,
    localAddress: null,
    confidential: false,
    read: (buffer) => inner.read(buffer),
    write(bytes): Promise<void> {
      const copy = bytes.slice();
      if (++writes === 2) copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
      return inner.write(copy);
    },
    closeWrite: () => inner.closeWrite(),
    close: () => inner.close(),
  };
}
