/** The limits of the relay with real sockets; time is moved by a clock of the test's own. */
import assert from "node:assert/strict";
import { ipv6Obstacle, unless } from "../../e2e/machine.ts";
import { until } from "../../e2e/until.ts";
import { identifierOf, pattern, Peer } from "./peer.ts";
import { RunningRelay } from "./running_relay.ts";

Deno.test("a relay ends a staple in which no byte moves, and none in which one does", async () => {
  await using relay = await RunningRelay.start({ staples: { timeMs: 300_000 } });
  const [one, other] = await relay.pair("idle");
  const [left, right] = await relay.pair("alive");
  using _one = one, _other = other, _left = left, _right = right;
  relay.clock.pass(200_000);
  await left.say("!");
  await right.hears("!");
  await until("the byte is noticed", () => relay.relay.snapshot().counts.bytes === 1);
  await nextTicks();
  relay.clock.pass(100_000);
  await one.end();
  await other.end();
  await relay.stapled(1);
  await right.say("?");
  await left.hears("?");
});

/** Longer than two of the relay's own looks at the clock. */
async function nextTicks(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 30));
}

Deno.test("a relay sends away who drips its identifier for too long", async () => {
  await using relay = await RunningRelay.start({ arriving: { timeMs: 10_000 } });
  using dripping = await Peer.connect(relay.address);
  await relay.arriving(1);
  for (let second = 0; second < 9; second++) {
    await dripping.say("x");
    relay.clock.pass(1000);
  }
  await nextTicks();
  await relay.arriving(1);
  relay.clock.pass(1000);
  await dripping.end();
  await relay.arriving(0);
  assert.deepEqual(relay.relay.snapshot().counts.timedOut, { arriving: 1, parked: 0, idle: 0 });
});

Deno.test("a relay that is full closes at once, logs the address and no identifier, and makes room again", async () => {
  await using relay = await RunningRelay.start({ parked: { max: 2 } });
  using first = await relay.park("secret-1");
  using second = await relay.park("secret-2");
  for (let n = 0; n < 20; n++) {
    using refused = await Peer.come(relay.address, "secret-3");
    await refused.end();
  }
  const refusals = relay.lines.filter((line) => line.includes("connection refused"));
  assert.equal(refusals.length, 5);
  assert.match(
    refusals[0] ?? "",
    / WARN relay: connection refused reason=parked_full peer=127\.0\.0\.1 suppressed=0$/m,
  );
  assert.equal(relay.relay.snapshot().counts.refused.parked_full, 20);
  const written = relay.lines.join("");
  for (const identifier of ["secret-1", "secret-3"]) {
    assert(!written.includes(identifier));
    assert(!written.includes(identifierOf(identifier).toHex().slice(0, 16)));
  }
  first.close();
  await relay.parked(1);
  using third = await relay.park("secret-3");
  using partner = await Peer.come(relay.address, "secret-2", "hello");
  await second.hears("hello");
  void third, partner;
});

Deno.test({
  ...unless(ipv6Obstacle(), "a relay sees an IPv4 client of an IPv6 socket as IPv4, with a share of its own"),
  async fn(): Promise<void> {
    await using relay = await RunningRelay.start({ bind: "[::]:0", parked: { max: 10, maxPerNetwork: 1 } });
    const port = /:([0-9]+)$/.exec(relay.address)?.[1];
    using _four = await Peer.come(`127.0.0.1:${port}`, "a");
    await relay.parked(1);
    using _six = await Peer.come(`[::1]:${port}`, "b");
    await relay.parked(2);
    using four = await Peer.come(`127.0.0.1:${port}`, "c");
    await four.end();
    using six = await Peer.come(`[::1]:${port}`, "c");
    await six.end();
    const peers = relay.lines.flatMap((line) => /reason=parked_share peer=(\S+)/.exec(line)?.[1] ?? []);
    assert.deepEqual(peers, ["127.0.0.1", "::1"]);
  },
});

