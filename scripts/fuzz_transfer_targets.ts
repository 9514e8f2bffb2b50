/**
 * What is fuzzed of a transfer: everything that reads what the other side, or somebody in between, may have written,
 * before the two have proven anything to each other and after it. See also fuzz_transfer_pairing.ts.
 */
import { gcm } from "@noble/ciphers/aes.js";
import assert from "node:assert/strict";
import { posix, win32 } from "node:path";
import { RecordOpener, RecordSealer } from "../src/protocol/record/record.ts";
import { systemTimers } from "../src/protocol/rpc/timers.ts";
import { TransferChannel } from "../src/protocol/transfer/channel.ts";
import { ChunkSet } from "../src/protocol/transfer/chunk_set.ts";
import { parseCode } from "../src/protocol/transfer/code.ts";
import { TransferError, type TransferErrorCode } from "../src/protocol/transfer/errors.ts";
import { DEFAULT_LIMITS } from "../src/protocol/transfer/limits.ts";
import { decodeMessage, encodeMessage } from "../src/protocol/transfer/message_codec.ts";
import { targetPath } from "../src/protocol/transfer/target_path.ts";
import vectors from "../tests/vectors/transfer-messages.json" with { type: "json" };
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import { type FuzzTarget, noiseOrMutant, unlessRefused } from "./fuzz_target.ts";
import { acceptsPairing, makePairing } from "./fuzz_transfer_pairing.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const hex = Uint8Array.fromHex;
const encoder = new TextEncoder(), decoder = new TextDecoder();
const LENGTH_BYTES = 2;
const MAX_SET_CHUNKS = 64;

const theirKey = new Uint8Array(32).fill(1), ourKey = new Uint8Array(32).fill(2);
const messageSeeds = vectors.messages.map(({ bytes }) => hex(bytes));
const allMessageSeeds = [...messageSeeds, ...vectors.refusals.map(({ bytes }) => hex(bytes))];
const dataSeed = encodeMessage({ type: "data", file: 1, chunk: 2 });
const chunkSeed = new Uint8Array(50).fill(7);
/** A conversation, and its records as anybody in between sees them. */
const conversation: readonly Bytes[] = [
  ...messageSeeds.filter((bytes) => !isData(bytes)),
  dataSeed,
  chunkSeed,
];
const conversationStream = streamOf([...conversation, new Uint8Array(0)]);
const pathSeeds = [
  "a",
  "trip/é.raw",
  "a/../b",
  "/etc/passwd",
  "c:\\x",
  "CON.txt",
  "a/.postern-0011/x",
  ".hidden/ file. ",
  "\u202eabc",
  "नमस्‍ते/👩‍👩‍👧",
].map((text) => encoder.encode(text));
const codeSeeds = [
  "481516-ocean-rabbit-velvet",
  " 0042 ZOO abandon\u2013legal winner",
  "4815-ocean-rabbit",
  "481516-oceam-rabbit-velvet",
].map((text) => encoder.encode(text));

export const transferFuzzTargets: readonly FuzzTarget[] = [
  { name: "transfer_pair", make: makePairing, accepts: acceptsPairing },
  {
    name: "transfer_message",
    make: (random) => oftenWhole(random, messageSeeds, allMessageSeeds),
    accepts: acceptsMessage,
  },
  { name: "transfer_sealed", make: makePlaintexts, accepts: acceptsPlaintexts },
  { name: "transfer_stream", make: makeStream, accepts: acceptsStream },
  {
    name: "transfer_chunks",
    make: (random) => Uint8Array.of(random.below(MAX_SET_CHUNKS + 1), ...random.bytes(random.below(100))),
    accepts: acceptsChunks,
  },
  { name: "transfer_path", make: (random) => noiseOrMutant(random, pathSeeds), accepts: acceptsPath },
  {
    name: "transfer_code",
    make: (random) => oftenWhole(random, codeSeeds, codeSeeds),
    accepts: acceptsCode,
  },
];

