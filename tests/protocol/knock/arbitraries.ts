/** Arbitrary values of the knock job, leaning towards the edges. */
import fc from "fast-check";
import { type IpAddress, ipFromBytes, parseIp } from "../../../src/protocol/knock/address.ts";
import type { Key } from "../../../src/protocol/knock/key.ts";
import { type KnockFields, NONCE_BYTES } from "../../../src/protocol/knock/packet.ts";

export const MAX_U64 = 2n ** 64n - 1n;
export const MAX_U128 = 2n ** 128n - 1n;

export function bytesOf(length: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: length, maxLength: length }) as fc.Arbitrary<Uint8Array>;
}

export function u64(): fc.Arbitrary<bigint> {
  return fc.bigInt({ min: 0n, max: MAX_U64 });
}

export function u128(): fc.Arbitrary<bigint> {
  return fc.oneof(
    fc.bigInt({ min: 0n, max: MAX_U128 }),
    fc.constantFrom(0n, MAX_U64, MAX_U64 + 1n, MAX_U128),
  );
}

/** Any address; groups are often zero, so that shortening is met, and often IPv4. */
export function ipAddress(): fc.Arbitrary<IpAddress> {
  const group = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff));
  const ipv6 = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) =>
    ipFromBytes(Uint8Array.from(groups.flatMap((value) => [value >> 8, value & 0xff])))
  );
  return fc.oneof(fc.ipV4().map(parseIp), ipv6);
}

export function key(): fc.Arbitrary<Key> {
  return fc.record({ id: u64(), secret: bytesOf(32) }, { noNullPrototype: true });
}

export function nonce(): fc.Arbitrary<Uint8Array> {
  return bytesOf(NONCE_BYTES);
}

/** Any fields that a packet can carry. */
export function knockFields(): fc.Arbitrary<KnockFields> {
  return fc.record({
    commandHash: u64(),
    counter: u128(),
    strict: fc.boolean(),
    sourceIp: fc.option(ipAddress().filter((ip) => ip !== "::")),
    destinationIp: ipAddress(),
  }, { noNullPrototype: true });
}
