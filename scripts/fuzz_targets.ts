/**
 * What is fuzzed: everything that reads bytes somebody else may have written, on both sides of authentication. A
 * fuzzer cannot forge a tag, so what lies behind it is reached by sealing mutated plaintexts with the right key.
 *
 * One property for all: an input is refused by the reader's own typed error, or what was read from it writes the
 * same bytes again. Each target is a function of its input alone, so that an input as hex is all it takes to see a
 * failure again.
 */
import assert from "node:assert/strict";
import { AddressError, ipFromBytes, ipNetwork, ipToBytes, parseIp } from "../src/protocol/knock/address.ts";
import { CommandHashError, formatCommandHash, parseCommandHash } from "../src/protocol/knock/command_hash.ts";
import { decodeFloors, encodeFloors, FloorsCodecError } from "../src/protocol/knock/floors_codec.ts";
import { decodeForwardMessage, encodeForwardMessage } from "../src/protocol/knock/forward_message.ts";
import { formatKey, KeyError, parseKey } from "../src/protocol/knock/key.ts";
import {
  decodePacket,
  decodePlaintext,
  encodePacket,
  encodePlaintext,
  NONCE_BYTES,
  openPacket,
  PacketError,
  PLAINTEXT_BYTES,
  sealPlaintext,
} from "../src/protocol/knock/packet.ts";
import floors from "../tests/vectors/floors-v1.json" with { type: "json" };
import packets from "../tests/vectors/knock-v1-more.json" with { type: "json" };
import { fuzzJudge, judgeScript } from "./fuzz_judge.ts";
import { manageFuzzTargets } from "./fuzz_manage_targets.ts";
import { manageAuthenticationFuzzTargets } from "./fuzz_manage_authentication_targets.ts";
import { rpcFuzzTargets } from "./fuzz_rpc_targets.ts";
import { type FuzzTarget, noiseOrMutant, unlessRefused } from "./fuzz_target.ts";
import { transferFuzzTargets } from "./fuzz_transfer_targets.ts";
import { transportFuzzTargets } from "./fuzz_transport_targets.ts";
import type { FuzzRandom } from "./fuzz_random.ts";

const hex = Uint8Array.fromHex;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

const key = parseKey("AQIDBAUGBwgAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==");
const nonce = new Uint8Array(NONCE_BYTES);
const STRICT_OFFSET = 25;

const plaintextSeeds = packets.packets.map((vector) => hex(vector.plaintext));
const packetSeeds = plaintextSeeds.map((plaintext) => sealPlaintext(key, plaintext, nonce));
const forwardSeeds = plaintextSeeds.map((plaintext) => plaintext.slice(1, 9 + 16));
const floorsSeeds = [...floors.files, ...floors.refusals].map((vector) => hex(vector.bytes));
const keySeeds = packets.packets.map((vector) => encoder.encode(vector.key));
const addressSeeds = [
  "192.0.2.7",
  "::ffff:192.0.2.7",
  "2001:db8::7",
  "1:2:3:4:5:6:7:8",
  "::1",
  "fe80::1%eth0",
  "::/0",
]
  .map((text) => encoder.encode(text));
const hashSeeds = packets.packets.map((vector) => encoder.encode(`#${vector.plaintext.slice(2, 18)}`));

export const fuzzTargets: readonly FuzzTarget[] = [
  { name: "datagram", make: (random) => noiseOrMutant(random, packetSeeds), accepts: acceptsDatagram },
  { name: "plaintext", make: makePlaintext, accepts: acceptsPlaintext },
  {
    name: "forward_message",
    make: (random) => noiseOrMutant(random, forwardSeeds),
    accepts: acceptsForwardMessage,
  },
  { name: "floors_file", make: (random) => noiseOrMutant(random, floorsSeeds), accepts: acceptsFloorsFile },
  { name: "key_text", make: (random) => noiseOrMutant(random, keySeeds), accepts: acceptsKeyText },
  { name: "address", make: (random) => noiseOrMutant(random, addressSeeds), accepts: acceptsAddress },
  { name: "command_hash", make: (random) => noiseOrMutant(random, hashSeeds), accepts: acceptsCommandHash },
  { name: "judge", make: judgeScript, accepts: fuzzJudge },
  ...rpcFuzzTargets,
  ...transportFuzzTargets,
  ...transferFuzzTargets,
  ...manageAuthenticationFuzzTargets,
  ...manageFuzzTargets,
];

