import assert from "node:assert/strict";
import { RecordSealer } from "../../../src/protocol/record/record.ts";
import { SealedConnection } from "../../../src/protocol/record/sealed_connection.ts";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";

const here = new Uint8Array(32).fill(1), there = new Uint8Array(32).fill(2);
const keysHere = { sending: here, receiving: there }, keysThere = { sending: there, receiving: here };

function sealedPair(): readonly [SealedConnection, SealedConnection] {
  const [a, b] = memoryPair();
  return [new SealedConnection(a, keysHere), new SealedConnection(b, keysThere)];
}

const SIZES = { connections: 50, largeWriteBytes: 8 * 1024 * 1024 };
for (const { name, run } of transportConformance(() => Promise.resolve(sealedPair()), SIZES)) {
  Deno.test(`SealedConnection ${name}`, run);
}

/** Records of the given texts as they leave a sealed connection, each in one piece, and one end to put them into. */
async function dialogue(texts: readonly string[]): Promise<{
  records: Uint8Array<ArrayBuffer>[];
  carrier: Connection;
  reader: SealedConnection;
}> {
  const sealer = new RecordSealer(here);
  const records = [];
  for (const text of texts) records.push(await sealer.seal(new TextEncoder().encode(text)));
  records.push(await sealer.sealEnd());
  const [carrier, end] = memoryPair();
  return { records, carrier, reader: new SealedConnection(end, keysThere) };
}

/** Everything that comes out until the end, and then how it ended. */
async function readOut(connection: Connection): Promise<string[]> {
  const found: string[] = [];
  const buffer = new Uint8Array(100);
  try {
    for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
      found.push(new TextDecoder().decode(buffer.subarray(0, count)));
    }
    return [...found, "end"];
  } catch (error) {
    assert(error instanceof TransportError, String(error));
    await assert.rejects(connection.read(buffer), error, "and so it stays");
    return [...found, error.code];
  } finally {
    connection.close();
  }
}

type Carry = (records: Uint8Array<ArrayBuffer>[]) => readonly (Uint8Array<ArrayBuffer> | undefined)[];
const carriers: readonly [string, Carry, string[]][] = [
  ["gives what was carried unchanged", (all) => all, ["one", "two", "end"]],
  ["notices a flipped bit", ([a, b]) => [a, b?.map((byte, i) => i === 9 ? byte ^ 1 : byte)], [
    "one",
    "tampered",
  ]],
  ["notices a changed length", ([a]) => [a?.map((byte, i) => i === 3 ? byte - 1 : byte)], ["tampered"]],
  ["notices reordered records", ([a, b]) => [b, a], ["tampered"]],
  ["notices a replayed record", ([a]) => [a, a], ["one", "tampered"]],
  ["notices a dropped record", ([, b]) => [b], ["tampered"]],
  ["notices a dropped record before the end", ([a, , end]) => [a, end], ["one", "tampered"]],
  ["notices injected bytes", ([a, b]) => [a, new Uint8Array(40), b], ["one", "tampered"]],
  ["notices an absurd length", ([a]) => [a, Uint8Array.of(255, 255, 255, 255)], ["one", "tampered"]],
  ["notices a length that is too short", ([a]) => [a, Uint8Array.of(0, 0, 0, 15)], ["one", "tampered"]],
  ["notices that the last record is missing", ([a, b]) => [a, b], ["one", "two", "lost"]],
  ["notices an end within a record", ([a, b]) => [a, b?.slice(0, 12)], ["one", "lost"]],
  ["notices an end within a length", ([a, b]) => [a, b?.slice(0, 2)], ["one", "lost"]],
  ["never looks at bytes behind the last record", (all) => [...all, new Uint8Array(40)], [
    "one",
    "two",
    "end",
  ]],
];
for (const [name, carry, expected] of carriers) {
  for (const pieceBytes of [1, 7, 1000]) {
    Deno.test(`SealedConnection ${name}, carried in pieces of ${pieceBytes} bytes`, async () => {
      const { records, carrier, reader } = await dialogue(["one", "two"]);
      const found = readOut(reader);
      try {
        for (const record of carry(records)) {
          for (let at = 0; record !== undefined && at < record.length; at += pieceBytes) {
            await carrier.write(record.subarray(at, at + pieceBytes));
          }
        }
        await carrier.closeWrite();
      } catch (error) {
        assert(error instanceof TransportError); // the reader has gone after it noticed
      }
      assert.deepEqual(await found, expected);
      carrier.close();
    });
  }
}

Deno.test("SealedConnection refuses its own records sent back", async () => {
  const [carrier, end] = memoryPair();
  const connection = new SealedConnection(end, keysThere);
  await connection.write(new TextEncoder().encode("one"));
  const echo = new Uint8Array(100);
  const count = await carrier.read(echo);
  assert(count !== null);
  await carrier.write(echo.subarray(0, count));
  assert.deepEqual(await readOut(connection), ["tampered"]);
  carrier.close();
});

Deno.test("SealedConnection shows no plaintext to what carries it, and is confidential", async () => {
  const [carrier, end] = memoryPair();
  const connection = new SealedConnection(end, keysHere);
  assert(connection.confidential);
  assert.equal(connection.transport, end.transport);
  const secret = "the same text again and again";
  await connection.write(new TextEncoder().encode(secret));
  await connection.write(new TextEncoder().encode(secret));
  await connection.closeWrite();
  const wire = new Uint8Array(1000), recordBytes = 4 + secret.length + 16;
  let length = 0;
  for (let count: number | null = 0; count !== null; length += count) {
    count = await carrier.read(wire.subarray(length));
    if (count === null) break;
  }
  assert.equal(length, 2 * recordBytes + 20);
  assert(!new TextDecoder().decode(wire).includes("same text"));
  assert.notDeepEqual(wire.slice(0, recordBytes), wire.slice(recordBytes, 2 * recordBytes));
  connection.close();
  carrier.close();
});

Deno.test("SealedConnection writes nothing for an empty write, which would end it", async () => {
  const [a, b] = sealedPair();
  await a.write(new Uint8Array(0));
  await a.write(new TextEncoder().encode("still there"));
  await a.closeWrite();
  assert.deepEqual(await readOut(b), ["still there", "end"]);
  a.close();
});

Deno.test("SealedConnection closes what carries it once something was tampered with", async () => {
  const [carrier, end] = memoryPair();
  const connection = new SealedConnection(end, keysThere);
  await carrier.write(new Uint8Array(40));
  await assert.rejects(connection.read(new Uint8Array(10)), TransportError);
  assert.equal(await carrier.read(new Uint8Array(10)).catch(() => null), null);
  await assert.rejects(connection.write(Uint8Array.of(1)), TransportError);
  carrier.close();
});
