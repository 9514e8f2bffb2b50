/**
 * What is fuzzed of the manage protocol's authentication: everything that reads what a dialler, a server, an
 * administrator or a host may have written before it has proven anything, and what is checked of them afterwards.
 */
import assert from "node:assert/strict";
import { decodeHead, encodeHead } from "../src/protocol/manage/audit_head.ts";
import {
  decodeControlOpened,
  encodeControlOpen,
  encodeControlOpened,
  requireSameControl,
} from "../src/protocol/manage/control_flow.ts";
import {
  checkEndedSession,
  checkHostRows,
  checkPins,
  checkRegistration,
} from "../src/protocol/manage/control_schemas.ts";
import { formatJoinToken, parseJoinToken } from "../src/protocol/manage/join_token.ts";
import { acceptLink } from "../src/protocol/manage/link_handshake.ts";
import { decodeHello, decodeProof, encodeHello, encodeProof } from "../src/protocol/manage/link_hello.ts";
import { ResetError } from "../src/protocol/manage/reset_code.ts";
import {
  answerForAdmin,
  decodeAnswerForAdmin,
  decodeOpen,
  decodeOpenForHost,
  openForHost,
  verifyOpen,
} from "../src/protocol/manage/session_open.ts";
import {
  checkConnectStart,
  checkExecStart,
  checkShellOutput,
} from "../src/protocol/manage/session_schemas.ts";
import { isVisibleText, MAX_SHOWN_CHARACTERS, shownText } from "../src/protocol/manage/shown_text.ts";
import { formatPublicKey, parsePublicKey, SigningKey } from "../src/protocol/manage/signing_key.ts";
import { CodecError } from "../src/protocol/rpc/codec.ts";
import type { Schema } from "../src/protocol/rpc/contract.ts";
import { messagePackCodec } from "../src/protocol/rpc/messagepack_codec.ts";
import { systemTimers } from "../src/protocol/rpc/timers.ts";
import links from "../tests/vectors/manage-link.json" with { type: "json" };
import sessions from "../tests/vectors/manage-session.json" with { type: "json" };
import tokens from "../tests/vectors/manage-token.json" with { type: "json" };
import type { FuzzRandom } from "./fuzz_random.ts";
import { RecordedConnection } from "./fuzz_recorded_connection.ts";
import { type FuzzTarget, noiseOrMutant, unlessRefused } from "./fuzz_target.ts";

type Bytes = Uint8Array<ArrayBuffer>;
const hex = Uint8Array.fromHex;
const encoder = new TextEncoder(), decoder = new TextDecoder();
const FRAME_HEADER_BYTES = 5, HELLO_FRAME_BYTES = 72, HEAD_BYTES = 104;

const [firstLink] = links.links;
assert(firstLink !== undefined);
const helloSeeds = links.links.flatMap(({ hello, answer }) => [
  hex(hello).slice(FRAME_HEADER_BYTES),
  hex(answer).slice(FRAME_HEADER_BYTES, HELLO_FRAME_BYTES),
]);
const proofSeeds = links.links.map(({ prove }) => hex(prove).slice(FRAME_HEADER_BYTES));
const dialogueSeeds = links.links.map(({ hello, prove }) => hex(hello + prove));
const openSeeds = [...sessions.sessions.map(({ open }) => open), ...sessions.refusals.map(({ open }) => open)]
  .map(hex);
const forHostSeeds = sessions.sessions.map(({ forHost }) => hex(forHost));
const forAdminSeeds = sessions.sessions.map(({ forAdmin }) => hex(forAdmin));
const headSeeds = sessions.sessions.map(({ head }) => hex(head));
const tokenSeeds = [...tokens.tokens, ...tokens.refusals].map(({ text }) => encoder.encode(text));
const keySeeds = Object.values(links.keys).map(({ text }) => encoder.encode(text));
const nameSeeds = ["web1", "db-2.example", "b".repeat(64)].map((name) => encoder.encode(name));
const controlSeeds = [encodeControlOpen("host"), encodeControlOpen("administrator")];
const textSeeds = ["web1 refuses: é \u001b[2J\u202e", "x".repeat(400), "😀".repeat(200)].map((text) =>
  encoder.encode(text)
);
const serverKey = await SigningKey.fromSeed(hex(links.keys.server.seed));