Deno.test("a relay bounds who has not said an identifier, of one address too, and serves the others", async () => {
  await using relay = await RunningRelay.start({ arriving: { max: 3 } });
  using parked = await relay.park("a");
  const silent = [];
  for (let n = 0; n < 3; n++) silent.push(await Peer.connect(relay.address));
  await relay.arriving(3);
  using refused = await Peer.connect(relay.address);
  await refused.end();
  assert.equal(relay.relay.snapshot().counts.refused.arriving_full, 1);
  silent.pop()?.close();
  await relay.arriving(2);
  using arrived = await Peer.come(relay.address, "a", "through");
  await parked.hears("through");
  void arrived;
  for (const each of silent) each.close();
});

Deno.test("a relay takes garbage for what it is: bytes that nobody else comes with", async () => {
  await using relay = await RunningRelay.start();
  const peers: Peer[] = [];
  for (let n = 0; n < 40; n++) {
    const peer = await Peer.connect(relay.address);
    await peer.say(crypto.getRandomValues(new Uint8Array(33 + 100 * n)));
    peers.push(peer);
  }
  using http = await Peer.connect(relay.address);
  await http.say("GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n");
  await relay.parked(41);
  const [one, other] = await relay.pair("a");
  using _one = one, _other = other;
  await one.say("fine");
  await other.hears("fine");
  for (const peer of peers) peer.close();
  http.close();
  await relay.parked(0);
});

Deno.test("a relay survives a flood of connections that are closed at once, and forgets them all", async () => {
  await using relay = await RunningRelay.start();
  const [one, other] = await relay.pair("a");
  using _one = one, _other = other;
  for (let round = 0; round < 20; round++) {
    const flood = await Promise.all(Array.from({ length: 50 }, () => Peer.connect(relay.address)));
    for (const peer of flood) peer.close();
  }
  await one.say("still here");
  await other.hears("still here");
  await relay.arriving(0);
  assert.deepEqual([relay.relay.snapshot().parked, relay.relay.snapshot().staples], [0, 1]);
});

Deno.test("a relay lets nobody wait for strangers who reset their connections before they are accepted", async () => {
  await using relay = await RunningRelay.start();
  comeAndResetMeanwhile(relay.address, 20);
  using parked = await relay.park("a", "after them all");
  using arrived = await Peer.come(relay.address, "a");
  await arrived.hears("after them all");
  // After each failure there would have been a pause; the one line says that it is ready.
  assert.deepEqual([relay.relay.snapshot().acceptFailures, relay.lines.length], [0, 1]);
  void parked;
});

/** Has a process come so often, and reset at once, while nothing of this one can run: not the relay either. */
function comeAndResetMeanwhile(address: string, times: number): void {
  const module = new URL("./peer.ts", import.meta.url).href;
  const script = `const { connectAndReset } = await import(${JSON.stringify(module)});
    for (let n = 0; n < ${times}; n++) await connectAndReset(${JSON.stringify(address)});`;
  const args = ["eval", "--no-check", "--cached-only", script];
  const { code, stderr } = new Deno.Command(Deno.execPath(), { args }).outputSync();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

Deno.test("a relay with a rate lets no staple be faster, and makes none slower than another", async () => {
  const bytesPerSecond = 200_000;
  await using relay = await RunningRelay.start({ bytesPerSecond });
  const pairs = [await relay.pair("a"), await relay.pair("b")];
  const said = pattern(150_000);
  const startMs = performance.now();
  const secondsOf = await Promise.all(pairs.map(async ([one, other]) => {
    using _one = one, _other = other;
    const saying = one.say(said);
    assert.deepEqual(await other.hear(said.length), said);
    await saying;
    return (performance.now() - startMs) / 1000;
  }));
  for (const seconds of secondsOf) {
    // A quarter of a second's bytes go at once.
    assert(seconds >= 0.95 * (said.length / bytesPerSecond - 0.25), `${seconds} s`);
    assert(seconds < 5, `${seconds} s`);
  }
});
