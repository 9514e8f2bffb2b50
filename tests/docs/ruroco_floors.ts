/**
 * ruroco's `blocklist.msgpck` without any code of ours: MessagePack, an array of one map; each key an array of 8 uints in
 * their smallest form, each value the 16 bytes of a counter as bin 8.
 */
import { fromHex, toHex } from "../e2e/hex.ts";

/** By the 16 hex digits of the key id. */
export type RurocoFloors = Map<string, bigint>;

const HEAD = 0x91;
const MAP = 0x80;
const KEY_ID = "98";
const BYTE = "cc";
const COUNTER = "c410";
const COUNTER_DIGITS = 32;

export function writeRurocoFloors(floors: RurocoFloors): Uint8Array<ArrayBuffer> {
  const entries = [...floors].map(([keyId, floor]) => {
    const id = Array.from(fromHex(keyId), (byte) => (byte < MAP ? "" : BYTE) + toHex(Uint8Array.of(byte)));
    return KEY_ID + id.join("") + COUNTER + floor.toString(16).padStart(COUNTER_DIGITS, "0");
  });
  return fromHex(toHex(Uint8Array.of(HEAD, MAP + floors.size)) + entries.join(""));
}

/** Reads fewer than 16 entries; throws at anything else. */
export function readRurocoFloors(bytes: Uint8Array): RurocoFloors {
  let rest = toHex(bytes);
  function take(digits: number): string {
    const taken = rest.slice(0, digits);
    if (taken.length < digits) throw new Error("the floors end too early");
    rest = rest.slice(digits);
    return taken;
  }
  function expect(hex: string): void {
    if (take(hex.length) !== hex) throw new Error(`the floors have no ${hex} where one belongs`);
  }
  expect(HEAD.toString(16));
  const count = parseInt(take(2), 16) - MAP;
  const floors: RurocoFloors = new Map();
  for (let entry = 0; entry < count; entry++) {
    expect(KEY_ID);
    let id = "";
    for (let byte = 0; byte < 8; byte++) {
      const digits = take(2);
      id += digits === BYTE ? take(2) : digits;
    }
    expect(COUNTER);
    floors.set(id, BigInt(`0x${take(COUNTER_DIGITS)}`));
  }
  if (rest !== "") throw new Error("something follows the floors");
  return floors;
}
