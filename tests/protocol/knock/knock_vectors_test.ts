/** The known answers of `tests/vectors/` through every way that a packet goes. */
import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { commandHash } from "../../../src/protocol/knock/command_hash.ts";
import { formatKey, parseKey } from "../../../src/protocol/knock/key.ts";
import {
  decodePacket,
  decodePlaintext,
  encodePacket,
  encodePlaintext,
  type KnockFields,
  openPacket,
  PacketError,
  sealPlaintext,
} from "../../../src/protocol/knock/packet.ts";
import first from "../../vectors/knock-v1.json" with { type: "json" };
import more from "../../vectors/knock-v1-more.json" with { type: "json" };

interface PacketVector {
  readonly comment?: string;
  readonly key: string;
  readonly iv: string;
  readonly command: string;
  readonly counter: string;
  readonly strict: boolean;
  readonly source_ip: string | null;
  readonly destination_ip: string;
  /** What a reader shows, where it differs from what was written. */
  readonly reads_as?: { readonly source_ip?: string; readonly destination_ip?: string };
  readonly plaintext: string;
  readonly packet: string;
}

const packets: readonly PacketVector[] = [...first.packets, ...more.packets];
const decodeOnly: readonly PacketVector[] = more.decode_only;

function fieldsOf(vector: PacketVector): KnockFields {
  return {
    commandHash: commandHash(vector.command),
    counter: BigInt(vector.counter),
    strict: vector.strict,
    sourceIp: vector.source_ip === null ? null : parseIp(vector.source_ip),
    destinationIp: parseIp(vector.destination_ip),
  };
}

Deno.test("the vector files are there and hold what they say", () => {
  assert(first.packets.length >= 1);
  assert(more.packets.length >= 30);
  assert(more.decode_only.length >= 3);
  assert.deepEqual(
    [...new Set(more.refusals.map((vector) => vector.refusal))].sort(),
    ["authentication", "key_id", "length", "version"],
  );
  assert.equal(new Set(packets.map((vector) => vector.packet)).size, packets.length);
});

Deno.test("each vector encodes to its bytes", () => {
  for (const vector of packets) {
    const fields = fieldsOf(vector);
    assert.equal(encodePlaintext(fields).toHex(), vector.plaintext, String(vector.comment));
    const packet = encodePacket(parseKey(vector.key), fields, Uint8Array.fromHex(vector.iv));
    assert.equal(packet.toHex(), vector.packet, String(vector.comment));
  }
});

Deno.test("each vector decodes to its fields", () => {
  for (const vector of [...packets, ...decodeOnly]) {
    const opened = openPacket(parseKey(vector.key), Uint8Array.fromHex(vector.packet));
    assert.equal(opened.toHex(), vector.plaintext, String(vector.comment));
    const fields = decodePlaintext(opened);
    assert.deepEqual(fields, fieldsOf(vector), String(vector.comment));
    assert.equal(fields.sourceIp, vector.reads_as?.source_ip ?? vector.source_ip, String(vector.comment));
    assert.equal(
      fields.destinationIp,
      vector.reads_as?.destination_ip ?? vector.destination_ip,
      String(vector.comment),
    );
  }
});

Deno.test("each vector, decoded and encoded again, is the same bytes", () => {
  for (const vector of packets) {
    const key = parseKey(vector.key);
    const fields = decodePacket(key, Uint8Array.fromHex(vector.packet));
    assert.equal(
      encodePacket(key, fields, Uint8Array.fromHex(vector.iv)).toHex(),
      vector.packet,
      String(vector.comment),
    );
    assert.equal(formatKey(key), vector.key);
  }
});

Deno.test("each vector that only readers accept seals to its bytes", () => {
  for (const vector of decodeOnly) {
    const plaintext = Uint8Array.fromHex(vector.plaintext);
    const packet = sealPlaintext(parseKey(vector.key), plaintext, Uint8Array.fromHex(vector.iv));
    assert.equal(packet.toHex(), vector.packet, String(vector.comment));
  }
});

Deno.test("each refusal vector is refused for its reason", () => {
  assert(more.refusals.length >= 20);
  for (const vector of more.refusals) {
    assert.throws(() => decodePacket(parseKey(vector.key), Uint8Array.fromHex(vector.packet)), (error) => {
      assert(error instanceof PacketError);
      assert.equal(error.refusal, vector.refusal, String(vector.comment));
      return true;
    });
  }
});
