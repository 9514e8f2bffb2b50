import assert from "node:assert/strict";
import fc from "fast-check";
import { WINDOW_BYTES } from "../../../src/protocol/transport/message_connection.ts";
import {
  binaryHeader,
  ClientFrameReader,
  closeFrame,
  pongFrame,
  textFrame,
} from "../../../src/protocol/transport/web_socket_frames.ts";
import { holds } from "../../property.ts";

/** What a reader tells; the parts of binary messages that follow each other are put together. */
function readAll(parts: readonly Uint8Array[]): string[] {
  const told: string[] = [];
  let bytes = "";
  const flush = (event: string): void => {
    if (bytes !== "") told.push(`bytes ${bytes}`);
    bytes = "";
    told.push(event);
  };
  const reader = new ClientFrameReader({
    bytes: (part) => bytes += part.toHex(),
    text: (message) => flush(`text ${message}`),
    ping: (payload) => flush(`ping ${payload.toHex()}`),
    close: () => flush("close"),
    violation: (what) => flush(`violation: ${what}`),
  });
  for (const part of parts) reader.read(part);
  if (bytes !== "") told.push(`bytes ${bytes}`);
  return told;
}

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

/** A frame as a client makes it, written plainly. */
function clientFrame(first: number, payload: Uint8Array, mask: Uint8Array): Uint8Array<ArrayBuffer> {
  const { length } = payload;
  const lengths = length < 126
    ? [0x80 | length]
    : length < 0x10000
    ? [0x80 | 126, length >> 8, length & 0xff]
    : [0x80 | 127, 0, 0, 0, 0, length >>> 24, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff];
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Uint8Array.from([first, ...lengths, ...mask, ...masked]);
}

const MASK = hex("37 fa 21 3d");

Deno.test("ClientFrameReader reads the masked frames of RFC 6455 section 5.7", () => {
  assert.deepEqual(readAll([hex("81 85 37 fa 21 3d 7f 9f 4d 51 58")]), ["text Hello"]);
  assert.deepEqual(readAll([hex("89 85 37 fa 21 3d 7f 9f 4d 51 58")]), ["ping 48656c6c6f"]);
});

Deno.test("the server's frames are those of RFC 6455 section 5.7", () => {
  assert.deepEqual(textFrame("Hello"), hex("81 05 48 65 6c 6c 6f"));
  assert.deepEqual(pongFrame(new TextEncoder().encode("Hello")), hex("8a 05 48 65 6c 6c 6f"));
  assert.deepEqual(binaryHeader(125), hex("82 7d"));
  assert.deepEqual(binaryHeader(126), hex("82 7e 00 7e"));
  assert.deepEqual(binaryHeader(256), hex("82 7e 01 00"));
  assert.deepEqual(binaryHeader(65_535), hex("82 7e ff ff"));
  assert.deepEqual(binaryHeader(65_536), hex("82 7f 00 00 00 00 00 01 00 00"));
  assert.deepEqual(closeFrame(1002), hex("88 02 03 ea"));
});

Deno.test("ClientFrameReader joins a text over several frames, with a ping in between", () => {
  const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);
  const parts = [
    clientFrame(0x01, ascii("cre"), MASK),
    clientFrame(0x89, ascii("?"), MASK),
    clientFrame(0x00, ascii("dit "), MASK),
    clientFrame(0x80, ascii("7"), MASK),
    clientFrame(0x82, Uint8Array.of(1, 2), MASK),
    clientFrame(0x88, Uint8Array.of(3, 0xe8), MASK),
    clientFrame(0x82, Uint8Array.of(3), MASK),
  ];
  assert.deepEqual(readAll(parts), ["ping 3f", "text credit 7", "bytes 0102", "close"]);
});

Deno.test("ClientFrameReader takes a binary message of which some frames are empty", () => {
  const empty = new Uint8Array(0), one = Uint8Array.of(1);
  for (const [first, last] of [[empty, one], [one, empty]] as const) {
    const parts = [
      clientFrame(0x02, first, MASK),
      clientFrame(0x80, last, MASK),
      clientFrame(0x89, one, MASK),
    ];
    assert.deepEqual(readAll(parts), ["bytes 01", "ping 01"]);
  }
});

