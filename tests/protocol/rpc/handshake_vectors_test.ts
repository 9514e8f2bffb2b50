import assert from "node:assert/strict";
import { createHash, createHmac, hkdfSync } from "node:crypto";
import { type Frame, FRAME_KINDS, HEADER_BYTES } from "../../../src/protocol/rpc/frame.ts";
import {
  diallerDialogue,
  type HandshakeDialogue,
  type HandshakeStep,
  listenerDialogue,
} from "../../../src/protocol/rpc/handshake_dialogue.ts";
import { encodeRefusal, HandshakeRefusal, refusalOf } from "../../../src/protocol/rpc/handshake_frame.ts";
import type { HandshakeMode } from "../../../src/protocol/rpc/handshake_policy.ts";
import { type Hello, parseHello, type Role } from "../../../src/protocol/rpc/hello.ts";
import { SharedSecret } from "../../../src/protocol/rpc/shared_secret.ts";
import { FrameReader } from "../../../src/protocol/rpc/frame_reader.ts";
import vectors from "../../vectors/rpc-handshake.json" with { type: "json" };

type Vector = (typeof vectors.handshakes)[number];
type Side = Vector["dialler"] | Vector["listener"];

const bytesOf = (hex: string): Uint8Array<ArrayBuffer> => Uint8Array.fromHex(hex);
const hexOf = (bytes: Uint8Array): string => bytes.toHex();

function helloOf({ hello }: Side): Hello {
  return {
    mode: hello.mode as HandshakeMode,
    role: hello.role as Role,
    confidential: hello.confidential,
    told: {
      maxBodyBytes: hello.maxBodyBytes,
      maxConcurrentCalls: hello.maxConcurrentCalls,
      streamWindowBytes: hello.streamWindowBytes,
    },
    codecId: hello.codecId,
    serves: hello.serves === null ? null : bytesOf(hello.serves),
    calls: hello.calls === null ? null : bytesOf(hello.calls),
    service: hello.service,
    applicationVersion: hello.applicationVersion,
    nonce: bytesOf(hello.nonce),
  };
}

function frameOf(hex: string): Frame {
  const reader = new FrameReader({ maxBodyBytes: 512 });
  const bytes = bytesOf(hex);
  reader.space().set(bytes);
  reader.filled(bytes.length);
  const frame = reader.next();
  assert.ok(frame);
  return { ...frame, body: frame.body.slice() };
}

/** Steps of a dialogue that is given these frames, each in words. */
function stepsOf(dialogue: HandshakeDialogue, frames: readonly string[]): { steps: string[]; theirs: Hello } {
  const left = [...frames];
  const steps: string[] = [];
  let next = dialogue.next(null);
  while (!next.done) {
    const step: HandshakeStep = next.value;
    steps.push(inWords(step));
    next = dialogue.next(step.want === "receive" ? frameOf(left.shift() ?? "") : null);
  }
  assert.deepEqual(left, []);
  return { steps, theirs: next.value };
}

function inWords(step: HandshakeStep): string {
  if (step.want === "send") return `send ${hexOf(step.frame)}`;
  if (step.want === "seal") return `seal ${hexOf(step.keys.sending)} ${hexOf(step.keys.receiving)}`;
  return step.want;
}

const present = (texts: readonly (string | null)[]): string[] => texts.filter((text) => text !== null);
const secretOf = ({ secret }: Vector): SharedSecret | null =>
  secret === null ? null : new SharedSecret(bytesOf(secret));

