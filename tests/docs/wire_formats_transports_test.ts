/** Both ways: what the code writes is what docs/wire-formats.md shows, and the code reads what the page shows. */
import assert from "node:assert/strict";
import { RecordedConnection } from "../../scripts/fuzz_recorded_connection.ts";
import { systemTimers } from "../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../src/protocol/transport/memory.ts";
import {
  MAX_CONTROL_BYTES,
  MAX_MESSAGE_BYTES,
  WINDOW_BYTES,
} from "../../src/protocol/transport/message_connection.ts";
import { MAX_PIECE_BYTES, PieceConnection } from "../../src/protocol/transport/piece_connection.ts";
import { decodeMmapHello, encodeMmapHello } from "../../src/protocol/transport/ring/mmap_hello.ts";
import {
  MAX_RING_BYTES,
  MIN_RING_BYTES,
  pairBytes,
  READER_SLEEPS,
  RingReader,
  ringsIn,
  RingWriter,
  WRITER_SLEEPS,
} from "../../src/protocol/transport/ring/ring.ts";
import { childStdio } from "../../src/protocol/transport/stdio.ts";
import { TransportError } from "../../src/protocol/transport/transport.ts";
import { SUBPROTOCOL } from "../../src/protocol/transport/web_socket_address.ts";
import { serveWebSocket } from "../../src/protocol/transport/web_socket_server.ts";
import { answerUpgrade, MAX_HEAD_BYTES } from "../../src/protocol/transport/web_socket_upgrade.ts";
import { joined } from "../protocol/rpc/byte_stream.ts";
import { readExactly, readToEnd } from "./connection_reading.ts";
import { byHand, table, textByHand, wireFormats } from "./wire_formats_page.ts";

const encoder = new TextEncoder(), decoder = new TextDecoder();
/** Every wait here ends; a test that reaches this fails. */
const TIMEOUT_MS = 30_000;

/** A number as the page writes it. */
function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

function neverLost(): Promise<TransportError> {
  return Promise.resolve(new TransportError("lost", "the example ended early"));
}

Deno.test("docs/wire-formats.md shows pieces that are written and read as it says", async () => {
  const bytes = byHand("pieces");
  const out = new RecordedConnection(new Uint8Array(0), 1);
  const writer = new PieceConnection(out, neverLost);
  await writer.write(encoder.encode("hello"));
  await writer.write(encoder.encode("!"));
  await writer.closeWrite();
  assert.equal(joined(out.written).toHex(), bytes.toHex());
  for (const pieceBytes of [1, 7, bytes.length]) {
    const reader = new PieceConnection(new RecordedConnection(bytes, pieceBytes), neverLost);
    assert.equal(decoder.decode(await readToEnd(reader)), "hello!");
  }
  assert(wireFormats.includes(`1 to ${grouped(MAX_PIECE_BYTES)}; 0:`));
});

Deno.test({
  name:
    "docs/wire-formats.md shows a child in Python that childStdio() talks to, both ways at once and to the end",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const exited = Promise.withResolvers<Deno.CommandStatus>();
    const connection = await childStdio({
      command: "python3",
      args: ["-c", textByHand("child")],
      onExit: exited.resolve,
    }).connect();
    await connection.write(encoder.encode("hello"));
    assert.equal(decoder.decode(await readExactly(connection, 5)), "HELLO");
    const long = Uint8Array.from({ length: 2 * MAX_PIECE_BYTES + 5 }, (_, i) => 0x61 + i % 26);
    const [, back] = await Promise.all([
      connection.write(long).then(() => connection.closeWrite()),
      readToEnd(connection),
    ]);
    assert.equal(back.length, long.length);
    assert(back.every((byte, i) => byte === 0x41 + i % 26), "every byte came back in capital letters");
    const { code } = await exited.promise;
    assert.equal(code, 0);
    connection.close();
  },
});

Deno.test("docs/wire-formats.md shows a WebSocket's request and its answer", () => {
  const lines = (name: string): string => textByHand(name).trimEnd().replaceAll("\n", "\r\n");
  const rules = { path: "/rpc", origins: [], isTls: false };
  const request = lines("websocket request");
  const { isAccepted, head } = answerUpgrade(request, rules);
  assert(isAccepted);
  assert.equal(head, `${lines("websocket answer")}\r\n\r\n`);
  assert(wireFormats.includes(`with the subprotocol \`${SUBPROTOCOL}\``));
  assert(wireFormats.includes(`The request has at most ${grouped(MAX_HEAD_BYTES)} bytes`));
  const ofPage = (origin: string): boolean =>
    answerUpgrade(`${request}\r\nOrigin: ${origin}`, rules).isAccepted;
  assert(ofPage("http://127.0.0.1:1337"));
  assert(!ofPage("http://stranger.example"));
});

