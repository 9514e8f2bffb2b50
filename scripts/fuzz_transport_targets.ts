/**
 * What is fuzzed of transports and discovery: everything that reads what another program wrote to a pipe, a message
 * port, a socket or a place for records.
 */
import assert from "node:assert/strict";
import { discoveryOver } from "../src/protocol/rpc/discovery/discovery.ts";
import { formatRecord, type LeasedRecord, parseRecord } from "../src/protocol/rpc/discovery/record.ts";
import type { RecordStore } from "../src/protocol/rpc/discovery/record_store.ts";
import { MAX_PIECE_BYTES, PieceConnection } from "../src/protocol/transport/piece_connection.ts";
import { decodeMmapHello, encodeMmapHello } from "../src/protocol/transport/ring/mmap_hello.ts";
import { MAX_RING_BYTES, MIN_RING_BYTES } from "../src/protocol/transport/ring/ring.ts";
import { TransportError } from "../src/protocol/transport/transport.ts";
import { messageScript, playMessages } from "./fuzz_messages.ts";
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import { type FuzzTarget, noiseOrMutant, unlessRefused } from "./fuzz_target.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
const LENGTH_BYTES = 4;
/** As docs/wire-formats.md says. */
const MAX_LEASE_MS = 3_600_000;
const HIDDEN = /[/\\@\s]|^\./;

const seedRecord: LeasedRecord = {
  record: {
    name: "MATH",
    instance: "000102030405060708090a0b0c0d0e0f",
    transport: "tcp",
    codec: "json",
    addresses: ["127.0.0.1:1337"],
    pid: 4242,
    startTimeMs: 1_800_000_000_000,
  },
  leaseMs: 10_000,
  beat: 0,
  renewedAtMs: 1_800_000_001_000,
};
const seedText = formatRecord(seedRecord);
const recordSeeds = [
  seedText,
  formatRecord({
    ...seedRecord,
    record: { ...seedRecord.record, transport: "unix", addresses: ['/run/a b"\\.socket', "[::1]:1", "~"] },
  }),
  seedText.replace('"beat":0', '"beat":1e3,"more":[{"__proto__":null}]').replace("MATH", "\\u004dATH"),
  seedText.replace("4242", "9007199254740992"),
  seedText.replace("10000", "3600001"),
  seedText.replace("MATH", "../x"),
].map((text) => encoder.encode(text));
const helloSeeds = [4096, 262_144, 67_108_864, 4097].map((ringBytes) =>
  encodeMmapHello({ pid: 4711, descriptor: 21, ringBytes, token: new Uint8Array(16).fill(7) })
);

export const transportFuzzTargets: readonly FuzzTarget[] = [
  { name: "stdio_pieces", make: makePieces, accepts: acceptsPieces },
  { name: "messages", make: messageScript, accepts: playMessages },
  { name: "mmap_hello", make: (random) => noiseOrMutant(random, helloSeeds), accepts: acceptsHello },
  { name: "discovery_record", make: makeRecord, accepts: acceptsRecord },
];

/** Length of the reads, then up to six pieces, mostly with their last one, damaged or not. */
function makePieces(random: FuzzRandom): Uint8Array {
  const lengths = Array.from({ length: random.below(6) }, () => random.pick([1, 2, 5, 100, 255, 256, 300]));
  const hasEnd = random.below(4) > 0;
  const pieces = [...lengths, ...hasEnd ? [0] : []].flatMap((length) => [
    0,
    0,
    length >> 8,
    length & 0xff,
    ...random.bytes(length),
  ]);
  const bytes = Uint8Array.from(pieces);
  const isWhole = random.below(3) === 0;
  return Uint8Array.of(1 + random.below(64), ...isWhole ? bytes : noiseOrMutant(random, [bytes]));
}

interface Pieces {
  readonly bytes: string;
  /** Whether the last piece came. */
  readonly hasEnded: boolean;
}

