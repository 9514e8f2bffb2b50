import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { encodePlaintext, NONCE_BYTES, sealPlaintext } from "../../../src/protocol/knock/packet.ts";
import { ReplayFloors } from "../../../src/protocol/knock/replay.ts";
import { Judge } from "../../../src/server/knock/judge.ts";
import type { JudgeKey, JudgePolicy, Verdict } from "../../../src/server/knock/judge.ts";
import { ELSEWHERE_IP, FakeClock, flipBit, HOME_IP, Knocker, NS_PER_SECOND, SERVER_IP } from "./knocks.ts";
import type { KnockOptions } from "./knocks.ts";
import { SeededRandom } from "./seeded.ts";

const HOUR_MS = 3_600_000;
const HOUR_NS = 3600n * NS_PER_SECOND;

const random = new SeededRandom();

/** A judge with one key whose floor is one hour ago, and the holder of that key. */
class Court {
  readonly clock = new FakeClock();
  readonly knocker = new Knocker(() => this.clock.wallNs());
  readonly key: JudgeKey;
  readonly floors: ReplayFloors;
  readonly judge: Judge;
  policy: JudgePolicy;

  constructor(
    options: { key?: Partial<JudgeKey>; policy?: Partial<JudgePolicy>; floor?: bigint | null } = {},
  ) {
    this.key = {
      stem: "user",
      key: this.knocker.key,
      allow: null,
      maxPacketAgeNs: 0n,
      notAfterMs: null,
      ...options.key,
    };
    this.policy = {
      keys: [this.key],
      ips: new Set([SERVER_IP]),
      maxClockSkewNs: HOUR_NS,
      rates: { perPeer: 2, perKey: 3, global: 4 },
      ...options.policy,
    };
    const floor = options.floor === undefined ? this.clock.wallNs() - HOUR_NS : options.floor;
    this.floors = new ReplayFloors(new Map(floor === null ? [] : [[this.knocker.key.id, floor]]));
    this.judge = new Judge(this.policy, { floors: this.floors, clock: this.clock, random: random.next });
  }

  get floor(): bigint | undefined {
    return this.floors.get(this.knocker.key.id);
  }

  setPolicy(change: Partial<JudgePolicy>): void {
    this.policy = { ...this.policy, ...change };
    this.judge.setPolicy(this.policy);
  }

  receive(packet: Uint8Array, peer: string = HOME_IP): string {
    return word(this.judge.receive(packet, peer));
  }

  knock(options: KnockOptions = {}, peer: string = HOME_IP): string {
    return this.receive(this.knocker.packet(options), peer);
  }
}

/** A verdict in one word: the reason, "held", or "good". */
function word(verdict: Verdict): string {
  if (verdict.kind === "held") return "held";
  if (verdict.kind === "refused") return verdict.reason;
  return verdict.refusal ?? "good";
}

