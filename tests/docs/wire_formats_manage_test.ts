/** The manage sections of docs/wire-formats.md: what the code says is what the page shows, and the code reads the page. */
import { sha256 } from "@noble/hashes/sha2.js";
import assert from "node:assert/strict";
import {
  decodeHead,
  encodeHead,
  HEAD_BYTES,
  NO_HASH,
  rowHash,
  verifyHead,
} from "../../src/protocol/manage/audit_head.ts";
import { encodeControlOpen } from "../../src/protocol/manage/control_flow.ts";
import {
  encodeFrame,
  FRAME_TYPES,
  FrameReader,
  MAX_FRAME_DATA_BYTES,
  MAX_PARAMETER_BYTES,
  MAX_RESET_TEXT_BYTES,
} from "../../src/protocol/manage/frame.ts";
import { HEARTBEAT_MS } from "../../src/protocol/manage/heartbeat.ts";
import { WINDOW_BYTES } from "../../src/protocol/manage/incoming_flow.ts";
import { formatJoinToken, parseJoinToken } from "../../src/protocol/manage/join_token.ts";
import { Link } from "../../src/protocol/manage/link.ts";
import {
  decodeHello,
  decodeProof,
  diallerProofText,
  encodeHello,
  HELLO_BYTES,
  linkTranscript,
  serverProofText,
} from "../../src/protocol/manage/link_hello.ts";
import { RESET_CODES } from "../../src/protocol/manage/reset_code.ts";
import { SessionExchange, sessionKeys } from "../../src/protocol/manage/session_keys.ts";
import {
  ANSWER_BYTES,
  decodeOpen,
  MAX_OPEN_BYTES,
  signOpen,
  verifyAnswer,
  verifyOpen,
} from "../../src/protocol/manage/session_open.ts";
import { SigningKey, verifySignature } from "../../src/protocol/manage/signing_key.ts";
import { joined } from "../protocol/rpc/byte_stream.ts";
import audits from "../vectors/manage-audit.json" with { type: "json" };
import links from "../vectors/manage-link.json" with { type: "json" };
import sessions from "../vectors/manage-session.json" with { type: "json" };
import { byHand, table, textByHand, wireFormats } from "./wire_formats_page.ts";

const encoder = new TextEncoder();
const hex = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(text);
const [firstLink = assert.fail("there is a vector")] = links.links;

/** The data of the frames in a block, which holds nothing else. */
function framesOf(name: string, expected: readonly (keyof typeof FRAME_TYPES)[]): Uint8Array<ArrayBuffer>[] {
  const reader = new FrameReader();
  const frames = reader.push(byHand(name));
  assert.equal(reader.rest().length, 0);
  assert.deepEqual(frames.map(({ type }) => type), expected.map((type) => FRAME_TYPES[type]));
  const again = frames.map(({ type, flow, data }) => encodeFrame(type, flow, data));
  assert.equal(joined(again).toHex(), byHand(name).toHex());
  return frames.map(({ data }) => new Uint8Array(data));
}

Deno.test("docs/wire-formats.md names every type of a frame, and every code of a reset, in the order of the code", () => {
  const types = table("Manage: frames", "type").map(([number, name]) => [name, Number(number)]);
  assert.deepEqual(types, Object.entries(FRAME_TYPES));
  const codes = table("Manage: frames", "code").map(([number, name]) => [name, Number(number)]);
  assert.deepEqual(codes, Object.entries(RESET_CODES));
});

Deno.test("docs/wire-formats.md tells the sizes and times of a link as the code has them", () => {
  const section = wireFormats.slice(wireFormats.indexOf("\n## Manage: frames\n"));
  const shown = (number: number): string => number.toLocaleString("en-US");
  for (const bytes of [MAX_FRAME_DATA_BYTES, MAX_PARAMETER_BYTES, MAX_RESET_TEXT_BYTES, MAX_OPEN_BYTES]) {
    assert(section.includes(`${shown(bytes)} bytes`), shown(bytes));
  }
  for (const bytes of [HELLO_BYTES, ANSWER_BYTES, HEAD_BYTES]) assert(section.includes(`, ${bytes} bytes`));
  assert(section.includes(`for ${HEARTBEAT_MS / 1000} seconds`));
  assert(section.includes(`nothing from for ${2 * HEARTBEAT_MS / 1000}`));
});