async function acceptsPieces(input: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const [cut = 1] = input, stream = input.subarray(1);
  const expected = piecesOf(stream);
  assert.deepEqual(await readPieces(stream, Math.max(1, cut)), expected);
  if (!expected.hasEnded) {
    return false;
  }
  const out = new RecordedConnection(new Uint8Array(0), 1);
  const writer = new PieceConnection(out, neverLost);
  await writer.write(Uint8Array.fromHex(expected.bytes));
  await writer.closeWrite();
  const written = Uint8Array.from(out.written.flatMap((chunk) => [...chunk]));
  assert.deepEqual(piecesOf(written), expected, "what was written does not read the same");
  return true;
}

/** What docs/wire-formats.md says is in a stream. */
function piecesOf(stream: Uint8Array): Pieces {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  let bytes = "";
  for (let at = 0; at + LENGTH_BYTES <= stream.length;) {
    const length = view.getUint32(at);
    if (length === 0) return { bytes, hasEnded: true };
    if (length > MAX_PIECE_BYTES) break;
    at += LENGTH_BYTES;
    bytes += stream.subarray(at, at + length).toHex();
    at += length;
  }
  return { bytes, hasEnded: false };
}

async function readPieces(stream: Uint8Array, pieceBytes: number): Promise<Pieces> {
  const reader = new PieceConnection(new RecordedConnection(stream, pieceBytes), neverLost);
  const buffer = new Uint8Array(pieceBytes + 3);
  let bytes = "";
  try {
    for (;;) {
      const count = await reader.read(buffer);
      if (count === null) {
        assert.equal(await reader.read(buffer), null, "it went on after its end");
        return { bytes, hasEnded: true };
      }
      bytes += buffer.subarray(0, count).toHex();
    }
  } catch (error) {
    assert(error instanceof TransportError && error.code === "lost", String(error));
    return { bytes, hasEnded: false };
  }
}

function neverLost(): Promise<TransportError> {
  return Promise.resolve(new TransportError("lost", "the input ended"));
}

function acceptsHello(bytes: Uint8Array<ArrayBuffer>): boolean {
  const hello = unlessRefused(() => decodeMmapHello(bytes), TransportError);
  if (hello === null) {
    return false;
  }
  const { ringBytes } = hello;
  assert(
    ringBytes >= MIN_RING_BYTES && ringBytes <= MAX_RING_BYTES && Number.isInteger(Math.log2(ringBytes)),
  );
  assert.deepEqual(encodeMmapHello(hello), bytes);
  return true;
}

/** Damage in most places of a record makes it none, so more of them are whole than elsewhere. */
function makeRecord(random: FuzzRandom): Uint8Array {
  return random.below(5) === 0 ? random.pick(recordSeeds) : noiseOrMutant(random, recordSeeds);
}

/** A record that was read is one that could have been published, and is found under its own key and no other. */
async function acceptsRecord(input: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const text = decoder.decode(input);
  const leased = parseRecord(text);
  const { name, instance } = leased?.record ?? seedRecord.record;
  assert(!HIDDEN.test(name), "this name leads out of its folder");
  const found = await resolved(name, instance, text);
  if (leased === null) {
    assert.deepEqual(found, []);
    return false;
  }
  const { leaseMs, beat, renewedAtMs, record: { pid, startTimeMs } } = leased;
  assert(leaseMs >= 1 && leaseMs <= MAX_LEASE_MS);
  assert(
    [leaseMs, beat, renewedAtMs, pid, startTimeMs].every((each) => Number.isSafeInteger(each) && each >= 0),
  );
  assert.deepEqual(parseRecord(formatRecord(leased)), leased);
  assert.deepEqual(found, [leased.record]);
  assert.deepEqual(await resolved(name === "x" ? "y" : "x", instance, text), []);
  assert.deepEqual(await resolved(name, "f".repeat(32), text), []);
  return true;
}

/** What is found in a place that has nothing but that text, whose owner lives. */
async function resolved(name: string, instance: string, text: string): Promise<readonly unknown[]> {
  const store: RecordStore = {
    list: () => Promise.resolve([{ name, instance, text, owner: "alive" }]),
    put: () => Promise.reject(new Error("nothing is to be put")),
    remove: () => Promise.reject(new Error("nothing is to be removed")),
    withdraw: () => Promise.reject(new Error("nothing is to be withdrawn")),
    watch: () => () => {},
  };
  return await discoveryOver(store).resolve(name);
}
