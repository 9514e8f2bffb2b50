/** Both ways: what the code says is what docs/wire-formats.md shows, and the code reads what the page shows. */
import { decode as referenceDecode } from "@msgpack/msgpack";
import assert from "node:assert/strict";
import { zstdDecompressSync } from "node:zlib";
import { ZstdCompression } from "../../src/client/transfer/compression.ts";
import { RecordOpener, RecordSealer } from "../../src/protocol/record/record.ts";
import { systemTimers } from "../../src/protocol/rpc/timers.ts";
import { type ChannelKeys, TransferChannel } from "../../src/protocol/transfer/channel.ts";
import { DEFAULT_LIMITS } from "../../src/protocol/transfer/limits.ts";
import {
  decodeMessage,
  encodeMessage,
  MAX_ENTRY_PATH_BYTES,
  MAX_MESSAGE_BYTES,
  MAX_STOP_TEXT_BYTES,
} from "../../src/protocol/transfer/message_codec.ts";
import type { TransferMessage } from "../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES } from "../../src/protocol/transfer/offer.ts";
import { receiveSession } from "../../src/protocol/transfer/receiving.ts";
import { sendSession } from "../../src/protocol/transfer/sending.ts";
import { memoryPair } from "../../src/protocol/transport/memory.ts";
import type { Connection } from "../../src/protocol/transport/transport.ts";
import { EARLY_BYTES } from "../../src/server/relay/caller.ts";
import { MemorySink } from "../protocol/transfer/memory_sink.ts";
import { MemorySource } from "../protocol/transfer/memory_source.ts";
import { NO_COMPRESSION } from "../protocol/transfer/test_compression.ts";
import vectors from "../vectors/transfer-pairing.json" with { type: "json" };
import { byHand, table, textByHand, wireFormats } from "./wire_formats_page.ts";

const TIMEOUT_MS = 30_000;
const TYPES = ["offer", "entries", "want", "data", "hash", "heartbeat", "done", "stop"] as const;
const [{ keys } = assert.fail("there is a vector")] = vectors.code;
const encoder = new TextEncoder();

function message(type: TransferMessage["type"]): TransferMessage {
  return decodeMessage(byHand(`transfer message ${type}`), DEFAULT_LIMITS);
}

/** What stands behind the hex, told by the message: a line for each map, list and value. */
function* remarksOf(map: object): Generator<string> {
  yield `map of ${Object.keys(map).length}`;
  for (const [name, value] of Object.entries(map)) {
    if (!Array.isArray(value)) yield `${name}: ${value instanceof Uint8Array ? "32 bytes" : value}`;
    else {
      yield `${name}: ${value.length}`;
      for (const each of value) yield* remarksOf(each);
    }
  }
}

function remarksIn(name: string): string[] {
  const remarks = textByHand(name).split("\n").map((line) => /^\S.*? {2,}(.*)$/.exec(line)?.[1] ?? "");
  return remarks.filter((remark) => remark !== "");
}

for (const type of TYPES) {
  Deno.test(`docs/wire-formats.md shows the message ${type}, as it is written and read, here and elsewhere`, () => {
    const bytes = byHand(`transfer message ${type}`), read = message(type);
    assert.equal(read.type, type);
    assert.equal(encodeMessage(read).toHex(), bytes.toHex());
    assert.deepEqual(referenceDecode(bytes), read);
    assert.deepEqual(remarksIn(`transfer message ${type}`), [...remarksOf(read)]);
  });
}

Deno.test("docs/wire-formats.md names every message with its members in their order", () => {
  const rows = table("Transfer: messages", "type");
  assert.deepEqual(rows.map(([type]) => type), [...TYPES]);
  for (const [type = "", , members = ""] of rows) {
    const names: string[] = [];
    const add = (map: object): void => {
      for (const [name, value] of Object.entries(map)) {
        names.push(name);
        if (Array.isArray(value)) add(value[0]);
      }
    };
    add(message(type as TransferMessage["type"]));
    assert.deepEqual(members.split(/[,:;] /), names, type);
  }
});

Deno.test("docs/wire-formats.md tells the limits of messages, names, texts and chunks", () => {
  const section = wireFormats.slice(wireFormats.indexOf("\n## Transfer: messages\n"));
  for (const limit of [MAX_MESSAGE_BYTES, MAX_ENTRY_PATH_BYTES, MAX_STOP_TEXT_BYTES, CHUNK_BYTES]) {
    assert(section.includes(`${limit.toLocaleString("en-US")} bytes`), String(limit));
  }
  const { maxEntries, maxPathBytes, maxTotalBytes } = DEFAULT_LIMITS;
  assert(section.includes(`takes ${maxEntries.toLocaleString("en-US")} if nothing else`));
  assert(section.includes(`takes ${maxTotalBytes / 2 ** 40} TiB if nothing else`));
  assert(section.includes(`All together ${maxPathBytes / 2 ** 20} MiB`));
  assert(wireFormats.includes(`is kept, ${EARLY_BYTES.toLocaleString("en-US")} bytes of it at most`));
});

