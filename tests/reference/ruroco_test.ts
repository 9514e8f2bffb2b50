/** Two independent implementations of the wire format, each reading what the other wrote. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ipToBytes } from "../../src/protocol/knock/address.ts";
import { commandHash, formatCommandHash } from "../../src/protocol/knock/command_hash.ts";
import { formatKey, formatKeyId, parseKey } from "../../src/protocol/knock/key.ts";
import { decodePacket, encodePacket, openPacket, PacketError } from "../../src/protocol/knock/packet.ts";
import { key, knockFields, nonce } from "../protocol/knock/arbitraries.ts";
import { holds } from "../property.ts";
import vectors from "../vectors/knock-v1.json" with { type: "json" };
import { buildRurocoPacket, openRurocoPacket, rurocoKey } from "./ruroco.ts";

Deno.test("ruroco.ts imports nothing from src/", async () => {
  const sources = ["ruroco.ts", "aes_gcm_siv.ts", "blake2b.ts"];
  for (const name of sources) {
    const source = await Deno.readTextFile(new URL(name, import.meta.url));
    assert(!/from ".*(src|noble)/.test(source), name);
  }
});

Deno.test("buildRurocoPacket() gives the known answers", () => {
  assert(vectors.packets.length >= 1);
  for (const vector of vectors.packets) {
    const packet = buildRurocoPacket({
      key: vector.key,
      command: vector.command,
      counter: BigInt(vector.counter),
      strict: vector.strict,
      destinationIp: vector.destination_ip,
      nonce: vector.iv,
    });
    assert.equal(packet.toHex(), vector.packet);
  }
});

Deno.test("ruroco's server reads what our client writes", () => {
  holds(
    fc.property(key(), nonce(), knockFields(), (anyKey, anyNonce, fields) => {
      const opened = openRurocoPacket(formatKey(anyKey), encodePacket(anyKey, fields, anyNonce));
      assert.deepEqual(opened, {
        keyId: formatKeyId(anyKey.id),
        version: 1,
        commandHash: formatCommandHash(fields.commandHash),
        counter: fields.counter,
        strict: fields.strict,
        sourceIp: fields.sourceIp === null ? null : ipToBytes(fields.sourceIp).toHex(),
        destinationIp: ipToBytes(fields.destinationIp).toHex(),
      });
    }),
    { numRuns: 50 },
  );
});

Deno.test("our server reads what ruroco's client writes", () => {
  const command = fc.string({ unit: "binary", maxLength: 60 });
  holds(
    fc.property(command, knockFields(), (name, fields) => {
      const text = rurocoKey();
      const packet = buildRurocoPacket({
        key: text,
        command: name,
        counter: fields.counter,
        strict: fields.strict,
        destinationIp: fields.destinationIp,
        ...(fields.sourceIp === null ? {} : { sourceIp: fields.sourceIp }),
      });
      assert.deepEqual(decodePacket(parseKey(text), packet), { ...fields, commandHash: commandHash(name) });
    }),
    { numRuns: 50 },
  );
});

Deno.test("both refuse the same changed packets", () => {
  const text = rurocoKey();
  const packet = buildRurocoPacket({
    key: text,
    command: "default",
    counter: 1n,
    destinationIp: "127.0.0.1",
  });
  for (let at = 0; at < packet.length; at++) {
    const changed = packet.slice();
    changed.set([(changed[at] ?? 0) ^ 0x10], at);
    assert.equal(openRurocoPacket(text, changed), null);
    assert.throws(() => openPacket(parseKey(text), changed), PacketError);
  }
  assert.notEqual(openRurocoPacket(text, packet), null);
});
