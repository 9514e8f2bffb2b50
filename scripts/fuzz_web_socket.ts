/** What a stranger may send to the listener of WebSockets before anybody knows who that is. */
import assert from "node:assert/strict";
import { ClientFrameReader } from "../src/protocol/transport/web_socket_frames.ts";
import { answerUpgrade } from "../src/protocol/transport/web_socket_upgrade.ts";
import type { FuzzRandom } from "./fuzz_random.ts";
import { noiseOrMutant } from "./fuzz_target.ts";

const hex = Uint8Array.fromHex;
const encoder = new TextEncoder();

/** Frames of a client; the mask is of zeros or "7fa1213d". */
const frameSeeds = [
  "8180",
  "0180",
  "8080",
  "8280",
  "0280",
  "8980",
  "8a80",
  "8880",
  "8380",
  "8b80",
].map((head) => `${head}00000000`).concat(
  "8185" + "37fa213d" + "7f9f4d5158",
  "8283" + "37fa213d" + "36f822",
  "0281" + "00000000" + "07",
  "8081" + "00000000" + "07",
  "0103" + "00000000" + "656e64",
  "8983" + "37fa213d" + "36f822",
  "8882" + "00000000" + "03e8",
  "82fe" + "007e" + "00000000" + "01".repeat(126),
  "82ff" + "0000000000000003" + "00000000" + "010203",
  "818d" + "00000000" + encoder.encode("credit 524288").toHex(),
).map((each) => hex(each));

const LISTED = "https://app.example";
const HOST = "127.0.0.1:1337";
const requests = [
  "",
  `Origin: ${LISTED}`,
  `Origin: http://${HOST}`,
  "Origin: https://evil.example",
  "Origin: null",
]
  .map((origin) =>
    [
      "GET /rpc HTTP/1.1",
      `Host: ${HOST}`,
      "Upgrade: websocket",
      "Connection: keep-alive, Upgrade",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: postern-bytes.1",
      ...origin === "" ? [] : [origin],
    ].join("\r\n")
  ).map((request) => encoder.encode(request));

/** How the stream is cut into reads, then one to four frames, damaged or not. */
export function makeClientFrames(random: FuzzRandom): Uint8Array {
  const count = 1 + random.below(4);
  const stream = Uint8Array.from(Array.from({ length: count }, () => [...random.pick(frameSeeds)]).flat());
  const isWhole = random.below(2) === 0;
  return Uint8Array.of(1 + random.below(16), ...isWhole ? stream : noiseOrMutant(random, [stream]));
}

/** However the stream is cut, the same comes out of it, and nothing after its end. */
export function acceptsClientFrames(input: Uint8Array<ArrayBuffer>): boolean {
  const [cut = 1] = input, stream = input.subarray(1);
  const whole = eventsOf(stream, stream.length);
  assert.deepEqual(eventsOf(stream, Math.max(1, cut)), whole, "what is read depends on how it is cut");
  assert.deepEqual(eventsOf(stream, 1), whole, "what is read depends on how it is cut");
  const end = whole.findIndex((event) => event === "close" || event.startsWith("violation"));
  assert(end === -1 || end === whole.length - 1, "something was read after the end");
  return whole.length > 0 && !whole.at(-1)?.startsWith("violation");
}

function eventsOf(stream: Uint8Array, cut: number): string[] {
  const events: string[] = [];
  let bytes = 0;
  const told = (event: string): void => void events.push(event);
  const reader = new ClientFrameReader({
    bytes(part): void {
      assert(part.length > 0, "no bytes were told");
      bytes += part.length;
      const before = events.at(-1)?.startsWith("bytes ") ? events.pop() : "bytes ";
      told(`${before}${part.toHex()}`);
    },
    text: (message) => told(`text ${message}`),
    ping: (payload) => told(`ping ${payload.toHex()}`),
    close: () => told("close"),
    violation: (what) => told(`violation: ${what}`),
  });
  // Payloads are unmasked where they lie.
  const own = stream.slice();
  for (let at = 0; at < own.length; at += cut) reader.read(own.subarray(at, at + cut));
  assert(bytes <= stream.length, "more came out than went in");
  return events;
}

/** Heads of requests, damaged or not. */
export function makeUpgrade(random: FuzzRandom): Uint8Array {
  return random.below(4) === 0 ? random.pick(requests) : noiseOrMutant(random, requests);
}

/** No page of an origin that is not listed gets in, and nothing of the request into the headers of the answer. */
export function acceptsUpgrade(input: Uint8Array<ArrayBuffer>): boolean {
  const head = Array.from(input, (byte) => String.fromCharCode(byte)).join("");
  const answer = answerUpgrade(head, { path: "/rpc", origins: [LISTED], isTls: false });
  const [first = "", ...lines] = answer.head.slice(0, answer.head.indexOf("\r\n\r\n")).split("\r\n");
  assert.match(first, answer.isAccepted ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 4[0-9]{2} /);
  for (const line of lines) {
    assert.match(
      line,
      /^(?:Upgrade|Connection|Content-(?:Type|Length)|Sec-WebSocket-(?:Accept|Protocol|Version)): /,
    );
  }
  if (!answer.isAccepted) {
    return false;
  }
  const origins = head.split("\r\n").filter((line) => /^origin:/i.test(line)).map((line) =>
    line.slice(7).trim()
  );
  const host = head.split("\r\n").find((line) => /^host:/i.test(line))?.slice(5).trim();
  assert(origins.length <= 1);
  assert(origins.every((origin) => origin === LISTED || origin === `http://${host}`), origins.join());
  return true;
}
