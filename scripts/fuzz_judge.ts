/**
 * The judge under the fuzzer: an input is a script of arrivals, and every verdict is held against the rules.
 *
 * A script is a row of steps: one byte for what to do, one byte of argument, then for the two kinds of arrivals
 * as many bytes as the step takes (zeros where the script has ended).
 *
 * | step % 8 | what happens                                                               |
 * | -------- | -------------------------------------------------------------------------- |
 * | 0        | a datagram of `argument` bytes, taken from the script, arrives              |
 * | 1..4     | 58 bytes of the script arrive, sealed with the key of `argument`            |
 * | 5        | the datagram number `argument` of this script arrives again                 |
 * | 6        | the datagram number `argument` arrives again with a bit flipped             |
 * | 7        | `argument` ms pass, and the draw is collected                               |
 */
import assert from "node:assert/strict";
import { parseIp } from "../src/protocol/knock/address.ts";
import {
  encodePlaintext,
  NONCE_BYTES,
  PLAINTEXT_BYTES,
  sealPlaintext,
} from "../src/protocol/knock/packet.ts";
import { ReplayFloors } from "../src/protocol/knock/replay.ts";
import { Judge, type JudgeKey, type JudgePolicy, type Verdict } from "../src/server/knock/judge.ts";
import { UNSPENT_REASONS } from "../src/server/knock/refusal.ts";
import type { Clock } from "../src/system/clock.ts";
import { FuzzRandom } from "./fuzz_random.ts";

const NOW_NS = 1_800_000_000_000_000_000n;
const SKEW_NS = 3_600_000_000_000n;
const NS_PER_MS = 1_000_000n;
const ALLOWED_HASH = 0x0102030405060708n;
const MAX_STEPS = 64;

const peers = ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7", "::", "not an address", ""];
const destinations = ["127.0.0.1", "2001:db8::1"].map(parseIp);

const keys: readonly JudgeKey[] = [
  { stem: "open", allow: null, maxPacketAgeNs: 0n, notAfterMs: null },
  { stem: "narrow", allow: new Set([ALLOWED_HASH]), maxPacketAgeNs: SKEW_NS, notAfterMs: null },
  { stem: "expired", allow: null, maxPacketAgeNs: 0n, notAfterMs: 0 },
  { stem: "no_floor", allow: null, maxPacketAgeNs: 0n, notAfterMs: null },
].map((key, i) => ({ ...key, key: { id: BigInt(i), secret: new Uint8Array(32).fill(i) } }));

const policy: JudgePolicy = {
  keys,
  ips: new Set(destinations),
  maxClockSkewNs: SKEW_NS,
  rates: { perPeer: 3, perKey: 5, global: 10 },
};

/** Makes a script with mostly meaningful packets in it: right version, counters around now, known destinations. */
export function judgeScript(random: FuzzRandom): Uint8Array {
  const script: number[] = [];
  for (let steps = 1 + random.below(24); steps > 0; steps--) {
    const step = random.below(8);
    const argument = random.below(256);
    script.push(step, argument);
    if (step === 0) {
      script.push(...random.bytes(argument));
    } else if (step <= 4) {
      script.push(...makePlaintext(random));
    }
  }
  return random.below(10) === 0 ? random.mutate(Uint8Array.from(script)) : Uint8Array.from(script);
}

