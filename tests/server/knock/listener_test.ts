import assert from "node:assert/strict";
import { ReplayFloors } from "../../../src/protocol/knock/replay.ts";
import { Judge } from "../../../src/server/knock/judge.ts";
import type { Verdict } from "../../../src/server/knock/judge.ts";
import { bindSocket, Listener } from "../../../src/server/knock/listener.ts";
import type { DatagramSource } from "../../../src/server/knock/listener.ts";
import { systemClock } from "../../../src/system/clock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { Log } from "../../../src/system/log.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { flipBit, Knocker } from "./knocks.ts";
import { portOf, UdpPeer } from "./udp.ts";

const LOOPBACK = parseIp("127.0.0.1");

/** A judge for one key on the real clock, a listener on the given source, and what it made of the datagrams. */
class Post {
  readonly knocker = new Knocker(() => systemClock.wallNs());
  readonly verdicts: Verdict[] = [];
  readonly lines: string[] = [];
  readonly judge: Judge;
  readonly listener: Listener;
  onVerdict: (verdict: Verdict) => void = () => {};
  #wake: () => void = () => {};

  constructor(socket: DatagramSource) {
    this.judge = new Judge({
      keys: [{ stem: "user", key: this.knocker.key, allow: null, maxPacketAgeNs: 0n, notAfterMs: null }],
      ips: new Set([LOOPBACK]),
      maxClockSkewNs: 3_600_000_000_000n,
      rates: { perPeer: 1000, perKey: 1000, global: 1000 },
    }, {
      floors: new ReplayFloors(new Map([[this.knocker.key.id, 0n]])),
      clock: systemClock,
      random: Math.random,
    });
    this.listener = new Listener({
      socket,
      judge: this.judge,
      take: (verdict) => {
        this.onVerdict(verdict);
        this.verdicts.push(verdict);
        this.#wake();
      },
      log: new Log({ role: "server", format: "text", write: (line) => this.lines.push(line) }),
      clock: systemClock,
    });
  }

  packet(): Uint8Array {
    return this.knocker.packet({ destinationIp: LOOPBACK });
  }

  /** Resolves when so many verdicts were given. */
  async seen(count: number): Promise<string[]> {
    while (this.verdicts.length < count) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    return this.words();
  }

  words(): string[] {
    return this.verdicts.map((verdict) => verdict.kind === "refused" ? verdict.reason : verdict.kind);
  }
}

/** A socket that gives what the test put in, errors included, and then waits. */
class ScriptedSource implements DatagramSource {
  readonly script: (Uint8Array | Error)[] = [];
  receives = 0;
  readonly #end = Promise.withResolvers<void>();

  async receive(buffer: Uint8Array): Promise<[Uint8Array, Deno.Addr]> {
    this.receives++;
    const next = this.script.shift();
    if (next === undefined) {
      await this.#end.promise;
      throw new Deno.errors.Interrupted("operation canceled");
    }
    if (next instanceof Error) throw next;
    // As the kernel does: what does not fit is cut off.
    const length = Math.min(next.length, buffer.length);
    buffer.set(next.subarray(0, length));
    return [buffer.subarray(0, length), { transport: "udp", hostname: "192.0.2.7", port: 1 }];
  }

  close(): void {
    this.#end.resolve();
  }
}

Deno.test("run() judges datagrams of every length from 0 to 200 and takes the one that is a packet", async () => {
  const socket = bindSocket({ ip: LOOPBACK, port: 0 });
  const post = new Post(socket);
  const running = post.listener.run();
  using sender = new UdpPeer();
  for (let length = 0; length <= 200; length++) {
    // A packet and more: cut to 94 bytes by a smaller buffer it would be good.
    const datagram = new Uint8Array(length);
    datagram.set(post.packet().subarray(0, length));
    await sender.send(datagram, portOf(socket));
    await post.seen(length + 1);
  }
  const words = await post.seen(201);
  assert.deepEqual(words, Array.from({ length: 201 }, (_, length) => length === 94 ? "spent" : "length"));
  assert.equal(post.listener.received, 201);
  assert.deepEqual(await sender.answers(), []);
  post.listener.close();
  await running;
});