Deno.test({
  name: "docs/wire-formats.md shows the frames of a WebSocket as the server reads and writes them",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const sent = byHand("websocket client"), answer = byHand("websocket server");
    const [client, carrier] = memoryPair();
    const server = serveWebSocket({ carrier, early: new Uint8Array(0), timers: systemTimers });
    const endAt = sent.length - 9;
    const half = WINDOW_BYTES / 2;
    const [, came] = await Promise.all([client.write(sent.subarray(0, endAt)), readExactly(server, half)]);
    assert.equal(decoder.decode(came.subarray(0, 5)), "hello");
    assert(came.subarray(5).every((byte) => byte === 0));
    // Pongs that nobody asked for may stand in front: see web_socket_server.ts.
    let credit = await readExactly(client, 2);
    while (credit.toHex() === "8a00") credit = await readExactly(client, 2);
    assert.equal(joined([credit, await readExactly(client, 13)]).toHex(), answer.subarray(0, 15).toHex());
    await client.write(sent.subarray(endAt));
    assert.equal(await server.read(new Uint8Array(1)), null);
    await server.write(encoder.encode("hello"));
    await server.closeWrite();
    server.close();
    const rest = answer.subarray(15);
    assert.equal((await readExactly(client, rest.length)).toHex(), rest.toHex());
    // The client's answer: close, masked, 1000.
    await client.write(Uint8Array.of(0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8));
    assert.equal(await client.read(new Uint8Array(1)), null);
    client.close();
  },
});

Deno.test("docs/wire-formats.md tells the limits of messages and credit", () => {
  const section = wireFormats.slice(wireFormats.indexOf("\n## Messages and credit\n"));
  for (const limit of [WINDOW_BYTES, WINDOW_BYTES / 2, MAX_MESSAGE_BYTES]) {
    assert(section.includes(`${grouped(limit)} bytes`), grouped(limit));
  }
  assert(section.includes(`at most ${MAX_CONTROL_BYTES} characters`));
});

Deno.test("docs/wire-formats.md shows the memory of two rings, byte for byte", () => {
  const shown = byHand("rings");
  const memory = new ArrayBuffer(pairBytes(MIN_RING_BYTES));
  const [first, second] = ringsIn(memory, 0, MIN_RING_BYTES);
  const writer = new RingWriter(first);
  writer.write(encoder.encode("hello"));
  writer.end();
  new RingWriter(second).write(encoder.encode("ok"));
  new RingReader(second).read(new Uint8Array(10));
  second.words[READER_SLEEPS] = 1;
  assert.equal(new Uint8Array(memory).toHex(), shown.toHex());

  const [ring] = ringsIn(shown.buffer, 0, MIN_RING_BYTES);
  const reader = new RingReader(ring), bytes = new Uint8Array(10);
  assert.equal(reader.writerState(), "ended");
  assert.equal(reader.read(bytes), 5);
  assert.equal(decoder.decode(bytes.subarray(0, 5)), "hello");
});

Deno.test("docs/wire-formats.md tells where the words of a ring lie and how large it may be", () => {
  const memory = new ArrayBuffer(pairBytes(MIN_RING_BYTES));
  const [ring] = ringsIn(memory, 0, MIN_RING_BYTES);
  const writer = new RingWriter(ring), reader = new RingReader(ring);
  const touches: Readonly<Record<string, () => void>> = {
    head: () => writer.write(new Uint8Array(1)),
    "writer's state": () => writer.leave(),
    tail: () => reader.read(new Uint8Array(1)),
    "reader's state": () => reader.leave(),
    "reader sleeps": () => ring.words[READER_SLEEPS] = 1,
    "writer sleeps": () => ring.words[WRITER_SLEEPS] = 1,
  };
  const rows = table("Rings in shared memory", "bytes +\\| word");
  assert.deepEqual(rows.map(([, word]) => word), Object.keys(touches));
  for (const [range = "", word = ""] of rows) {
    const before = new Uint8Array(memory.slice(0));
    touches[word]?.();
    const changed = new Uint8Array(memory).findIndex((byte, at) => byte !== before[at]);
    assert.equal(`${changed}..${changed + 4}`, range, word);
  }
  assert(wireFormats.includes(`from ${grouped(MIN_RING_BYTES)} to ${grouped(MAX_RING_BYTES)}`));
});

Deno.test("docs/wire-formats.md shows the hello of an mmap ring", () => {
  const bytes = byHand("mmap hello");
  const hello = decodeMmapHello(bytes);
  assert.deepEqual([hello.pid, hello.descriptor, hello.ringBytes], [4711, 21, 256 * 1024]);
  assert.equal(encodeMmapHello(hello).toHex(), bytes.toHex());
});