/** Nearly always of the right length and version, since no other is read any further. */
function makePlaintext(random: FuzzRandom): Uint8Array {
  const plaintext = noiseOrMutant(random, plaintextSeeds);
  const choice = random.below(20);
  if (choice === 0) {
    return plaintext;
  }
  const resized = new Uint8Array(PLAINTEXT_BYTES);
  resized.set(plaintext.subarray(0, PLAINTEXT_BYTES));
  if (choice > 1) {
    resized[0] = 1;
  }
  return resized;
}

function acceptsDatagram(datagram: Uint8Array): boolean {
  const before = datagram.slice();
  const fields = unlessRefused(() => decodePacket(key, datagram), PacketError);
  assert.deepEqual(datagram, before, "the reader changed its input");
  if (fields === null) {
    return false;
  }
  assert.deepEqual(encodePacket(key, fields, datagram.slice(8, 8 + NONCE_BYTES)), datagram);
  return true;
}

function acceptsPlaintext(plaintext: Uint8Array): boolean {
  if (plaintext.length === PLAINTEXT_BYTES) {
    assert.deepEqual(openPacket(key, sealPlaintext(key, plaintext, nonce)), plaintext);
  } else {
    assert.throws(() => sealPlaintext(key, plaintext, nonce), RangeError);
  }
  const fields = unlessRefused(() => decodePlaintext(plaintext), PacketError);
  if (fields === null) {
    return false;
  }
  const expected = plaintext.slice();
  expected[STRICT_OFFSET] = fields.strict ? 1 : 0; // the one byte with more than one reading
  assert.deepEqual(encodePlaintext(fields), expected);
  return true;
}

function acceptsForwardMessage(bytes: Uint8Array): boolean {
  const message = unlessRefused(() => decodeForwardMessage(bytes), RangeError);
  if (message === null) {
    return false;
  }
  assert.deepEqual(encodeForwardMessage(message), bytes);
  return true;
}

function acceptsFloorsFile(bytes: Uint8Array): boolean {
  const decoded = unlessRefused(() => decodeFloors(bytes), FloorsCodecError);
  if (decoded === null) {
    return false;
  }
  assert.deepEqual(encodeFloors(decoded), bytes);
  return true;
}

function acceptsKeyText(bytes: Uint8Array): boolean {
  const text = decoder.decode(bytes);
  const parsed = unlessRefused(() => parseKey(text), KeyError);
  if (parsed === null) {
    return false;
  }
  assert.equal(formatKey(parsed), text.trim());
  return true;
}

function acceptsAddress(bytes: Uint8Array): boolean {
  const text = decoder.decode(bytes);
  const ip = unlessRefused(() => parseIp(text), AddressError);
  if (ip === null) {
    return false;
  }
  assert.equal(parseIp(ip), ip);
  assert.equal(ipFromBytes(ipToBytes(ip)), ip);
  assert.match(ipNetwork(ip), /^[0-9.]+\/32$|^[0-9a-f:]*::\/64$/);
  return true;
}

function acceptsCommandHash(bytes: Uint8Array): boolean {
  const text = decoder.decode(bytes);
  const hash = unlessRefused(() => parseCommandHash(text), CommandHashError);
  if (hash === null) {
    return false;
  }
  assert.equal(`#${formatCommandHash(hash)}`, text.toLowerCase());
  return true;
}