export const manageAuthenticationFuzzTargets: readonly FuzzTarget[] = [
  { name: "manage_hello", make: oftenWhole(helloSeeds), accepts: acceptsHello },
  { name: "manage_proof", make: oftenWhole(proofSeeds), accepts: acceptsProof },
  { name: "manage_dialogue", make: oftenWhole(dialogueSeeds), accepts: acceptsDialogue },
  { name: "manage_open", make: oftenWhole(openSeeds), accepts: acceptsOpen },
  { name: "manage_open_for_host", make: oftenWhole(forHostSeeds), accepts: acceptsOpenForHost },
  { name: "manage_answer", make: oftenWhole(forAdminSeeds), accepts: acceptsAnswer },
  { name: "manage_head", make: oftenWhole(headSeeds), accepts: acceptsHead },
  { name: "manage_token", make: oftenWhole(tokenSeeds), accepts: acceptsToken },
  { name: "manage_key", make: oftenWhole(keySeeds), accepts: acceptsKey },
  { name: "manage_name", make: oftenWhole(nameSeeds), accepts: acceptsName },
  { name: "manage_control", make: oftenWhole(controlSeeds), accepts: acceptsControl },
  { name: "manage_value", make: makeValue, accepts: acceptsValue },
  { name: "manage_text", make: oftenWhole(textSeeds), accepts: acceptsText },
];

/** Hardly anything damaged is accepted, so that every fourth one is as it should be. */
function oftenWhole(seeds: readonly Uint8Array[]): FuzzTarget["make"] {
  return (random) => random.below(4) === 0 ? random.pick(seeds) : noiseOrMutant(random, seeds);
}

function acceptsHello(bytes: Bytes): boolean {
  const hello = unlessRefused(() => decodeHello(bytes), ResetError);
  if (hello === null) return false;
  assert.deepEqual(encodeHello(hello), bytes);
  return true;
}

function acceptsProof(bytes: Bytes): boolean {
  let accepted = 0;
  for (const kind of ["link", "join"] as const) {
    for (const by of ["server", "dialler"] as const) {
      const proof = unlessRefused(() => decodeProof(bytes, kind, by), ResetError);
      if (proof === null) continue;
      assert.deepEqual(encodeProof(proof), bytes);
      accepted++;
    }
  }
  return accepted > 0;
}

/** A dialler says all this without listening: nobody who has not signed this server's nonce is let in. */
async function acceptsDialogue(bytes: Bytes): Promise<boolean> {
  const connection = new RecordedConnection(bytes, 100);
  try {
    await acceptLink(connection, {
      serverKey,
      serverCertificate: hex(firstLink?.certificate ?? ""),
      timers: systemTimers,
      random: (length) => new Uint8Array(length).fill(7),
      timeoutMs: 10_000,
    });
  } catch (error) {
    assert(error instanceof ResetError, String(error));
    assert(["authentication", "version", "malformed", "lost"].includes(error.code), error.code);
    // How far it came: hello and proof were read, and the proof was judged.
    return error.code === "authentication";
  }
  assert.fail("a dialler was let in");
}

async function acceptsOpen(bytes: Bytes): Promise<boolean> {
  const open = unlessRefused(() => decodeOpen(bytes), ResetError);
  if (open === null) return false;
  assert.deepEqual(open.bytes, bytes);
  const isSeed = openSeeds.some((seed) => seed.toHex() === bytes.toHex());
  assert.equal(await verifyOpen(open), isSeed, "an open was accepted that nobody has signed");
  return true;
}

function acceptsOpenForHost(bytes: Bytes): boolean {
  const passed = unlessRefused(() => decodeOpenForHost(bytes), ResetError);
  if (passed === null) return false;
  assert.deepEqual(openForHost(passed.adminName, passed.head, passed.open.bytes), bytes);
  return true;
}

function acceptsAnswer(bytes: Bytes): boolean {
  const passed = unlessRefused(() => decodeAnswerForAdmin(bytes), ResetError);
  if (passed === null) return false;
  assert.deepEqual(answerForAdmin(passed.answer, passed.head), bytes);
  return true;
}

