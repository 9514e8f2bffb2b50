/**
 * What is fuzzed of RPC: everything that reads what the other side of a connection may have written, up to a whole
 * peer. Codecs that read more than one spelling of a value are held to a weaker property: what was read is written
 * so that it is read and written alike again.
 */
import assert from "node:assert/strict";
import { SealedConnection } from "../src/protocol/record/sealed_connection.ts";
import { type Codec, CodecError } from "../src/protocol/rpc/codec.ts";
import {
  decodeCallError,
  decodeClose,
  encodeCallError,
  encodeClose,
} from "../src/protocol/rpc/error_body.ts";
import { FRAME_KINDS, FrameError } from "../src/protocol/rpc/frame.ts";
import { FrameReader } from "../src/protocol/rpc/frame_reader.ts";
import { FrameWriter } from "../src/protocol/rpc/frame_writer.ts";
import { HandshakeRefusal } from "../src/protocol/rpc/handshake_frame.ts";
import { encodeHello, parseHello } from "../src/protocol/rpc/hello.ts";
import { json } from "../src/protocol/rpc/json_codec.ts";
import { messagePack } from "../src/protocol/rpc/messagepack_codec.ts";
import { view } from "../src/protocol/rpc/view_codec.ts";
import { TransportError } from "../src/protocol/transport/transport.ts";
import records from "../tests/vectors/records.json" with { type: "json" };
import frames from "../tests/vectors/rpc-frames.json" with { type: "json" };
import handshakes from "../tests/vectors/rpc-handshake.json" with { type: "json" };
import jsonRefusals from "../tests/vectors/rpc-json-refusals.json" with { type: "json" };
import messagePacks from "../tests/vectors/rpc-messagepack.json" with { type: "json" };
import views from "../tests/vectors/rpc-view.json" with { type: "json" };
import { acceptsPeerInput, peerInput } from "./fuzz_rpc_peer.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import type { FuzzRandom } from "./fuzz_random.ts";
import { type FuzzTarget, noiseOrMutant, unlessRefused } from "./fuzz_target.ts";
import { acceptsClientFrames, acceptsUpgrade, makeClientFrames, makeUpgrade } from "./fuzz_web_socket.ts";

const hex = Uint8Array.fromHex;
const encoder = new TextEncoder();
const MAX_BODY_BYTES = 65_536;

const frameSeeds = [...frames.frames, ...frames.refusals].map(({ bytes }) => hex(bytes));
const jsonSeeds = [
  ...jsonRefusals.texts.filter((text) => text.length < 1000),
  '{"a":[1,-2.5e3,true,null,"\\u00e9\\n"],"b":{"c":""}}',
  "[[[[]]],{}]",
  '"é€😀"',
  "1e999",
  "-0",
].map((text) => encoder.encode(text));
const messagePackSeeds = [...messagePacks.values, ...messagePacks.refusals].map(({ bytes }) => hex(bytes));
const viewSeeds = [...views.values, ...views.refusals].map(({ bytes }) => hex(bytes));
const helloSeeds = handshakes.handshakes.flatMap(({ dialler, listener }) =>
  [dialler, listener].map(({ helloFrame }) => hex(helloFrame).subarray(16))
);
const failureSeeds = [
  ...frames.frames.filter(({ kind }) => kind === FRAME_KINDS.error || kind === FRAME_KINDS.close),
].map(({ value, body }) => Uint8Array.of(value, ...hex(body)));
const recordKey = hex(records.key);
const recordSeed = hex(records.records.map(({ record }) => record).join(""));
const recordPlaintext = records.records.map(({ plaintext }) => plaintext).join("");

export const rpcFuzzTargets: readonly FuzzTarget[] = [
  { name: "rpc_frames", make: makeFrames, accepts: acceptsFrames },
  {
    name: "rpc_json",
    make: (random) => noiseOrMutant(random, jsonSeeds),
    accepts: (body) => acceptsLoosely(json, body),
  },
  {
    name: "rpc_messagepack",
    make: (random) => noiseOrMutant(random, messagePackSeeds),
    accepts: (body) => acceptsLoosely(messagePack, body),
  },
  { name: "rpc_view", make: (random) => noiseOrMutant(random, viewSeeds), accepts: acceptsView },
  { name: "rpc_hello", make: (random) => noiseOrMutant(random, helloSeeds), accepts: acceptsHello },
  { name: "rpc_failure", make: (random) => noiseOrMutant(random, failureSeeds), accepts: acceptsFailure },
  { name: "records", make: makeRecords, accepts: acceptsRecords },
  { name: "ws_upgrade", make: makeUpgrade, accepts: acceptsUpgrade },
  { name: "ws_frames", make: makeClientFrames, accepts: acceptsClientFrames },
  { name: "rpc_peer", make: peerInput, accepts: acceptsPeerInput },
];

/** How the stream is cut into reads, then one to four frames, damaged or not. */
function makeFrames(random: FuzzRandom): Uint8Array {
  const count = 1 + random.below(4);
  const stream = Array.from({ length: count }, () => [...random.pick(frameSeeds)]).flat();
  const bytes = Uint8Array.from(stream);
  const isWhole = random.below(4) === 0;
  return Uint8Array.of(1 + random.below(64), ...isWhole ? bytes : noiseOrMutant(random, [bytes]));
}