function sealVersion(court: Court, version: number, counter: bigint): Uint8Array {
  const plaintext = encodePlaintext({
    commandHash: commandHash("open_ssh"),
    counter,
    strict: false,
    sourceIp: null,
    destinationIp: SERVER_IP,
  });
  plaintext[0] = version;
  return sealPlaintext(court.knocker.key, plaintext, crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
}

Deno.test("receive() gives a spent verdict that says who, what and for which address", () => {
  const court = new Court();
  const counter = court.clock.wallNs();
  const verdict = court.judge.receive(court.knocker.packet({ counter }), HOME_IP);
  assert.deepEqual(verdict, {
    kind: "spent",
    refusal: null,
    key: "user",
    message: { commandHash: commandHash("open_ssh"), ip: HOME_IP },
    counter,
    peer: HOME_IP,
  });
  assert.equal(court.floor, counter);
});

Deno.test("receive() forwards the packet's source address if it has one, else the peer's", () => {
  const court = new Court();
  const verdict = court.judge.receive(court.knocker.packet({ sourceIp: ELSEWHERE_IP }), HOME_IP);
  assert.equal(verdict.kind === "spent" && verdict.message.ip, ELSEWHERE_IP);
});

Deno.test("receive() reads the IPv4 peers of an IPv6 socket as IPv4", () => {
  const court = new Court();
  const packet = court.knocker.packet({ strict: true, sourceIp: HOME_IP });
  const verdict = court.judge.receive(packet, `::ffff:${HOME_IP}`);
  assert.equal(verdict.kind === "spent" && verdict.peer, HOME_IP);
});

// --- refused without being used up: the same counter is good afterwards -------------------------------------------

interface UnspentCase {
  readonly reason: string;
  readonly when: string;
  spoil(court: Court, counter: bigint): string;
}

const unspentCases: readonly UnspentCase[] = [
  {
    reason: "length",
    when: "a datagram has 93 bytes",
    spoil: (court, counter) => court.receive(court.knocker.packet({ counter }).subarray(1)),
  },
  {
    reason: "length",
    when: "a datagram has 95 bytes",
    spoil: (court, counter) => court.receive(new Uint8Array([...court.knocker.packet({ counter }), 0])),
  },
  {
    reason: "unknown_key",
    when: "nobody has the key id",
    spoil: (court, counter) => court.receive(flipBit(court.knocker.packet({ counter }), 3)),
  },
  {
    reason: "authentication",
    when: "one bit of the ciphertext is turned over",
    spoil: (court, counter) => court.receive(flipBit(court.knocker.packet({ counter }), 93 * 8)),
  },
  {
    reason: "authentication",
    when: "another key sealed it under this key id",
    spoil: (court, counter) => {
      const forger = new Knocker(() => court.clock.wallNs(), {
        id: court.knocker.key.id,
        secret: new Uint8Array(32),
      });
      return court.receive(forger.packet({ counter }));
    },
  },
  {
    reason: "version",
    when: "an authentic packet has version 2",
    spoil: (court, counter) => court.receive(sealVersion(court, 2, counter)),
  },
  {
    reason: "destination",
    when: "the packet was made for another server",
    spoil: (court, counter) => court.knock({ counter, destinationIp: ELSEWHERE_IP }),
  },
  {
    reason: "source",
    when: "a strict packet comes from elsewhere",
    spoil: (court, counter) => court.knock({ counter, strict: true, sourceIp: HOME_IP }, ELSEWHERE_IP),
  },
  {
    reason: "source",
    when: "the peer's address cannot be read",
    spoil: (court, counter) => court.knock({ counter }, "not an address"),
  },
];

for (const { reason, when, spoil } of unspentCases) {
  Deno.test(`receive() refuses for ${reason}, and spends nothing, when ${when}`, () => {
    const court = new Court();
    const floor = court.floor;
    const counter = court.clock.wallNs();
    assert.equal(spoil(court, counter), reason);
    assert.equal(court.floor, floor);
    assert.equal(court.knock({ counter }), "good");
  });
}

Deno.test("receive() refuses every single-bit change of a genuine packet and then takes the genuine one", () => {
  const court = new Court();
  const packet = court.knocker.packet();
  for (let bit = 0; bit < packet.length * 8; bit++) {
    court.clock.advance(1000);
    assert.equal(court.receive(flipBit(packet, bit)), bit < 64 ? "unknown_key" : "authentication");
  }
  assert.equal(court.receive(packet), "good");
});

Deno.test("receive() lets a genuine packet through after the same packet was raced from elsewhere", () => {
  const court = new Court();
  const packet = court.knocker.packet({ strict: true, sourceIp: HOME_IP });
  assert.equal(court.receive(packet, ELSEWHERE_IP), "source");
  assert.equal(court.receive(packet, HOME_IP), "good");
  assert.equal(court.receive(packet, HOME_IP), "replayed");
});

Deno.test("receive() passes a strict packet that names no source, as ruroco does", () => {
  const court = new Court();
  assert.equal(court.knock({ strict: true, sourceIp: null }, ELSEWHERE_IP), "good");
});

Deno.test("receive() passes a permissive packet for another address than the peer's", () => {
  const court = new Court();
  assert.equal(court.knock({ strict: false, sourceIp: HOME_IP }, ELSEWHERE_IP), "good");
});

// --- counters ------------------------------------------------------------------------------------------------------

Deno.test("receive() refuses a counter at or below the floor, in whatever order packets come", () => {
  const court = new Court();
  const floor = court.clock.wallNs() - HOUR_NS;
  assert.equal(court.knock({ counter: floor }), "replayed");
  assert.equal(court.knock({ counter: floor - 1n }), "replayed");
  assert.equal(court.knock({ counter: floor + 10n }), "good");
  assert.equal(court.knock({ counter: floor + 9n }), "replayed");
  assert.equal(court.knock({ counter: floor + 10n }), "replayed");
  assert.equal(court.knock({ counter: floor + 11n }), "good");
});

Deno.test("receive() refuses for no_floor while a key has none", () => {
  const court = new Court({ floor: null });
  assert.equal(court.knock(), "no_floor");
});

Deno.test("receive() takes a counter up to now plus skew, and not one more", () => {
  const court = new Court();
  const limit = court.clock.wallNs() + HOUR_NS;
  assert.equal(court.knock({ counter: limit + 1n }), "beyond_skew");
  assert.equal(court.knock({ counter: limit }), "good");
});

Deno.test("receive() takes a counter down to now minus the key's maximum age, and not one less", () => {
  const court = new Court({ key: { maxPacketAgeNs: 300n * NS_PER_SECOND } });
  const limit = court.clock.wallNs() - 300n * NS_PER_SECOND;
  assert.equal(court.knock({ counter: limit - 1n }), "too_old");
  assert.equal(court.knock({ counter: limit }), "good");
});

Deno.test("receive() refuses for its age a packet that a hostile network kept back, and spends nothing", () => {
  const court = new Court({ key: { maxPacketAgeNs: 300n * NS_PER_SECOND } });
  const kept = court.knocker.packet();
  court.clock.advance(300_001);
  assert.equal(court.receive(kept), "too_old");
  assert.equal(court.knock(), "good");
});

Deno.test("receive() knows no age limit when the maximum is 0", () => {
  const court = new Court({ floor: 0n });
  assert.equal(court.knock({ counter: 1n }), "good");
});

// --- what a key may do ----------------------------------------------------------------------------------------------

Deno.test("receive() knows a key until its not_after, that moment included", () => {
  const clock = new FakeClock();
  const court = new Court({ key: { notAfterMs: clock.wallMs() + 1000 } });
  assert.equal(court.knock(), "good");
  court.clock.advance(1000);
  assert.equal(court.knock(), "good");
  court.clock.advance(1);
  assert.equal(court.knock(), "unknown_key");
});

Deno.test("receive() lets a key run what its list holds, and an empty list nothing", () => {
  const court = new Court({ key: { allow: new Set([commandHash("open_ssh")]) } });
  assert.equal(court.knock({ command: "open_ssh" }), "good");
  assert.equal(court.knock({ command: "reboot" }), "command_not_allowed");
  court.setPolicy({ keys: [{ ...court.key, allow: new Set() }] });
  assert.equal(court.knock({ command: "open_ssh" }), "command_not_allowed");
});

// --- refused and used up --------------------------------------------------------------------------------------------

interface SpentCase {
  readonly reason: string;
  readonly key?: Partial<JudgeKey>;
  readonly policy?: Partial<JudgePolicy>;
  /** Brings the court to where the next packet is refused. */
  fill?(court: Court): void;
}

const spentCases: readonly SpentCase[] = [
  { reason: "command_not_allowed", key: { allow: new Set([1n]) } },
  {
    reason: "peer_rate",
    policy: { rates: { perPeer: 1, perKey: 9, global: 9 } },
    fill: (court) => court.knock(),
  },
  {
    reason: "key_rate",
    policy: { rates: { perPeer: 9, perKey: 1, global: 9 } },
    fill: (court) => court.knock(),
  },
  {
    reason: "global_rate",
    policy: { rates: { perPeer: 9, perKey: 9, global: 1 } },
    fill: (court) => court.knock({}, ELSEWHERE_IP),
  },
];

for (const { reason, key, policy, fill } of spentCases) {
  Deno.test(`receive() refuses for ${reason}, and the packet stays refused for ever`, () => {
    const court = new Court({ ...(key && { key }), ...(policy && { policy }) });
    fill?.(court);
    const packet = court.knocker.packet();
    assert.equal(court.receive(packet), reason);
    // Not after the window, not from another address, not when the key may do everything.
    court.clock.advance(10 * HOUR_MS);
    court.setPolicy({
      keys: [{ ...court.key, allow: null }],
      rates: { perPeer: 9, perKey: 9, global: 9 },
    });
    assert.equal(court.receive(packet), "replayed");
    assert.equal(court.receive(packet, ELSEWHERE_IP), "replayed");
    assert.equal(court.knock(), "good");
  });
}

Deno.test("receive() frees a rate's place after one second", () => {
  const court = new Court({ policy: { rates: { perPeer: 2, perKey: 9, global: 9 } } });
  const words = [court.knock(), court.knock(), court.knock()];
  court.clock.advance(999);
  words.push(court.knock());
  court.clock.advance(1);
  words.push(court.knock());
  assert.deepEqual(words, ["good", "good", "peer_rate", "peer_rate", "good"]);
});

// --- the order of the checks -----------------------------------------------------------------------------------------

/** Each row fails at least the named check and the next one: the first must be the one that is told. */
const orderCases: readonly { first: string; then: string; judge: () => string }[] = [
  {
    first: "length",
    then: "unknown_key",
    judge: () => new Court().receive(new Uint8Array(93)),
  },
  {
    first: "unknown_key",
    then: "decrypt_budget",
    judge: () => {
      const court = new Court();
      exhaust(court);
      return court.receive(flipBit(court.knocker.packet(), 0), ELSEWHERE_IP);
    },
  },
  {
    first: "held",
    then: "authentication",
    judge: () => {
      const court = new Court();
      exhaust(court);
      return court.receive(flipBit(court.knocker.packet(), 700), ELSEWHERE_IP);
    },
  },
  {
    first: "authentication",
    then: "version",
    judge: () => {
      const court = new Court();
      return court.receive(flipBit(sealVersion(court, 9, 1n), 700));
    },
  },
  {
    first: "version",
    then: "replayed",
    judge: () => {
      const court = new Court();
      return court.receive(sealVersion(court, 9, 1n));
    },
  },
  {
    first: "replayed",
    then: "beyond_skew",
    judge: () => {
      const clock = new FakeClock();
      const court = new Court({ floor: clock.wallNs() + 3n * HOUR_NS });
      return court.knock({ counter: clock.wallNs() + 2n * HOUR_NS });
    },
  },
  {
    first: "no_floor",
    then: "beyond_skew",
    judge: () => {
      const court = new Court({ floor: null });
      return court.knock({ counter: court.clock.wallNs() + 2n * HOUR_NS });
    },
  },
  {
    first: "replayed",
    then: "too_old",
    judge: () => new Court({ key: { maxPacketAgeNs: 1n } }).knock({ counter: 1n }),
  },
  {
    first: "beyond_skew",
    then: "destination",
    judge: () => {
      const court = new Court();
      return court.knock({ counter: court.clock.wallNs() + 2n * HOUR_NS, destinationIp: ELSEWHERE_IP });
    },
  },
  {
    first: "too_old",
    then: "destination",
    judge: () => {
      const court = new Court({ key: { maxPacketAgeNs: 1n } });
      return court.knock({ counter: court.clock.wallNs() - NS_PER_SECOND, destinationIp: ELSEWHERE_IP });
    },
  },
  {
    first: "destination",
    then: "source",
    judge: () =>
      new Court().knock({ strict: true, sourceIp: HOME_IP, destinationIp: ELSEWHERE_IP }, ELSEWHERE_IP),
  },
  {
    first: "source",
    then: "command_not_allowed",
    judge: () =>
      new Court({ key: { allow: new Set() } }).knock({ strict: true, sourceIp: HOME_IP }, ELSEWHERE_IP),
  },
  {
    first: "command_not_allowed",
    then: "peer_rate",
    judge: () =>
      new Court({ key: { allow: new Set() }, policy: { rates: { perPeer: 0, perKey: 9, global: 9 } } })
        .knock(),
  },
  {
    first: "peer_rate",
    then: "key_rate",
    judge: () => new Court({ policy: { rates: { perPeer: 0, perKey: 0, global: 0 } } }).knock(),
  },
  {
    first: "key_rate",
    then: "global_rate",
    judge: () => new Court({ policy: { rates: { perPeer: 1, perKey: 0, global: 0 } } }).knock(),
  },
];

/** Garbage with the court's key id, until arrivals have to wait for a draw. */
function exhaust(court: Court): void {
  const garbage = flipBit(court.knocker.packet(), 700);
  while (court.receive(garbage, ELSEWHERE_IP) !== "held");
}

for (const { first, then, judge } of orderCases) {
  Deno.test(`receive() checks what gives "${first}" before what gives "${then}"`, () => {
    assert.equal(judge(), first);
  });
}

// --- floods ----------------------------------------------------------------------------------------------------------

/** The n-th of four billion forged addresses. */
function forgedPeer(n: number): string {
  return `${1 + (n >>> 24) % 223}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

Deno.test("receive() lets no flood of unknown key ids cost anything", () => {
  const court = new Court();
  const garbage = new Uint8Array(94);
  for (let n = 0; n < 20_000; n++) {
    garbage[n % 8] = n;
    assert.equal(court.receive(garbage, forgedPeer(n)), "unknown_key");
  }
  assert.equal(court.knock(), "good");
});

Deno.test("receive() serves a known address at once while its key id is flooded from forged addresses", () => {
  const court = new Court({ policy: { rates: { perPeer: 9, perKey: 99, global: 99 } } });
  assert.equal(court.knock(), "good");
  const garbage = flipBit(court.knocker.packet(), 700);
  for (let round = 0; round < 20; round++) {
    for (let n = 0; n < 1600; n++) court.receive(garbage, forgedPeer(round * 1600 + n));
    assert.equal(court.knock(), "good", `round ${round}`);
    court.clock.advance(1000);
    court.judge.drawHeld();
  }
});

Deno.test("drawHeld() gives a new address its share of the draws while the key id is flooded", () => {
  const court = new Court({ policy: { rates: { perPeer: 9999, perKey: 9999, global: 9999 } } });
  const garbage = flipBit(court.knocker.packet(), 700);
  const tries = 300;
  let through = 0;
  for (let round = 0; round < tries; round++) {
    const before = court.floor;
    // 40 forged packets a slice against an allowance of 10, and the one genuine packet always comes last.
    for (let n = 0; n < 40; n++) court.receive(garbage, forgedPeer(round * 40 + n));
    court.receive(court.knocker.packet(), HOME_IP);
    // The victim stays a stranger for this test: its first success would make it known.
    court.clock.advance(25 * HOUR_MS);
    court.judge.drawHeld();
    if (court.floor !== before) through++;
  }
  // First come, first served would give 0. A fair draw gives about 10 of 41; 30 is six deviations below.
  assert.ok(through > 30, `${through} of ${tries} came through, POSTERN_SEED=${random.seed}`);
});

Deno.test("receive() keeps one key's flood from another key", () => {
  const court = new Court();
  const other = new Knocker(() => court.clock.wallNs());
  court.floors.seedIfAbsent(other.key.id, 0n);
  court.setPolicy({ keys: [court.key, { ...court.key, stem: "other", key: other.key }] });
  const garbage = flipBit(court.knocker.packet(), 700);
  for (let n = 0; n < 5000; n++) court.receive(garbage, forgedPeer(n));
  assert.equal(court.receive(other.packet(), ELSEWHERE_IP), "good");
});

Deno.test("receive() does not let replays from forged addresses push a known address out", () => {
  const court = new Court({ policy: { rates: { perPeer: 9, perKey: 99, global: 99 } } });
  const captured = court.knocker.packet();
  assert.equal(court.receive(captured), "good");
  for (let n = 0; n < 2000; n++) {
    court.clock.advance(1);
    court.receive(captured, forgedPeer(n));
    court.judge.drawHeld();
  }
  const garbage = flipBit(captured, 700);
  for (let n = 0; n < 2000; n++) court.receive(garbage, forgedPeer(n));
  assert.equal(court.knock(), "good");
});

Deno.test("drawHeld() refuses for unknown_key what was held when its key went away", () => {
  const court = new Court();
  exhaust(court);
  const expiring = { ...court.key, notAfterMs: court.clock.wallMs() };
  court.setPolicy({ keys: [expiring] });
  court.clock.advance(1000);
  const words = court.judge.drawHeld().map(word);
  assert.deepEqual(words, ["unknown_key"]);
});

Deno.test("drawHeld() judges the bytes that came, though the buffer they came in was used again", () => {
  const court = new Court();
  exhaust(court);
  const buffer = court.knocker.packet();
  assert.equal(court.receive(buffer), "held");
  buffer.fill(0);
  court.clock.advance(1000);
  assert.deepEqual(court.judge.drawHeld().map(word).sort(), ["authentication", "good"]);
});

Deno.test("nextDrawMs() is null until something is held, then the moment when drawHeld() gives it", () => {
  const court = new Court();
  assert.equal(court.judge.nextDrawMs(), null);
  exhaust(court);
  const due = court.judge.nextDrawMs();
  assert.ok(due !== null && due > court.clock.monotonicMs());
  assert.deepEqual(court.judge.drawHeld(), []);
  court.clock.advance(due - court.clock.monotonicMs());
  assert.deepEqual(court.judge.drawHeld().map(word), ["authentication"]);
  assert.equal(court.judge.nextDrawMs(), null);
});

Deno.test("displacedCount counts the held packets that lost their place, so that none goes uncounted", () => {
  const court = new Court();
  const garbage = flipBit(court.knocker.packet(), 700);
  const total = 5000;
  const seen = new Map<string, number>();
  for (let n = 0; n < total; n++) {
    const outcome = court.receive(garbage, forgedPeer(n));
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  court.clock.advance(1000);
  const drawn = court.judge.drawHeld().length;
  const told = (seen.get("authentication") ?? 0) + (seen.get("decrypt_budget") ?? 0);
  assert.equal(told + drawn + court.judge.displacedCount, total);
});

// --- reloads ----------------------------------------------------------------------------------------------------------

Deno.test("setPolicy() counts the rates of the last second on, and keeps floors", () => {
  const court = new Court({ policy: { rates: { perPeer: 2, perKey: 9, global: 9 } } });
  const first = court.knocker.packet();
  assert.equal(court.receive(first), "good");
  assert.equal(court.knock(), "good");
  court.setPolicy({ ips: new Set([SERVER_IP, parseIp("2001:db8::1")]) });
  assert.equal(court.knock({ destinationIp: parseIp("2001:db8::1") }), "peer_rate");
  assert.equal(court.receive(first), "replayed");
});

Deno.test("receive() lets no key's holder use up the rate of another's by sending from his address", () => {
  const court = new Court();
  const other = new Knocker(() => court.clock.wallNs());
  court.floors.seedIfAbsent(other.key.id, 0n);
  court.setPolicy({ keys: [court.key, { ...court.key, stem: "other", key: other.key }] });
  const { perPeer } = court.policy.rates;
  const answers = Array.from({ length: perPeer + 1 }, () => court.receive(other.packet()));
  assert.deepEqual(answers, [...Array(perPeer).fill("good"), "peer_rate"]);
  assert.equal(court.knock(), "good");
});

Deno.test("drawHeld() opens two packets of one key in the order in which they came", () => {
  const court = new Court({ policy: { rates: { perPeer: 1e6, perKey: 1e6, global: 1e6 } } });
  let spent = 0;
  for (let slice = 0; slice < 20; slice++) {
    // More than open at once and fewer than are held: all of them are drawn, in an order that the draw has mixed.
    for (let n = 0; n < 20; n++) {
      if (court.knock({}, n % 2 === 0 ? HOME_IP : ELSEWHERE_IP) === "good") spent++;
    }
    court.clock.advance(20);
    const words = court.judge.drawHeld().map(word);
    assert.deepEqual(words.filter((each) => each === "replayed"), []);
    spent += words.length;
    court.clock.advance(20);
  }
  assert.ok(spent > 300, `${spent} spent`);
});