function acceptsHead(bytes: Bytes): boolean {
  const head = unlessRefused(() => decodeHead(bytes), ResetError);
  if (head === null) return false;
  assert.equal(bytes.length, HEAD_BYTES);
  assert.deepEqual(encodeHead(head), bytes);
  return true;
}

function acceptsToken(bytes: Bytes): boolean {
  const text = decoder.decode(bytes), token = unlessRefused(() => parseJoinToken(text), TypeError);
  if (token === null) return false;
  assert.equal(formatJoinToken(token), text.trim());
  return true;
}

function acceptsKey(bytes: Bytes): boolean {
  const text = decoder.decode(bytes), key = unlessRefused(() => parsePublicKey(text), TypeError);
  if (key === null) return false;
  assert.equal(formatPublicKey(key), text);
  return true;
}

function acceptsName(bytes: Bytes): boolean {
  const name = unlessRefused(() => decodeControlOpened(bytes), ResetError);
  if (name === null) return false;
  assert.deepEqual(encodeControlOpened(name), bytes);
  return true;
}

function acceptsControl(bytes: Bytes): boolean {
  let accepted = 0;
  for (const side of ["host", "administrator"] as const) {
    const isSame = unlessRefused(() => (requireSameControl(bytes, side), true), ResetError);
    if (isSame === null) continue;
    assert.deepEqual(encodeControlOpen(side), bytes);
    accepted++;
  }
  return accepted > 0;
}

const SCHEMAS: readonly Schema<unknown>[] = [
  checkRegistration,
  checkEndedSession,
  checkHostRows,
  checkPins,
  checkExecStart,
  checkConnectStart,
  checkShellOutput,
];
const session = "0011223344aabbcc";
const valueSeeds: readonly Uint8Array[] = [
  {
    version: "1",
    system: "linux",
    sessions: [{ session, adminKey: new Uint8Array(32), action: "exec", detached: true }],
    pinsGeneration: 1,
  },
  { session, ending: "done", exitCode: null, bytesIn: 1, bytesOut: 2, durationMs: 3 },
  [{
    name: "a",
    tags: ["b"],
    sinceMs: 1,
    online: true,
    latencyMs: 1.5,
    version: "1",
    system: "x",
    sessions: 1,
  }],
  { caCertificates: ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"], generation: 1 },
  { command: ["ls", "-l"] },
  { host: "localhost", port: 22 },
  { ended: "revoked", text: "because" },
].map((value) => encoded(value));

function encoded(value: unknown): Bytes {
  const body = messagePackCodec().encode(value);
  assert(body instanceof Uint8Array);
  return new Uint8Array(body);
}

/** Number of a schema, then a body. */
function makeValue(random: FuzzRandom): Uint8Array {
  const number = random.below(SCHEMAS.length), seed = valueSeeds[number] ?? new Uint8Array(0);
  const body = random.below(4) === 0
    ? seed
    : noiseOrMutant(random, random.below(8) === 0 ? valueSeeds : [seed]);
  return Uint8Array.of(number, ...body);
}

/** Whatever a schema lets through is all there is: written again it is as long as any that has the same keys. */
function acceptsValue(input: Bytes): boolean {
  const schema = SCHEMAS[input[0] ?? 0],
    value = unlessRefused(
      () => messagePackCodec().decode(input.slice(1)),
      CodecError,
    );
  const result = schema?.["~standard"].validate(value);
  if (result === undefined || result instanceof Promise || result.issues !== undefined) return false;
  assert.equal(result.value, value);
  for (const text of textsOf(value)) {
    assert(isVisibleText(text.replaceAll(/\r?\n/g, "")) || isCommand(value), text);
  }
  assert.deepEqual(messagePackCodec().decode(encoded(value)), value);
  return true;
}

/** What is run may hold anything but NUL. */
function isCommand(value: unknown): boolean {
  return typeof value === "object" && value !== null && "command" in value;
}

function* textsOf(value: unknown): Generator<string> {
  if (typeof value === "string") yield value;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
  for (const each of Object.values(value)) yield* textsOf(each);
}

function acceptsText(bytes: Bytes): boolean {
  const text = decoder.decode(bytes), shown = shownText(text);
  assert(isVisibleText(shown) && shown.length <= MAX_SHOWN_CHARACTERS);
  return shown === text;
}
