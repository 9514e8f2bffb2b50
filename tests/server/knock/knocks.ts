/** A clock that only tests move, and packets of a client whose every field can be chosen. */
import { parseIp } from "../../../src/protocol/knock/address.ts";
import type { IpAddress } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { generateKey } from "../../../src/protocol/knock/key.ts";
import type { Key } from "../../../src/protocol/knock/key.ts";
import { encodePacket, NONCE_BYTES } from "../../../src/protocol/knock/packet.ts";
import type { Clock } from "../../../src/system/clock.ts";

export const NS_PER_SECOND = 1_000_000_000n;
/** Where the server believes to be, and two places it hears from. */
export const SERVER_IP = parseIp("192.0.2.1");
export const HOME_IP = parseIp("198.51.100.7");
export const ELSEWHERE_IP = parseIp("203.0.113.9");

/** Starts in 2027 and stands still. */
export class FakeClock implements Clock {
  #wallMs = Date.UTC(2027, 0, 1);
  #monotonicMs = 5_000_000;

  wallMs(): number {
    return this.#wallMs;
  }

  wallNs(): bigint {
    return BigInt(this.#wallMs) * 1_000_000n;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  /** What a person or NTP does to the wall clock. */
  shiftWall(ms: number): void {
    this.#wallMs += ms;
  }

  advance(ms: number): void {
    this.#wallMs += ms;
    this.#monotonicMs += ms;
  }
}

export interface KnockOptions {
  command?: string;
  counter?: bigint;
  strict?: boolean;
  sourceIp?: IpAddress | null;
  destinationIp?: IpAddress;
}

/** One holder of a key. Counters are the clock's nanoseconds, or one more than the last. */
export class Knocker {
  readonly key: Key;
  readonly #nowNs: () => bigint;
  #counter = 0n;

  constructor(nowNs: () => bigint, key: Key = generateKey()) {
    this.#nowNs = nowNs;
    this.key = key;
  }

  nextCounter(): bigint {
    const now = this.#nowNs();
    this.#counter = now > this.#counter ? now : this.#counter + 1n;
    return this.#counter;
  }

  packet(options: KnockOptions = {}): Uint8Array {
    const fields = {
      commandHash: commandHash(options.command ?? "open_ssh"),
      counter: options.counter ?? this.nextCounter(),
      strict: options.strict ?? false,
      sourceIp: options.sourceIp ?? null,
      destinationIp: options.destinationIp ?? SERVER_IP,
    };
    return encodePacket(this.key, fields, crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  }
}

/** The packet with one bit turned over, counted from the left. */
export function flipBit(packet: Uint8Array, bit: number): Uint8Array {
  const flipped = packet.slice();
  const index = bit >> 3;
  flipped[index] = (flipped[index] ?? 0) ^ (0x80 >> (bit & 7));
  return flipped;
}
