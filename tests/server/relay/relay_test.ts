/** The relay with real sockets. Its time is moved by a clock of the test's own. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { EARLY_BYTES } from "../../../src/server/relay/caller.ts";
import { bindListener } from "../../../src/server/relay/listener.ts";
import { parseListenAddress } from "../../../src/server/knock/listen_address.ts";
import { describeError, Failure } from "../../../src/system/failure.ts";
import { until } from "../../e2e/until.ts";
import { identifierOf, pattern, Peer } from "./peer.ts";
import { RunningRelay } from "./running_relay.ts";

Deno.test("a relay pipes both ways what comes after the identifiers, and nothing else", async () => {
  await using relay = await RunningRelay.start();
  const [one, other] = await relay.pair("a");
  using _one = one, _other = other;
  await one.say("ping");
  await other.hears("ping");
  await other.say("pong");
  await one.hears("pong");
  await one.finish();
  await other.finish();
  assert.equal(await one.end(), "end");
  assert.equal(await other.end(), "end");
  await relay.stapled(0);
  assert.equal(relay.relay.snapshot().counts.bytes, 8);
});

Deno.test("a relay says no byte of its own to who arrives, who is parked, and who is sent away", async () => {
  await using relay = await RunningRelay.start({
    parked: { max: 1, timeMs: 300_000 },
    arriving: { timeMs: 10_000 },
  });
  using parked = await relay.park("a");
  using refused = await Peer.come(relay.address, "b");
  await refused.end();
  using silent = await Peer.connect(relay.address);
  await relay.arriving(1);
  relay.clock.pass(10_000);
  await silent.end();
  relay.clock.pass(290_000);
  await parked.end();
});

Deno.test("a relay delivers in order what was said before there was anybody to hear it", async () => {
  await using relay = await RunningRelay.start();
  using parked = await relay.park("a", "in one breath;");
  await parked.say(" a little later;");
  using arrived = await Peer.come(relay.address, "a", "and an answer");
  await arrived.hears("in one breath; a little later;");
  await parked.hears("and an answer");
  await parked.say("now");
  await arrived.hears("now");
});

Deno.test("a relay keeps what is said too early for its buffer in order, too, and holds the rest back", async () => {
  await using relay = await RunningRelay.start();
  using parked = await relay.park("a");
  const said = pattern(64 * EARLY_BYTES);
  const saying = parked.say(said);
  using arrived = await Peer.come(relay.address, "a");
  assert.deepEqual(await arrived.hear(said.length), said);
  await saying;
});

Deno.test("a relay takes an identifier that comes in pieces, with what follows in the same piece", async () => {
  await using relay = await RunningRelay.start();
  using waiting = await relay.park("a");
  using dripping = await Peer.connect(relay.address);
  dripping.connection.setNoDelay(true);
  const identifier = identifierOf("a");
  for (const byte of identifier.subarray(0, -1)) await dripping.say(new Uint8Array([byte]));
  await relay.arriving(1);
  await dripping.say(new Uint8Array([identifier.at(-1) ?? 0, ...new TextEncoder().encode("hello")]));
  await waiting.hears("hello");
});

Deno.test("a relay unparks whoever hangs up, also after early bytes, and staples nobody to a ghost", async () => {
  await using relay = await RunningRelay.start();
  for (const early of ["", "something"]) {
    const ghost = await relay.park("a", early);
    ghost.close();
    await relay.parked(0);
  }
  using parked = await relay.park("a");
  using arrived = await Peer.come(relay.address, "a");
  await parked.say("only me");
  await arrived.hears("only me");
});

Deno.test("a relay unparks at once whoever says no more; an answer could never be told from the past", async () => {
  await using relay = await RunningRelay.start();
  using parked = await relay.park("a");
  await parked.finish();
  assert.equal(await parked.end(), "end");
  await relay.parked(0);
});

Deno.test("a relay parks a third with the identifier of a pair, and the pair goes on undisturbed", async () => {
  await using relay = await RunningRelay.start();
  const [one, other] = await relay.pair("a");
  using _one = one, _other = other;
  using third = await relay.park("a", "let me in");
  await one.say("still us");
  await other.hears("still us");
  using fourth = await Peer.come(relay.address, "a");
  await fourth.hears("let me in");
  await fourth.say("come");
  await third.hears("come");
  await other.say("still us");
  await one.hears("still us");
});

for (const [who, first] of [["parked", 0], ["arrived", 1]] as const) {
  Deno.test(`a relay passes on the end of what was ${who} alone, while the other side talks on`, async () => {
    await using relay = await RunningRelay.start();
    const pair = await relay.pair("a");
    using ending = pair[first], going = pair[1 - first as 0 | 1];
    await ending.say("last words");
    await ending.finish();
    await going.hears("last words");
    assert.equal(await going.end(), "end");
    for (let n = 0; n < 3; n++) {
      await going.say("more");
      await ending.hears("more");
    }
    await relay.stapled(1);
    await going.finish();
    assert.equal(await ending.end(), "end");
    await relay.stapled(0);
  });
}

Deno.test("a relay ends the one side when the other one is lost, with all that had come for it", async () => {
  await using relay = await RunningRelay.start();
  const [lost, left] = await relay.pair("a");
  using _left = left;
  const said = pattern(100_000);
  await lost.say(said);
  // Something unread makes the close a reset.
  await left.say("unread");
  await relay.stapled(1);
  await until("it is there", () => relay.relay.snapshot().counts.bytes >= said.length + 6);
  lost.close();
  assert.deepEqual(await left.hear(said.length), said);
  assert.equal(await left.end(), "end");
  left.close();
  await relay.stapled(0);
});

Deno.test("a relay delivers last words to a side that still talks to somebody who has gone", async () => {
  await using relay = await RunningRelay.start();
  const [gone, talking] = await relay.pair("a");
  using _talking = talking;
  await gone.say("done");
  gone.close();
  // Each of these comes to a closed connection, which answers with a reset; none may cost the last words.
  const heartbeats = (async (): Promise<void> => {
    for (let n = 0; n < 20; n++) await talking.say("heartbeat");
  })().catch(() => {});
  await heartbeats;
  await talking.hears("done");
  assert.equal(await talking.end(), "end");
  talking.close();
  await relay.stapled(0);
});

Deno.test("a relay of 32 bytes takes 32, and pipes the rest", async () => {
  await using relay = await RunningRelay.start({ identifierBytes: 32 });
  using one = await Peer.connect(relay.address);
  await one.say(new Uint8Array([...identifierOf("a", 32), 1, 2, 3]));
  await relay.parked(1);
  using other = await Peer.connect(relay.address);
  await other.say(new Uint8Array([...identifierOf("a", 32), 4]));
  assert.deepEqual(await other.hear(3), new Uint8Array([1, 2, 3]));
  assert.deepEqual(await one.hear(1), new Uint8Array([4]));
});

Deno.test("stop() hangs up on everybody and lets go of the port", async () => {
  const relay = await RunningRelay.start();
  using arriving = await Peer.connect(relay.address);
  await relay.arriving(1);
  using parked = await relay.park("a");
  const [one, other] = await relay.pair("b");
  using _one = one, _other = other;
  await relay.relay.stop();
  for (const peer of [arriving, parked, one, other]) await peer.end();
  bindListener(parseListenAddress(relay.address) ?? assert.fail()).close();
});

for (const bytesPerSecond of [null, 1]) {
  const name = bytesPerSecond === null ? "" : ", nor for bytes that may not go yet";
  Deno.test(`stop() waits for nobody who reads nothing, is held back, or was lost${name}`, async () => {
    await using relay = await RunningRelay.start(bytesPerSecond === null ? {} : { bytesPerSecond });
    const [deaf, talking] = await relay.pair("deaf");
    const [lost, left] = await relay.pair("lost");
    const [arriving, parked] = [await Peer.connect(relay.address), await Peer.come(relay.address, "a")];
    const peers = [deaf, talking, lost, left, arriving, parked];
    // More than sockets take; it ends with its connection.
    const saying = [talking, left, parked].map((peer) => peer.say(pattern(20_000_000)).catch(() => {}));
    await relay.arriving(1);
    lost.close();
    await until("bytes move no more", async () => {
      const { bytes } = relay.relay.snapshot().counts;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return bytes > 0 && relay.relay.snapshot().counts.bytes === bytes;
    });
    const startMs = performance.now();
    await relay.relay.stop();
    // Less than the time to linger.
    assert(performance.now() - startMs < 2000);
    for (const peer of peers) peer.close();
    await Promise.all(saying);
  });
}

Deno.test("bindListener() names an address that is taken or is not there, and what to do", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const refusalOf = (bind: string): Failure => {
    try {
      bindListener(parseListenAddress(bind) ?? assert.fail()).close();
    } catch (error) {
      if (error instanceof Failure) return error;
      throw error;
    }
    assert.fail(`${bind} was bound`);
  };
  const inUse = refusalOf(`127.0.0.1:${taken.addr.port}`);
  assert.match(describeError(inUse), /^cannot listen on TCP 127\.0\.0\.1:\d+: Address already in use/);
  assert.equal(
    inUse.hint,
    `another program has the port; see which one with: ss -tlpn 'sport = :${taken.addr.port}'`,
  );
  assert.match(
    refusalOf("192.0.2.1:8080").hint ?? "",
    /192\.0\.2\.1 is no address of this machine: --bind \[::\]:8080/,
  );
});

/** What one side says, in pieces. */
const speech = fc.array(fc.nat({ max: 60_000 }), { maxLength: 12 });