Deno.test("docs/wire-formats.md shows a chunk in a frame of zstd", async () => {
  const chunk = new Uint8Array(1000).fill("a".charCodeAt(0));
  assert.deepEqual(new Uint8Array(zstdDecompressSync(byHand("transfer zstd"))), chunk);
  const compression = new ZstdCompression();
  assert.deepEqual(await compression.decompress(byHand("transfer zstd"), 1000), chunk);
});

Deno.test("docs/wire-formats.md has lines for Python that print an identifier and the hash of a file", async () => {
  const line = /`(python3 -c "[^`]*")`/.exec(wireFormats)?.[1] ?? "";
  assert.equal(await printed(line), byHand("transfer identifier").slice(1).toHex());
  const hash = message("hash");
  assert(hash.type === "hash");
  assert.equal(await printed(textByHand("transfer file hash")), hash.hash.toHex());
});

async function printed(line: string): Promise<string> {
  const { stdout, stderr } = await new Deno.Command("sh", { args: ["-c", line] }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout).trim();
}

/** Keys of one side, which have sealed and opened the confirmations. */
async function keysOf(own: string, theirs: string): Promise<ChannelKeys> {
  const sealer = new RecordSealer(Uint8Array.fromHex(own)),
    opener = new RecordOpener(Uint8Array.fromHex(theirs));
  await sealer.seal(new Uint8Array(32));
  await opener.open(await new RecordSealer(Uint8Array.fromHex(theirs)).seal(new Uint8Array(32)));
  return { sealer, opener };
}

const options = { limits: DEFAULT_LIMITS, timers: systemTimers };
const senderKeys = (): Promise<ChannelKeys> => keysOf(keys.senderKey, keys.receiverKey);
const receiverKeys = (): Promise<ChannelKeys> => keysOf(keys.receiverKey, keys.senderKey);
const shownSource = (): MemorySource =>
  new MemorySource(new Map([["trip", null], ["trip/a.txt", encoder.encode("hello")]]));

/** Notes what is written to a connection. */
class Noted implements Connection {
  readonly transport = "memory";
  readonly remoteAddress = null;
  readonly localAddress = null;
  readonly confidential = true;
  readonly #connection: Connection;
  written = "";

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null> {
    return this.#connection.read(buffer);
  }

  write(bytes: Uint8Array): Promise<void> {
    this.written += bytes.toHex();
    return this.#connection.write(bytes);
  }

  closeWrite(): Promise<void> {
    return this.#connection.closeWrite();
  }

  close(): void {
    this.#connection.close();
  }
}

Deno.test({
  name: "docs/wire-formats.md shows every byte that both sides say in a session",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const [near, far] = memoryPair().map((end) => new Noted(end));
    assert(near !== undefined && far !== undefined);
    const sink = new MemorySink();
    await Promise.all([
      sendSession(new TransferChannel(near, await senderKeys(), options), {
        source: shownSource(),
        compression: NO_COMPRESSION,
        timers: systemTimers,
      }),
      receiveSession(new TransferChannel(far, await receiverKeys(), options), {
        ...options,
        sink,
        compression: NO_COMPRESSION,
      }),
    ]);
    assert.equal(near.written, byHand("transfer session sender").toHex());
    assert.equal(far.written, byHand("transfer session receiver").toHex());
    assert.deepEqual(sink.tree, new Map([["trip", null], ["trip/a.txt", encoder.encode("hello")]]));
  },
});

/** The plaintexts of the records, opened by a key of the page, not by the order of the code. */
async function plaintexts(name: string, key: string): Promise<Uint8Array<ArrayBuffer>[]> {
  const bytes = byHand(name), found: Uint8Array<ArrayBuffer>[] = [];
  const imported = await crypto.subtle.importKey("raw", Uint8Array.fromHex(key), "AES-GCM", false, [
    "decrypt",
  ]);
  for (let at = 0, number = 1; at < bytes.length; number++) {
    const length = new DataView(bytes.buffer).getUint32(at), iv = new Uint8Array(12);
    iv[11] = number;
    const parameters = { name: "AES-GCM", iv, additionalData: bytes.slice(at, at + 4) };
    const body = bytes.slice(at + 4, at + 4 + length);
    found.push(new Uint8Array(await crypto.subtle.decrypt(parameters, imported, body)));
    at += 4 + length;
  }
  return found;
}

Deno.test("docs/wire-formats.md shows sessions whose records hold its own messages, counted from 1", async () => {
  const blocks = (...types: TransferMessage["type"][]): string[] =>
    types.map((type) => byHand(`transfer message ${type}`).toHex());
  const sender = await plaintexts("transfer session sender", keys.senderKey);
  assert.deepEqual(sender.map((each) => each.toHex()), [
    ...blocks("offer", "entries", "data"),
    encoder.encode("hello").toHex(),
    ...blocks("hash"),
    "",
  ]);
  const receiver = await plaintexts("transfer session receiver", keys.receiverKey);
  assert.deepEqual(receiver.map((each) => each.toHex()), [...blocks("want", "done"), ""]);
});