/** Hardly anything damaged is accepted, so that every fourth one is as it should be. */
function oftenWhole(
  random: FuzzRandom,
  whole: readonly Uint8Array[],
  seeds: readonly Uint8Array[],
): Uint8Array {
  return random.below(4) === 0 ? random.pick(whole) : noiseOrMutant(random, seeds);
}

function isData(plaintext: Bytes): boolean {
  return codeOrMessage(plaintext) === "data";
}

/** The type of a message, or the code of the error that its reader refuses it with. */
function codeOrMessage(plaintext: Bytes): string {
  try {
    return decodeMessage(plaintext, DEFAULT_LIMITS).type;
  } catch (error) {
    assert(error instanceof TransferError, String(error));
    return error.code;
  }
}

/** Records of the other side, from number 0 on, made without our code. */
function streamOf(plaintexts: readonly Bytes[]): Bytes {
  return new Uint8Array(plaintexts.flatMap((plaintext, number) => {
    const head = new Uint8Array(4), nonce = new Uint8Array(12);
    new DataView(head.buffer).setUint32(0, plaintext.length + 16);
    nonce[11] = number;
    return [...head, ...gcm(theirKey, nonce, head).encrypt(plaintext)];
  }));
}

function acceptsMessage(bytes: Bytes): boolean {
  const before = bytes.slice();
  const message = refusedAs(["malformed", "limit"], () => decodeMessage(bytes, DEFAULT_LIMITS));
  assert.deepEqual(bytes, before, "the reader changed its input");
  if (message === null) {
    return false;
  }
  assert.deepEqual(encodeMessage(message), bytes);
  return true;
}

/** Length of the reads; then plaintexts, each behind its length. */
function makePlaintexts(random: FuzzRandom): Uint8Array {
  const plaintexts = Array.from({ length: 1 + random.below(6) }, () => {
    if (random.below(3) === 0) {
      return random.pick([dataSeed, chunkSeed]);
    }
    return random.below(8) === 0 ? noiseOrMutant(random, allMessageSeeds) : random.pick(messageSeeds);
  });
  return Uint8Array.of(
    1 + random.below(200),
    ...plaintexts.flatMap((plaintext) => [plaintext.length >> 8, plaintext.length & 0xff, ...plaintext]),
  );
}

function plaintextsOf(input: Bytes): Bytes[] {
  const plaintexts: Bytes[] = [];
  for (let at = 1; at + LENGTH_BYTES < input.length;) {
    const length = new DataView(input.buffer).getUint16(at);
    const plaintext = input.slice(at + LENGTH_BYTES, at + LENGTH_BYTES + length);
    if (plaintext.length > 0) plaintexts.push(plaintext); // the empty one is the last record
    at += LENGTH_BYTES + length;
  }
  return plaintexts;
}

/** The other side has proven itself, and now says anything: what comes out is just that, up to what is refused. */
async function acceptsPlaintexts(input: Bytes): Promise<boolean> {
  const plaintexts = plaintextsOf(input), sealer = new RecordSealer(theirKey);
  const records = await Promise.all([...plaintexts.map((each) => sealer.seal(each)), sealer.sealEnd()]);
  const heard = await heardOf(new Uint8Array(records.flatMap((record) => [...record])), input[0] ?? 1);
  const expected: string[] = [];
  for (let at = 0; at <= plaintexts.length; at++) {
    const plaintext = plaintexts[at], word = plaintext === undefined ? "end" : codeOrMessage(plaintext);
    const chunk = word === "data" ? plaintexts[++at] : undefined;
    if (plaintext === undefined || word === "malformed" || word === "limit") {
      expected.push(word);
      break;
    }
    expected.push(word === "data" && chunk === undefined ? "malformed" : plaintext.toHex());
    if (word !== "data") continue;
    if (chunk === undefined) break;
    expected.push(chunk.toHex());
  }
  assert.deepEqual(heard, expected);
  return heard.at(-1) === "end" && heard.length > 1;
}

/** Length of the reads, then the records of a conversation, damaged or not. */
function makeStream(random: FuzzRandom): Uint8Array {
  const bytes = random.below(2) === 0 ? conversationStream : noiseOrMutant(random, [conversationStream]);
  return Uint8Array.of(1 + random.below(200), ...bytes);
}