/** One side of a conversation: an identifier in two pieces, then numbers that count on, and how far. */
class Speaker {
  #next: number;
  readonly #start: number;

  constructor(start: number) {
    this.#start = start;
    this.#next = start;
  }

  async say(peer: Peer, pieces: readonly number[]): Promise<void> {
    for (const words of pieces) {
      const at = this.#next;
      this.#next += words;
      await peer.say(pattern(words * WORD_BYTES, at));
    }
  }

  get said(): Uint8Array {
    return pattern((this.#next - this.#start) * WORD_BYTES, this.#start);
  }
}

const WORD_BYTES = 4;

Deno.test("a relay delivers any interleaving of writes, on both sides, identical", async () => {
  await using relay = await RunningRelay.start();
  let run = 0;
  const property = fc.asyncProperty(
    speech,
    speech,
    speech,
    fc.integer({ min: 1, max: 32 }),
    async (early, later, answer, splitBytes) => {
      const identifier = identifierOf(`run ${run++}`);
      using parked = await Peer.connect(relay.address);
      await parked.say(identifier);
      const one = new Speaker(1), other = new Speaker(1_000_000);
      // What does not fit into the relay's buffer waits for the other side.
      const speaking = one.say(parked, early);
      await relay.parked(1);
      using arrived = await Peer.connect(relay.address);
      await arrived.say(identifier.subarray(0, splitBytes));
      await arrived.say(identifier.subarray(splitBytes));
      const [heard, answered] = await Promise.all([
        arrived.hearAll(),
        parked.hearAll(),
        speaking.then(() => one.say(parked, later)).then(() => relay.stapled(1)).then(() => parked.finish()),
        other.say(arrived, answer).then(() => arrived.finish()),
      ]);
      assert.deepEqual(heard, one.said);
      assert.deepEqual(answered, other.said);
      await relay.stapled(0);
    },
  );
  const seed = Deno.env.get("POSTERN_SEED");
  await fc.assert(property, { numRuns: 40, ...(seed === undefined ? {} : { seed: Number(seed) }) });
});