Deno.test("docs/wire-formats.md shows a flow byte for byte as both sides of a link write it", () => {
  const dialler = new Link({ role: "dialler", nowMs: 0 }), server = new Link({ role: "server", nowMs: 0 });
  const said = { dialler: [] as Uint8Array[], server: [] as Uint8Array[] };
  const move = (from: "dialler" | "server", nowMs = 0): void => {
    const bytes = (from === "dialler" ? dialler : server).takeOutput(nowMs)?.slice() ??
      assert.fail(`the ${from} has something to say`);
    (from === "dialler" ? dialler : server).takeWritten();
    said[from].push(bytes);
    for (const event of (from === "dialler" ? server : dialler).receive(bytes, nowMs)) {
      assert.notEqual(event.kind, "failed");
    }
  };
  const flow = dialler.open("session", 65_536, encoder.encode("open"));
  move("dialler");
  server.accept(flow, 5, encoder.encode("answer"));
  move("server");
  dialler.send(flow, encoder.encode("hello"));
  move("dialler");
  server.consumed(flow, 5, true, 0);
  move("server");
  dialler.end(flow);
  move("dialler");
  server.send(flow, encoder.encode("ok"));
  move("server");
  server.reset(flow, "expired", "over");
  move("server");
  // Who has sent end need not answer.
  move("dialler");
  assert.equal(server.takeOutput(0), null, "heard is not answered");
  dialler.tick(HEARTBEAT_MS);
  move("dialler", HEARTBEAT_MS);
  move("server", HEARTBEAT_MS);
  assert.equal(joined(said.dialler).toHex(), byHand("manage flow of the dialler").toHex());
  assert.equal(joined(said.server).toHex(), byHand("manage flow of the server").toHex());
});

Deno.test("docs/wire-formats.md shows a handshake whose proofs hold, written by the code as it stands there", async () => {
  const [hello = assert.fail()] = framesOf("manage hello", ["hello"]);
  const [answer = assert.fail(), serverProof = assert.fail()] = framesOf("manage answer", ["hello", "prove"]);
  const [proof = assert.fail()] = framesOf("manage prove", ["prove"]);
  assert.equal(encodeHello(decodeHello(hello)).toHex(), hello.toHex());
  assert.equal(encodeHello(decodeHello(answer)).toHex(), answer.toHex());
  const transcript = linkTranscript(hello, answer, hex(firstLink.certificate));
  assert.equal(transcript.toHex(), firstLink.transcript);
  const bySide = [
    [decodeHello(answer).key, serverProofText(transcript), serverProof],
    [decodeHello(hello).key, diallerProofText(transcript, null), proof],
  ] as const;
  for (const [key, text, bytes] of bySide) {
    assert(await verifySignature(key, text, decodeProof(bytes, "link", "dialler").signature));
  }
});

Deno.test("docs/wire-formats.md shows the open of a host's control flow", () => {
  const link = new Link({ role: "dialler", nowMs: 0 });
  link.open("control", WINDOW_BYTES.control, encodeControlOpen("host"));
  assert.equal(link.takeOutput(0)?.toHex(), byHand("manage control open").toHex());
});

Deno.test("docs/wire-formats.md shows a token, and what is in it", () => {
  const text = textByHand("manage token text").replaceAll(/\s/g, "");
  const token = parseJoinToken(text);
  assert.equal(formatJoinToken(token), text);
  const [, body = ""] = text.split(".");
  const bytes = byHand("manage token");
  assert.equal(Uint8Array.fromBase64(body, { alphabet: "base64url" }).toHex(), bytes.toHex());
  assert.equal(sha256(bytes.slice(0, -4)).slice(0, 4).toHex(), bytes.slice(-4).toHex());
  assert.deepEqual(token.addresses, ["manage.example:7022"]);
});

Deno.test("docs/wire-formats.md shows an open and its answer, with the keys that both sides get", async () => {
  const administrator = await SigningKey.fromSeed(hex(sessions.keys.administrator.seed));
  const bytes = byHand("manage open"), open = decodeOpen(bytes);
  const vector = sessions.sessions.find(({ session }) => session === open.session) ??
    assert.fail("the open is that of a vector");
  assert(await verifyOpen(open));
  assert.deepEqual(open.adminKey, administrator.publicKey);
  assert.equal((await signOpen(open, administrator)).toHex(), bytes.toHex());
  const answer = byHand("manage open answer");
  const theirs = await verifyAnswer(open, answer);
  const exchange = await SessionExchange.create(() => hex(vector.administratorSecret));
  const shared = await exchange.agree(theirs);
  const keys = sessionKeys(shared, bytes, answer);
  const all = joined([shared, keys.administrator, keys.host]);
  assert.equal(all.toHex(), byHand("manage session keys").toHex());
});

Deno.test("docs/wire-formats.md shows a row of the audit as it is hashed, and its signed head", async () => {
  const [first = assert.fail(), second = assert.fail()] = audits.rows;
  const head = decodeHead(byHand("manage audit head"));
  assert.equal(encodeHead(head).toHex(), byHand("manage audit head").toHex());
  assert.deepEqual(new Uint8Array(sha256(byHand("manage audit row"))), head.hash);
  const hash = (row: typeof first, previous: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
    rowHash({ ...row, previous });
  assert.deepEqual(hash(second, hash(first, NO_HASH)), head.hash);
  assert(await verifyHead(head, hex(audits.serverKey)));
});