/** Nobody without the key can make anything come out but what was sent, from its beginning, and no end but the real one. */
async function acceptsStream(input: Bytes): Promise<boolean> {
  const stream = input.slice(1), heard = await heardOf(stream, input[0] ?? 1);
  const said = conversation.map((plaintext) => plaintext.toHex()), last = heard.pop() ?? "";
  assert.deepEqual(heard, said.slice(0, heard.length), "something came out that was not sent");
  const isWhole = stream.subarray(0, conversationStream.length).toHex() === conversationStream.toHex();
  assert((isWhole ? ["end", "tampered"] : ["tampered", "lost"]).includes(last), last);
  assert(last !== "end" || heard.length === said.length);
  return last === "end";
}

/** Every plaintext that comes out of a channel, in hex, and then how it ended. */
async function heardOf(stream: Bytes, pieceBytes: number): Promise<string[]> {
  const sealer = new RecordSealer(ourKey), opener = new RecordOpener(theirKey);
  const connection = new RecordedConnection(stream, Math.max(1, pieceBytes));
  const channel = new TransferChannel(
    connection,
    { sealer, opener },
    { limits: DEFAULT_LIMITS, timers: systemTimers },
  );
  const heard: string[] = [];
  try {
    for (let each = await channel.receive(); each !== null; each = await channel.receive()) {
      heard.push(encodeMessage(each.message).toHex());
      if ("body" in each) heard.push(each.body.toHex());
    }
    return [...heard, "end"];
  } catch (error) {
    assert(error instanceof TransferError, String(error));
    return [...heard, error.code];
  } finally {
    channel.close();
  }
}

/** How many chunks there are; then each byte adds one, and 255 takes all out. */
function acceptsChunks(input: Uint8Array): boolean {
  const [count = 0] = input, set = new ChunkSet(count), expected = new Set<number>();
  for (const byte of input.subarray(1)) {
    if (byte === 0xff) {
      set.clear();
      expected.clear();
    } else if (byte < count) {
      assert.equal(set.add(byte), !expected.has(byte));
      expected.add(byte);
    } else {
      assert.throws(() => set.add(byte), RangeError);
    }
  }
  const missing = [...set.missing()].flatMap((run) =>
    Array.from({ length: run.count }, (_, i) => run.first + i)
  );
  assert.deepEqual(
    missing,
    Array.from({ length: count }, (_, i) => i).filter((chunk) => !expected.has(chunk)),
  );
  assert.deepEqual([set.size, set.isComplete], [expected.size, expected.size === count]);
  return set.size > 0;
}

/** Whatever is accepted lies below the target folder, on every system, and is what the other side said. */
function acceptsPath(bytes: Uint8Array): boolean {
  const path = decoder.decode(bytes), names = refusedAs(["path"], () => targetPath(path));
  if (names === null) {
    return false;
  }
  assert.equal(names.join("/"), path);
  assert(names.length > 0);
  assert.equal(posix.resolve("/target", ...names), `/target/${path}`);
  assert.equal(win32.resolve("C:\\target", ...names), `C:\\target\\${names.join("\\")}`);
  assert(!names.some((name) => name.toLowerCase().startsWith(".postern-")));
  return true;
}

function acceptsCode(bytes: Uint8Array): boolean {
  const text = decoder.decode(bytes), code = refusedAs(["code"], () => parseCode(text));
  if (code === null) {
    return false;
  }
  assert.match(code.text, /^[0-9]{4,9}(?:-[a-z]{3,8}){3,8}$/);
  assert.deepEqual(parseCode(code.text), code);
  assert.equal([code.nameplate, ...code.words].join("-"), code.text);
  return true;
}

/** What was read, or null if it was refused by a `TransferError` with one of the codes. */
function refusedAs<T>(codes: readonly TransferErrorCode[], read: () => T): T | null {
  let code: TransferErrorCode | null = null;
  const found = unlessRefused(() => {
    try {
      return read();
    } catch (error) {
      if (error instanceof TransferError) code = error.code;
      throw error;
    }
  }, TransferError);
  assert(code === null || codes.includes(code), `refused as ${code}`);
  return found;
}
