import assert from "node:assert/strict";
import fc from "fast-check";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { MAX_PIECE_BYTES, PieceConnection } from "../../../src/protocol/transport/piece_connection.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";

const loss = (): Promise<TransportError> => Promise.resolve(new TransportError("lost", "the pipe has ended"));

async function readAll(connection: Connection, bufferBytes: number): Promise<number[]> {
  const bytes: number[] = [];
  const buffer = new Uint8Array(bufferBytes);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) return bytes;
    bytes.push(...buffer.subarray(0, count));
  }
}

Deno.test("PieceConnection reads the same whatever splits the pipe makes", async () => {
  const seed = Deno.env.get("POSTERN_SEED");
  const writes = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 10 });
  const property = fc.asyncProperty(writes, fc.integer({ min: 1, max: 9 }), async (writes, splitBytes) => {
    const [near, pipe] = memoryPair();
    const writer = new PieceConnection(near, loss);
    for (const each of writes) await writer.write(each);
    await writer.closeWrite();
    const split: Connection = {
      transport: "memory",
      confidential: true,
      localAddress: null,
      remoteAddress: null,
      read: (buffer) => pipe.read(buffer.subarray(0, splitBytes)),
      write: (bytes) => pipe.write(bytes),
      closeWrite: () => pipe.closeWrite(),
      close: () => pipe.close(),
    };
    const reader = new PieceConnection(split, loss);
    assert.deepEqual(await readAll(reader, 7), writes.flatMap((each) => [...each]));
    assert.equal(await reader.read(new Uint8Array(1)), null);
  });
  await fc.assert(property, seed === undefined ? {} : { seed: Number(seed) });
});

Deno.test("PieceConnection writes a length of four bytes before each piece, and zero at the end", async () => {
  const [near, far] = memoryPair();
  const connection = new PieceConnection(near, loss);
  await connection.write(new TextEncoder().encode("abc"));
  await connection.closeWrite();
  near.close();
  const bytes = await readAll(far, 64);
  assert.deepEqual(bytes, [0, 0, 0, 3, 0x61, 0x62, 0x63, 0, 0, 0, 0]);
});

Deno.test("PieceConnection splits a write that is longer than a piece", async () => {
  const [near, far] = memoryPair();
  const writer = new PieceConnection(near, loss), reader = new PieceConnection(far, loss);
  const sending = async (): Promise<void> => {
    await writer.write(new Uint8Array(MAX_PIECE_BYTES + 1).fill(7));
    await writer.closeWrite();
  };
  const sent = sending();
  const buffer = new Uint8Array(2 * MAX_PIECE_BYTES);
  let bytes = 0;
  for (let count = await reader.read(buffer); count !== null; count = await reader.read(buffer)) {
    bytes += count;
  }
  assert.equal(bytes, MAX_PIECE_BYTES + 1);
  await sent;
});

for (
  const [what, bytes] of [["between pieces", [0, 0, 0, 1, 9]], ["in a length", [0, 0]], ["in a piece", [
    0,
    0,
    0,
    5,
    9,
  ]]] as const
) {
  Deno.test(`PieceConnection says lost, and not the end, when the pipe ends ${what}`, async () => {
    const [near, far] = memoryPair();
    await near.write(Uint8Array.from(bytes));
    near.close();
    await assert.rejects(readAll(new PieceConnection(far, loss), 8), {
      code: "lost",
      message: "the pipe has ended",
    });
  });
}

Deno.test("PieceConnection tells what it suspects when something else was printed into the pipe", async () => {
  const [near, far] = memoryPair();
  await near.write(new TextEncoder().encode("listening on port 80\n"));
  await assert.rejects(new PieceConnection(far, loss).read(new Uint8Array(8)), {
    code: "lost",
    message: /something else of it prints to its standard output$/,
  });
});

const CUT: readonly (readonly [string, readonly number[]])[] = [
  ["a length that is too long", [...new TextEncoder().encode("oops"), 0, 0, 0, 2, 0x68, 0x69, 0, 0, 0, 0]],
  ["a pipe that ended in a piece", [0, 0, 0, 5, 9]],
  ["a pipe that ended in a length", [0, 0, 0]],
];

for (const [what, bytes] of CUT) {
  Deno.test(`PieceConnection gives nothing after ${what}`, async () => {
    const [near, far] = memoryPair();
    await near.write(Uint8Array.from(bytes));
    await near.closeWrite();
    let losses = 0;
    const connection = new PieceConnection(far, () => {
      losses++;
      return loss();
    });
    const first = await readAll(connection, 8).catch((error) => error);
    assert.equal(first.code, "lost");
    for (let i = 0; i < 3; i++) {
      assert.equal(await connection.read(new Uint8Array(8)).catch((error) => error), first);
    }
    assert.ok(losses <= 1);
    connection.close();
    await assert.rejects(connection.read(new Uint8Array(8)), { code: "closed" });
  });
}

Deno.test("PieceConnection takes a piece of exactly the limit and refuses one byte more before it reads it", async () => {
  const [near, far] = memoryPair();
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, MAX_PIECE_BYTES);
  await near.write(length);
  await near.write(Uint8Array.of(1));
  const reader = new PieceConnection(far, loss);
  assert.equal(await reader.read(new Uint8Array(8)), 1);

  const [liar, victim] = memoryPair();
  new DataView(length.buffer).setUint32(0, MAX_PIECE_BYTES + 1);
  await liar.write(length);
  await assert.rejects(new PieceConnection(victim, loss).read(new Uint8Array(8)), { code: "lost" });
});