/** Plays a script; true if any packet of it was spent. Throws when a verdict breaks a rule. */
export function fuzzJudge(input: Uint8Array): boolean {
  const script = new Script(input);
  const clock = new ScriptClock();
  const floors = new ReplayFloors(new Map([0n, 1n, 2n].map((keyId) => [keyId, NOW_NS - 1000n])));
  const judge = new Judge(policy, { floors, clock, random: script.random, decryptsPerSecond: 100 });
  const sent: Uint8Array[] = [];
  const rules = new VerdictRules(clock);
  for (let steps = 0; steps < MAX_STEPS && !script.isOver; steps++) {
    const step = script.byte() % 8;
    const argument = script.byte();
    if (step === 7) {
      clock.pass(argument);
      judge.drawHeld().forEach((verdict) => rules.hold(verdict));
      continue;
    }
    const datagram = step === 0
      ? script.bytes(argument)
      : step <= 4
      ? sealPlaintext(keyOf(argument), script.bytes(PLAINTEXT_BYTES), new Uint8Array(NONCE_BYTES).fill(steps))
      : (sent[argument % Math.max(1, sent.length)] ?? new Uint8Array(0)).slice();
    if (step === 6 && datagram.length > 0) {
      datagram.set([(datagram[argument % datagram.length] ?? 0) ^ 1], argument % datagram.length);
    }
    sent.push(datagram);
    rules.hold(judge.receive(datagram, peers[argument % peers.length] ?? ""));
  }
  return rules.spentCount > 0;
}

function makePlaintext(random: FuzzRandom): Uint8Array {
  const nearNs = BigInt(random.below(8000)) - 2000n + (random.below(8) === 0 ? 2n * SKEW_NS : 0n);
  const plaintext = encodePlaintext({
    commandHash: random.below(2) === 0 ? ALLOWED_HASH : BigInt(random.below(1000)),
    counter: random.below(10) === 0 ? BigInt(random.below(1000)) : NOW_NS + nearNs,
    strict: random.below(2) === 0,
    sourceIp: random.below(2) === 0
      ? null
      : parseIp(random.pick(["192.0.2.7", "2001:db8::7", "198.51.100.9"])),
    destinationIp: random.below(8) === 0 ? parseIp("203.0.113.1") : random.pick(destinations),
  });
  if (random.below(4) === 0) {
    plaintext.set(random.bytes(1), random.below(PLAINTEXT_BYTES));
  }
  return plaintext;
}

function keyOf(argument: number): JudgeKey["key"] {
  const entry = keys[argument % keys.length];
  assert(entry !== undefined);
  return entry.key;
}

/** What must hold for every verdict, whatever came before it. */
class VerdictRules {
  spentCount = 0;
  readonly #clock: Clock;
  readonly #lastCounter = new Map<string, bigint>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hold(verdict: Verdict): void {
    if (verdict.kind === "refused") {
      assert(UNSPENT_REASONS.includes(verdict.reason), `unknown reason ${verdict.reason}`);
    } else if (verdict.kind === "spent") {
      this.spentCount++;
      const { key, counter, message, refusal } = verdict;
      assert(counter > (this.#lastCounter.get(key) ?? NOW_NS - 1000n), "a counter was spent twice");
      assert(counter <= this.#clock.wallNs() + SKEW_NS, "a counter beyond the skew was spent");
      assert(["open", "narrow"].includes(key), `a packet of key ${key} was spent`);
      assert(
        refusal !== null || key !== "narrow" || message.commandHash === ALLOWED_HASH,
        "a grant was passed by",
      );
      this.#lastCounter.set(key, counter);
    } else {
      assert.equal(verdict.kind, "held");
    }
  }
}

class ScriptClock implements Clock {
  #passedMs = 0;

  pass(ms: number): void {
    this.#passedMs += ms;
  }

  monotonicMs(): number {
    return this.#passedMs;
  }

  wallMs(): number {
    return Number(this.wallNs() / NS_PER_MS);
  }

  wallNs(): bigint {
    return NOW_NS + BigInt(this.#passedMs) * NS_PER_MS;
  }
}

/** Reads a script; past its end there are zeros. Its randomness is made from its own bytes. */
class Script {
  readonly random: () => number;
  readonly #input: Uint8Array;
  #offset = 0;

  constructor(input: Uint8Array) {
    this.#input = input;
    const random = new FuzzRandom(input.reduce((sum, byte) => Math.imul(sum, 31) + byte | 0, 7));
    this.random = () => random.next();
  }

  get isOver(): boolean {
    return this.#offset >= this.#input.length;
  }

  byte(): number {
    return this.bytes(1)[0] ?? 0;
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    bytes.set(this.#input.subarray(this.#offset, this.#offset + length));
    this.#offset += length;
    return bytes;
  }
}