Deno.test("ClientFrameReader gives the same for any split of the bytes", () => {
  const frame = fc.record({
    kind: fc.constantFrom(0x82, 0x89, 0x81),
    payload: fc.uint8Array({ minLength: 1, maxLength: 400 }),
    mask: fc.uint8Array({ minLength: 4, maxLength: 4 }),
  });
  const frames = fc.array(frame, { maxLength: 8 });
  holds(fc.property(frames, fc.array(fc.nat({ max: 90 }), { minLength: 1 }), (frames, sizes) => {
    const expected: string[] = [];
    const sent: number[] = [];
    let bytes = "";
    const flush = (event: string): void => {
      if (bytes !== "") expected.push(`bytes ${bytes}`);
      bytes = "";
      if (event !== "") expected.push(event);
    };
    for (const { kind, payload, mask } of frames) {
      const short = payload.subarray(0, kind === 0x82 ? 400 : kind === 0x89 ? 125 : 24);
      sent.push(...clientFrame(kind, short, mask));
      if (kind === 0x82) bytes += short.toHex();
      if (kind === 0x89) flush(`ping ${short.toHex()}`);
      if (kind === 0x81) flush(`text ${String.fromCharCode(...short)}`);
    }
    flush("");
    const parts: Uint8Array[] = [];
    for (let offset = 0, turn = 0; offset < sent.length; turn++) {
      const size = 1 + (sizes[turn % sizes.length] ?? 0);
      // Cut from a larger buffer at any offset, as reads do: the alignment in memory must not matter.
      const buffer = new Uint8Array(3 + size);
      const part = buffer.subarray(turn % 4, (turn % 4) + Math.min(size, sent.length - offset));
      part.set(sent.slice(offset, offset + part.length));
      parts.push(part);
      offset += part.length;
    }
    assert.deepEqual(readAll(parts), expected);
  }));
});

const REFUSED: readonly { readonly name: string; readonly bytes: string; readonly what: string }[] = [
  { name: "without mask", bytes: "82 01", what: "a frame without mask" },
  { name: "with reserved bits", bytes: "c2 80 00000000", what: "a frame with reserved bits" },
  { name: "of opcode 3", bytes: "83 80 00000000", what: "a frame of no kind or out of order" },
  {
    name: "of control opcode 11 and 126 bytes",
    bytes: "8b fe 007e 00000000",
    what: "a control frame that is long or in parts",
  },
  { name: "of control opcode 11", bytes: "8b 80 00000000", what: "a frame of no kind or out of order" },
  {
    name: "of control opcode 11 within a text",
    bytes: "01 80 00000000 8b 80 00000000",
    what: "a frame of no kind or out of order",
  },
  { name: "of an empty binary message", bytes: "82 80 00000000", what: "an empty message" },
  {
    name: "of an empty binary message in parts",
    bytes: "02 80 00000000 00 80 00000000 80 80 00000000",
    what: "an empty message",
  },
  {
    name: "of an unfinished ping",
    bytes: "09 80 00000000",
    what: "a control frame that is long or in parts",
  },
  {
    name: "that continues nothing",
    bytes: "80 80 00000000",
    what: "a frame of no kind or out of order",
  },
  {
    name: "that begins a message within another",
    bytes: "02 80 00000000 82 80 00000000",
    what: "a frame of no kind or out of order",
  },
  { name: "of 25 bytes of text", bytes: "81 99 00000000", what: "a text that is no control" },
  {
    name: "of 24 bytes of text and one more",
    bytes: `01 98 00000000 ${"20".repeat(24)} 80 81 00000000`,
    what: "a text that is no control",
  },
  {
    name: "of 2 ** 63 bytes",
    bytes: "82 ff 8000000000000000 00000000",
    what: "a frame longer than it was allowed to send",
  },
  {
    name: "of one byte more than the window",
    bytes: `82 ff ${(WINDOW_BYTES + 1).toString(16).padStart(16, "0")} 00000000`,
    what: "a frame longer than it was allowed to send",
  },
];

for (const { name, bytes, what } of REFUSED) {
  Deno.test(`ClientFrameReader refuses a frame ${name} before its payload, and reads nothing after it`, () => {
    const goodOne = clientFrame(0x82, Uint8Array.of(1), MASK);
    assert.deepEqual(readAll([hex(bytes), goodOne]), [`violation: ${what}`]);
  });
}
