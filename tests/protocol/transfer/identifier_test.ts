import assert from "node:assert/strict";
import { parseCode } from "../../../src/protocol/transfer/code.ts";
import {
  codeIdentifier,
  IDENTIFIER_BYTES,
  resumeIdentifier,
} from "../../../src/protocol/transfer/identifier.ts";
import vectors from "../../vectors/transfer-pairing.json" with { type: "json" };

Deno.test("codeIdentifier() and resumeIdentifier() give the bytes of the vectors", () => {
  for (const { code, identifier } of vectors.code) {
    assert.equal(codeIdentifier(parseCode(code).nameplate).toHex(), identifier);
  }
  for (const { secret, identifier } of vectors.resume) {
    assert.equal(resumeIdentifier(Uint8Array.fromHex(secret)).toHex(), identifier);
  }
  assert.equal(vectors.code.length + vectors.resume.length, 4);
});

Deno.test("codeIdentifier() is the same for all codes of a nameplate, whatever their words", () => {
  const [a, b] = ["4815-zoo-able-ocean", "4815-velvet-rabbit-legal"].map((text) => parseCode(text));
  assert.deepEqual(codeIdentifier(a?.nameplate ?? ""), codeIdentifier(b?.nameplate ?? "-"));
});

Deno.test("identifiers have 33 bytes, and differ by nameplate, secret and kind", () => {
  const digits = new TextEncoder().encode("481516");
  const all = [
    codeIdentifier("481516"),
    codeIdentifier("481517"),
    codeIdentifier("0481516"),
    resumeIdentifier(digits),
    resumeIdentifier(new Uint8Array(32)),
  ];
  assert.equal(new Set(all.map((each) => each.toHex())).size, all.length);
  for (const each of all) assert.equal(each.length, IDENTIFIER_BYTES);
  assert.equal(IDENTIFIER_BYTES, 33);
  // Not the type byte alone tells a code from a secret: the hashes have labels.
  assert.notEqual(all[0]?.toHex().slice(2), all[3]?.toHex().slice(2));
});