for (const vector of vectors.handshakes) {
  const { dialler, listener, keys } = vector;
  const isSigned = dialler.hello.mode === "signed-process";
  const sends = (frame: string | null): string | null => frame === null ? null : `send ${frame}`;
  const receives = (frame: string | null): string | null => frame === null ? null : "receive";

  Deno.test(`diallerDialogue() sends the bytes of the vector "${vector.name}"`, () => {
    const answers = present([listener.helloFrame, listener.proofFrame, listener.acceptFrame]);
    const { steps, theirs } = stepsOf(
      diallerDialogue({ hello: helloOf(dialler), secret: secretOf(vector) }),
      answers,
    );
    assert.deepEqual(
      steps,
      present([
        sends(dialler.helloFrame),
        "receive",
        sends(dialler.proofFrame),
        receives(listener.proofFrame),
        keys && `seal ${keys.diallerToListener} ${keys.listenerToDialler}`,
        "receive",
      ]),
    );
    assert.deepEqual(theirs, helloOf(listener));
  });

  Deno.test(`listenerDialogue() sends the bytes of the vector "${vector.name}"`, () => {
    const answers = present([dialler.helloFrame, dialler.proofFrame]);
    const { steps, theirs } = stepsOf(
      listenerDialogue({ hello: helloOf(listener), secret: secretOf(vector) }),
      answers,
    );
    assert.deepEqual(
      steps,
      present([
        "receive",
        isSigned ? "verify" : null,
        sends(listener.helloFrame),
        receives(dialler.proofFrame),
        isSigned ? "confirm" : null,
        sends(listener.proofFrame),
        keys && `seal ${keys.listenerToDialler} ${keys.diallerToListener}`,
        "admit",
        sends(listener.acceptFrame),
      ]),
    );
    assert.deepEqual(theirs, helloOf(dialler));
  });

  Deno.test(`the vector "${vector.name}" holds what node:crypto makes of its frames`, () => {
    const transcript = createHash("sha256").update("postern rpc handshake 1\n")
      .update(bytesOf(dialler.helloFrame)).update(bytesOf(listener.helloFrame)).digest();
    assert.equal(transcript.toString("hex"), vector.transcript);
    const secret = bytesOf(vector.secret ?? "");
    const proof = (role: string): string =>
      createHmac("sha256", secret).update(`postern rpc ${role} proof 1\n`).update(transcript).digest("hex");
    const key = (direction: string): string =>
      hexOf(new Uint8Array(hkdfSync("sha256", secret, transcript, `postern rpc ${direction} 1\n`, 32)));
    const processProof = createHash("sha256").update("postern rpc process proof 1\n").update(transcript)
      .digest("hex");
    const body = (frame: string | null): string | null => frame?.slice(HEADER_BYTES * 2) ?? null;
    const isHmac = vector.secret !== null;
    assert.equal(body(dialler.proofFrame), isHmac ? proof("dialler") : isSigned ? processProof : null);
    assert.equal(body(listener.proofFrame), isHmac ? proof("listener") : null);
    const isSealed = isHmac && !(dialler.hello.confidential && listener.hello.confidential);
    assert.deepEqual(
      keys,
      isSealed
        ? {
          diallerToListener: key("dialler to listener"),
          listenerToDialler: key("listener to dialler"),
        }
        : null,
    );
  });

  for (const side of [dialler, listener]) {
    Deno.test(`parseHello() reads the ${side.hello.role}'s hello of the vector "${vector.name}"`, () => {
      assert.deepEqual(parseHello(frameOf(side.helloFrame).body), helloOf(side));
    });
  }
}

for (const { name, reason, text, frame } of vectors.refusals) {
  Deno.test(`encodeRefusal() and refusalOf() agree with the vector "${name}"`, () => {
    const refusal = refusalOf(frameOf(frame));
    assert.ok(refusal instanceof HandshakeRefusal);
    assert.equal(refusal.reason, reason);
    assert.equal(refusal.by, "there");
    assert.ok(refusal.message.endsWith(text));
    assert.equal(hexOf(encodeRefusal(refusal.reason, text)), frame);
    assert.equal(frameOf(frame).kind, FRAME_KINDS.close);
  });
}

Deno.test("the handshake vectors show every mode, sealed and not", () => {
  const shown = vectors.handshakes.map(({ dialler, keys }) =>
    `${dialler.hello.mode}${keys === null ? "" : ", sealed"}`
  );
  assert.deepEqual(
    [...new Set(shown)].sort(),
    ["hmac", "hmac, sealed", "none", "signed-process", "version-only"],
  );
  assert.equal(vectors.refusals.length, 3);
});
