import assert from "node:assert/strict";
import { createHash, hkdfSync } from "node:crypto";
import { pairingKeys, transcriptHash, workingFolderId } from "../../../src/protocol/transfer/key_schedule.ts";
import vectors from "../../vectors/transfer-pairing.json" with { type: "json" };

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);
const pairings = [...vectors.code, ...vectors.resume];

function transcriptOf({ identifier, sender, receiver }: (typeof pairings)[number]): string {
  return transcriptHash(bytesOf(identifier), bytesOf(sender.hello), bytesOf(receiver.hello)).toHex();
}

Deno.test("transcriptHash() and pairingKeys() give the bytes of the vectors", () => {
  assert.equal(pairings.length, 4);
  for (const pairing of pairings) {
    const { keys } = pairing;
    assert.equal(transcriptOf(pairing), keys.transcript);
    const found = pairingKeys(bytesOf(keys.transcript), bytesOf(keys.material));
    assert.equal(found.sender.toHex(), keys.senderKey);
    assert.equal(found.receiver.toHex(), keys.receiverKey);
    assert.equal(found.senderConfirmation.toHex(), keys.senderConfirmation);
    assert.equal(found.receiverConfirmation.toHex(), keys.receiverConfirmation);
    if ("resumeSecret" in keys) assert.equal(found.resumeSecret.toHex(), keys.resumeSecret);
  }
  assert.equal(vectors.code.filter(({ keys }) => "resumeSecret" in keys).length, vectors.code.length);
});

Deno.test("the vectors of pairings hold what node:crypto makes of their hellos", () => {
  for (const { identifier, sender, receiver, keys } of pairings) {
    const transcript = createHash("sha256").update("postern transfer 1 keys").update(bytesOf(identifier))
      .update(bytesOf(sender.hello)).update(bytesOf(receiver.hello)).digest();
    assert.equal(transcript.toString("hex"), keys.transcript);
    const key = (info: string): string =>
      new Uint8Array(hkdfSync("sha256", bytesOf(keys.material), transcript, info, 32)).toHex();
    assert.equal(key("sender key"), keys.senderKey);
    assert.equal(key("receiver key"), keys.receiverKey);
    assert.equal(key("sender confirmation"), keys.senderConfirmation);
    assert.equal(key("receiver confirmation"), keys.receiverConfirmation);
  }
});

Deno.test("transcriptHash() differs by every byte of identifier and hellos, and by who said which", () => {
  const [pairing] = vectors.code;
  assert(pairing !== undefined);
  const [identifier, sender, receiver] = [
    bytesOf(pairing.identifier),
    bytesOf(pairing.sender.hello),
    bytesOf(pairing.receiver.hello),
  ];
  const found = [transcriptHash(identifier, sender, receiver), transcriptHash(identifier, receiver, sender)];
  for (const each of changed(identifier)) found.push(transcriptHash(each, sender, receiver));
  for (const each of changed(sender)) found.push(transcriptHash(identifier, each, receiver));
  for (const each of changed(receiver)) found.push(transcriptHash(identifier, sender, each));
  assert.equal(found.length, 2 + 33 + 56 + 56);
  assert.equal(new Set(found.map((each) => each.toHex())).size, found.length);
});

/** The bytes with one bit changed, in each byte once. */
function changed(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte, at) => bytes.with(at, byte ^ 1));
}

Deno.test("pairingKeys() gives five different values, and others for another transcript or material", () => {
  const [one, two] = [new Uint8Array(32), new Uint8Array(32).fill(1)];
  const all = [pairingKeys(one, one), pairingKeys(one, two), pairingKeys(two, one)]
    .flatMap((keys) => Object.values(keys) as Uint8Array[]);
  assert.equal(all.length, 15);
  assert.equal(new Set(all.map((each) => each.toHex())).size, 15);
  for (const each of all) assert.equal(each.length, 32);
});

Deno.test("workingFolderId() gives the name of the vectors, 16 hex digits", () => {
  for (const { keys, workingFolder } of vectors.code) {
    assert.equal(workingFolderId(bytesOf(keys.resumeSecret)), workingFolder);
    assert.match(workingFolder, /^[0-9a-f]{16}$/);
  }
  for (const { secret, workingFolder } of vectors.resume) {
    assert.equal(workingFolderId(bytesOf(secret)), workingFolder);
  }
});
