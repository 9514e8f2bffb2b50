/** What docs/wire-formats.md says of pairing, made by the code again. */
import assert from "node:assert/strict";
import { RecordSealer } from "../../src/protocol/record/record.ts";
import { parseCode } from "../../src/protocol/transfer/code.ts";
import { encodeHello, type PairingMode } from "../../src/protocol/transfer/hello.ts";
import { codeIdentifier } from "../../src/protocol/transfer/identifier.ts";
import { pairingKeys, transcriptHash, workingFolderId } from "../../src/protocol/transfer/key_schedule.ts";
import vectors from "../vectors/transfer-pairing.json" with { type: "json" };
import { byHand, table, wireFormats } from "./wire_formats_page.ts";

const [shown] = vectors.code;
assert(shown !== undefined);
const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);

Deno.test("docs/wire-formats.md shows a code and its identifier", () => {
  const { nameplate, text } = parseCode(shown.code);
  assert(wireFormats.includes(`\`${text}\``));
  assert.equal(codeIdentifier(nameplate).toHex(), byHand("transfer identifier").toHex());
});

Deno.test("docs/wire-formats.md shows hellos as they are written, of the lengths that it says", () => {
  for (const [mode, length] of [["code", 56], ["resume", 87]] satisfies [PairingMode, number][]) {
    const hello = byHand(`transfer hello ${mode}`);
    assert.equal(hello.length, length);
    const instance = hello.slice(7, 23), share = hello.slice(23);
    assert.deepEqual(encodeHello({ mode, role: "sender", instance, share }), hello);
  }
  assert.equal(byHand("transfer hello code").toHex(), shown.sender.hello);
  assert.equal(byHand("transfer hello resume").toHex(), vectors.resume[0]?.sender.hello);
  const fields = table("Transfer: hello", "bytes").map(([bytes]) => bytes);
  assert.deepEqual(fields, ["0..4", "4", "5", "6", "7..23", "23..56", "23..87"]);
});

Deno.test("docs/wire-formats.md shows what is derived, under the names that it tells", () => {
  const bytes = byHand("transfer keys");
  const parts = Array.from({ length: 8 }, (_, at) => bytes.slice(32 * at, 32 * at + 32));
  const [material, transcript, , ...values] = parts;
  assert(material !== undefined && transcript !== undefined);
  const hash = transcriptHash(
    bytesOf(shown.identifier),
    bytesOf(shown.sender.hello),
    bytesOf(shown.receiver.hello),
  );
  assert.equal(transcript.toHex(), hash.toHex());
  const keys = pairingKeys(transcript, material);
  const names = table("Transfer: keys", "info").map(([name]) => name);
  const byName: Readonly<Record<string, Uint8Array>> = {
    "sender key": keys.sender,
    "receiver key": keys.receiver,
    "sender confirmation": keys.senderConfirmation,
    "receiver confirmation": keys.receiverConfirmation,
    "resume secret": keys.resumeSecret,
  };
  assert.deepEqual(names, Object.keys(byName));
  assert.deepEqual(values.map((value) => value.toHex()), Object.values(byName).map((value) => value.toHex()));
  assert.equal(parts[2]?.toHex(), shown.keys.prk);
  assert.equal(bytes.slice(8 * 32).toHex(), workingFolderId(keys.resumeSecret));
});

Deno.test("docs/wire-formats.md shows both confirmations in their records", async () => {
  const { keys } = shown;
  const receivers = await new RecordSealer(bytesOf(keys.receiverKey)).seal(
    bytesOf(keys.receiverConfirmation),
  );
  const senders = await new RecordSealer(bytesOf(keys.senderKey)).seal(bytesOf(keys.senderConfirmation));
  assert.equal(byHand("transfer confirmations").toHex(), receivers.toHex() + senders.toHex());
});
