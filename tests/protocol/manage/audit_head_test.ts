import assert from "node:assert/strict";
import {
  decodeHead,
  encodeHead,
  HEAD_BYTES,
  NO_HASH,
  rowHash,
  signHead,
  verifyHead,
} from "../../../src/protocol/manage/audit_head.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import vectors from "../../vectors/manage-audit.json" with { type: "json" };
import { flipped, hex, serverKey, strangerKey } from "./manage_identities.ts";

assert(vectors.rows.length > 0 && vectors.heads.length > 0, "no vectors were loaded");

Deno.test("rowHash() gives the hashes of the vectors, each row's on top of the one before", () => {
  let previous: Uint8Array = NO_HASH;
  for (const row of vectors.rows) {
    assert.equal(previous.toHex(), row.previous);
    previous = rowHash({ ...row, previous });
    assert.equal(previous.toHex(), row.hash);
  }
});

Deno.test("rowHash() is another one wherever a row is changed, also where text moves from one field to the next", () => {
  const row = { previous: NO_HASH, number: 1, atMs: 5, event: "joined", body: "{}" };
  const others = [
    { ...row, previous: new Uint8Array(32).fill(1) },
    { ...row, number: 2 },
    { ...row, atMs: 6 },
    { ...row, event: "joine", body: "d{}" },
    { ...row, event: "joined{", body: "}" },
    { ...row, body: "{ }" },
  ];
  const hashes = new Set([row, ...others].map((each) => rowHash(each).toHex()));
  assert.equal(hashes.size, others.length + 1);
});

for (const vector of vectors.heads) {
  Deno.test(`decodeHead() reads the vector of head ${vector.number}, which the server signed, and writes it again`, async () => {
    const head = decodeHead(hex(vector.bytes));
    assert.deepEqual([head.number, head.hash.toHex()], [vector.number, vector.hash]);
    assert.equal(encodeHead(head).toHex(), vector.bytes);
    assert(await verifyHead(head, hex(vectors.serverKey)));
    assert.deepEqual(await signHead(head, serverKey), head);
  });
}

Deno.test("verifyHead() refuses any changed bit, another key, and an empty audit with a hash", async () => {
  const [, vector] = vectors.heads;
  assert(vector !== undefined);
  const bytes = hex(vector.bytes);
  // Bits 1 to 10 of the number put it beyond 2^53.
  for (let bit = 16; bit < HEAD_BYTES * 8; bit += 5) {
    assert.equal(await verifyHead(decodeHead(flipped(bytes, bit)), serverKey.publicKey), false, String(bit));
  }
  assert.equal(await verifyHead(decodeHead(bytes), strangerKey.publicKey), false);
  const empty = await signHead({ number: 0, hash: new Uint8Array(32).fill(1) }, serverKey);
  assert.equal(await verifyHead(empty, serverKey.publicKey), false);
  const short = await signHead({ number: 1, hash: new Uint8Array(31) }, serverKey);
  assert.equal(await verifyHead(short, serverKey.publicKey), false);
});

Deno.test("decodeHead() refuses other lengths and numbers beyond 2^53", () => {
  const bytes = hex(vectors.heads[0]?.bytes ?? "");
  const refused = (error: unknown): boolean => error instanceof ResetError && error.code === "malformed";
  for (const each of [new Uint8Array(0), bytes.subarray(1), new Uint8Array([...bytes, 0])]) {
    assert.throws(() => decodeHead(each), refused);
  }
  const large = bytes.slice();
  large[1] = 0x20;
  assert.throws(() => decodeHead(large), refused);
});