function acceptsFrames(input: Uint8Array<ArrayBuffer>): boolean {
  const [cut = 1] = input, stream = input.subarray(1);
  const whole = framesOf(stream, stream.length);
  assert.deepEqual(framesOf(stream, Math.max(1, cut)), whole, "what is read depends on how it is cut");
  assert.deepEqual(framesOf(stream, 1), whole, "what is read depends on how it is cut");
  const again = whole.frames.join("");
  assert.equal(again, stream.toHex().slice(0, again.length));
  return whole.reason === null && whole.frames.length > 0;
}

/** Every frame as it is written again, in hex, and why there are no more. */
function framesOf(stream: Uint8Array, cut: number): { frames: string[]; reason: string | null } {
  const reader = new FrameReader({ maxBodyBytes: MAX_BODY_BYTES });
  const writer = new FrameWriter({ maxBodyBytes: MAX_BODY_BYTES });
  const found: string[] = [];
  try {
    for (let at = 0; at < stream.length;) {
      const space = reader.space(), part = stream.subarray(at, at + Math.min(cut, space.length));
      space.set(part);
      reader.filled(part.length);
      at += part.length;
      for (let frame = reader.next(); frame !== null; frame = reader.next()) {
        writer.add(frame.kind, frame.method, frame.id, frame.value, frame.body);
        found.push(writer.take().map((chunk) => chunk.toHex()).join(""));
        writer.release();
      }
    }
  } catch (error) {
    if (!(error instanceof FrameError)) {
      throw error;
    }
    return { frames: found, reason: error.reason };
  }
  return { frames: found, reason: null };
}

function acceptsLoosely(codec: Codec, body: Uint8Array<ArrayBuffer>): boolean {
  const before = body.slice();
  const read = unlessRefused(() => [codec.decode(body)], CodecError);
  assert.deepEqual(body, before, "the reader changed its input");
  if (read === null) {
    return false;
  }
  const written = bytesOf(codec, read[0]);
  assert.deepEqual(bytesOf(codec, codec.decode(written)), written);
  return true;
}

function acceptsView(body: Uint8Array<ArrayBuffer>): boolean {
  const read = unlessRefused(() => [view.decode(body)], CodecError);
  if (read === null) {
    return false;
  }
  assert.deepEqual(bytesOf(view, read[0]), body);
  return true;
}

/** What the codec writes, in memory of its own. */
function bytesOf(codec: Codec, value: unknown): Uint8Array<ArrayBuffer> {
  const body = codec.encode(value);
  if (typeof body === "string") {
    return encoder.encode(body);
  }
  return body instanceof Uint8Array
    ? new Uint8Array(body)
    : Uint8Array.from(body.flatMap((part) => [...part]));
}

function acceptsHello(body: Uint8Array<ArrayBuffer>): boolean {
  const hello = unlessRefused(() => parseHello(body), HandshakeRefusal);
  if (hello === null) {
    return false;
  }
  assert.deepEqual(encodeHello(hello), body);
  return true;
}

/**
 * The first byte is the number, the rest the body; both as a failed call and as the end of a connection. What cannot
 * be printed becomes "?", so only a message without one is the same when written again.
 */
function acceptsFailure(input: Uint8Array<ArrayBuffer>): boolean {
  const [value = 0] = input, body = input.slice(1);
  const error = unlessRefused(() => decodeCallError(value, body), FrameError);
  if (error !== null) {
    const again = encodeCallError(error);
    assert.deepEqual(decodeCallError(again.value, again.body), error);
    if (!error.message.includes("?")) assert.deepEqual(again, { value, body });
  }
  const end = unlessRefused(() => decodeClose(value, body), FrameError);
  if (end !== null) {
    const again = encodeClose(end.reason, end.message);
    assert.deepEqual(decodeClose(again.value, again.body), end);
    if (!end.message.includes("?")) assert.deepEqual(again, { value, body });
  }
  return error !== null || end !== null;
}

/** Length of the reads, then records, damaged or not. */
function makeRecords(random: FuzzRandom): Uint8Array {
  const bytes = random.below(5) === 0 ? recordSeed : noiseOrMutant(random, [recordSeed]);
  return Uint8Array.of(1 + random.below(200), ...bytes);
}

/** Nobody without the key can make anything come out but what was sent, from its beginning, and no end but the real one. */
async function acceptsRecords(input: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const [cut = 1] = input;
  const carrier = new RecordedConnection(input.subarray(1), Math.max(1, cut));
  const connection = new SealedConnection(carrier, { sending: new Uint8Array(32), receiving: recordKey });
  const buffer = new Uint8Array(1024);
  let plaintext = "";
  let hasEnded = false;
  try {
    while (!hasEnded) {
      const count = await connection.read(buffer);
      hasEnded = count === null;
      plaintext += buffer.subarray(0, count ?? 0).toHex();
    }
  } catch (error) {
    assert(error instanceof TransportError, String(error));
    assert(error.code === "tampered" || error.code === "lost", error.code);
  }
  assert(recordPlaintext.startsWith(plaintext), "something came out that was not sent");
  assert.equal(hasEnded, input.subarray(1, 1 + recordSeed.length).toHex() === recordSeed.toHex());
  assert(!hasEnded || plaintext === recordPlaintext);
  return hasEnded;
}