Deno.test("run() sees IPv4 peers of a [::] socket and the judge names them as IPv4", async () => {
  const socket = bindSocket({ ip: parseIp("::"), port: 0 });
  const post = new Post(socket);
  const running = post.listener.run();
  using sender = new UdpPeer();
  await sender.send(post.packet(), portOf(socket));
  await post.seen(1);
  const [verdict] = post.verdicts;
  assert.equal(verdict?.kind === "spent" && verdict.peer, "127.0.0.1");
  post.listener.close();
  await running;
});

Deno.test("run() survives errors of the socket, pauses between tries, and takes what comes after", async () => {
  const source = new ScriptedSource();
  const post = new Post(source);
  const error = new Error("Network is down (os error 100)");
  source.script.push(error, error, error, post.packet(), new Uint8Array(10));
  const started = performance.now();
  const running = post.listener.run();
  assert.deepEqual(await post.seen(2), ["spent", "length"]);
  // 10, 20 and 40 ms: it did not spin.
  assert.ok(performance.now() - started >= 65);
  assert.equal(post.listener.receiveErrors, 3);
  assert.match(post.lines[0] ?? "", /ERROR server: receiving failed error="Network is down/);
  post.listener.close();
  await running;
});

Deno.test("close() ends a pause between tries at once", async () => {
  const source = new ScriptedSource();
  const post = new Post(source);
  // Paused 10, 20, 40, ... ms, so that the next pause would last a second.
  source.script.push(...Array.from({ length: 8 }, () => new Error("broken")));
  const running = post.listener.run();
  while (source.receives < 7) await new Promise((resolve) => setTimeout(resolve, 5));
  const closing = performance.now();
  post.listener.close();
  await running;
  assert.ok(performance.now() - closing < 300);
});

Deno.test("run() ends on close(), also twice, and swallows the interrupted receive", async () => {
  const post = new Post(bindSocket({ ip: LOOPBACK, port: 0 }));
  const running = post.listener.run();
  post.listener.close();
  post.listener.close();
  await running;
  assert.deepEqual(post.lines, []);
});

Deno.test("run() goes on after a verdict that could not be taken", async () => {
  const source = new ScriptedSource();
  const post = new Post(source);
  source.script.push(new Uint8Array(1), new Uint8Array(2));
  let taken = 0;
  post.onVerdict = () => {
    taken++;
    throw new Error("a mistake of ours");
  };
  const running = post.listener.run();
  while (source.receives < 3) await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(taken, 2);
  assert.match(post.lines[0] ?? "", /judging failed error="a mistake of ours"/);
  post.listener.close();
  await running;
});

Deno.test("run() draws held packets by itself when their slice is over", async () => {
  const source = new ScriptedSource();
  const post = new Post(source);
  const garbage = flipBit(post.packet(), 700);
  const total = 60;
  source.script.push(...Array.from({ length: total }, () => garbage));
  const running = post.listener.run();
  const count = (word: string): number => post.words().filter((each) => each === word).length;
  const judged = (): number => count("authentication") + count("decrypt_budget") + post.judge.displacedCount;
  while (judged() < total) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(count("held") > 0);
  assert.equal(judged(), total);
  post.listener.close();
  await running;
});

Deno.test("bindSocket() names an address that is not this machine's and what takes all of them", () => {
  assert.throws(() => bindSocket({ ip: parseIp("192.0.2.77"), port: 34_020 }), (error) => {
    assert.ok(error instanceof Failure);
    assert.equal(error.message, "cannot listen on UDP 192.0.2.77:34020");
    assert.match(error.hint ?? "", /192\.0\.2\.77 is no address of this machine: address = "\[::\]:34020"/);
    return true;
  });
});

Deno.test("bindSocket() names the address that is in use and the command that shows by whom", () => {
  const socket = bindSocket({ ip: LOOPBACK, port: 0 });
  const port = portOf(socket);
  assert.throws(() => bindSocket({ ip: LOOPBACK, port }), (error) => {
    assert.ok(error instanceof Failure);
    assert.equal(error.message, `cannot listen on UDP 127.0.0.1:${port}`);
    assert.match(error.hint ?? "", /ss -ulpn/);
    return true;
  });
  socket.close();
});
