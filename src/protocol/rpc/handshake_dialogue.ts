/**
 * The dialogue of a handshake, without connection, clock or randomness: a generator that says what it wants done next
 * and is given what came of it. D dialled, L listens:
 *
 *   D -> L  hello
 *             L compares; signed process: looks at the process that holds D's end, for the first time
 *   L -> D  hello
 *             D compares
 *   D -> L  proof       hmac: of the secret; signed process: that D got L's nonce, which was made after the first look
 *             L verifies; signed process: looks again
 *   L -> D  proof       hmac only
 *             both seal what follows, unless both ends of the connection are confidential
 *             L is asked whether it has a place for D
 *   L -> D  accept
 *
 * Instead of any frame the side whose turn it is may send `close` with a reason. D proves first: a stranger who dials
 * gets no proof to try secrets on.
 */
import type { RecordKeys } from "../record/sealed_connection.ts";
import { equalInConstantTime, processProof, PROOF_BYTES, transcriptOf } from "./shared_secret.ts";
import type { SharedSecret } from "./shared_secret.ts";
import { type Frame, FRAME_KINDS } from "./frame.ts";
import { encodeHandshakeFrame, HandshakeRefusal, malformed, refusalOf } from "./handshake_frame.ts";
import { encodeHello, type Hello, parseHello } from "./hello.ts";

/**
 * What a dialogue wants done:
 * - `send`: the frame to be written
 * - `receive`: the next frame, as the answer
 * - `seal`: everything from here on, sent and received, in records under these keys
 * - `verify`, `confirm`: the first and the second look at the process of the other side
 * - `admit`: whether there is a place for the other side
 */
export type HandshakeStep =
  | { readonly want: "send"; readonly frame: Uint8Array<ArrayBuffer> }
  | { readonly want: "receive" }
  | { readonly want: "seal"; readonly keys: RecordKeys }
  | { readonly want: "verify" }
  | { readonly want: "confirm" }
  | { readonly want: "admit" };

/** A dialogue; it throws a `HandshakeRefusal` and returns the other side's hello. */
export type HandshakeDialogue = Generator<HandshakeStep, Hello, Frame | null>;

/** What one side brings. */
export interface DialogueInput {
  readonly hello: Hello;
  /** Of mode `hmac`; null in every other. */
  readonly secret: SharedSecret | null;
}

type Kind = "hello" | "proof" | "accept";

interface Exchanged {
  readonly theirs: Hello;
  readonly transcript: Uint8Array;
}

/** The side that connected. */
export function* diallerDialogue({ hello, secret }: DialogueInput): HandshakeDialogue {
  const own = encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello(hello));
  yield { want: "send", frame: own };
  const frame = yield* received("hello");
  const theirs = comparedHello(hello, parseHello(frame.body));
  const transcript = transcriptOf(own, asSent(frame));
  if (hello.mode === "signed-process") yield sending("proof", processProof(transcript));
  if (secret !== null) yield* exchangeProofsAsDialler(hello, secret, { theirs, transcript });
  yield* received("accept");
  return theirs;
}

/** The side that was connected to. */
export function* listenerDialogue({ hello, secret }: DialogueInput): HandshakeDialogue {
  const frame = yield* received("hello");
  const theirs = comparedHello(hello, parseHello(frame.body));
  if (hello.mode === "signed-process") yield { want: "verify" };
  const own = encodeHandshakeFrame(FRAME_KINDS.hello, encodeHello(hello));
  yield { want: "send", frame: own };
  const transcript = transcriptOf(asSent(frame), own);
  if (hello.mode === "signed-process") {
    const { body } = yield* received("proof");
    if (!equalInConstantTime(body, processProof(transcript))) throw notProved();
    yield { want: "confirm" };
  }
  if (secret !== null) yield* exchangeProofsAsListener(hello, secret, { theirs, transcript });
  yield { want: "admit" };
  yield sending("accept", new Uint8Array(0));
  return theirs;
}

function* exchangeProofsAsDialler(
  own: Hello,
  secret: SharedSecret,
  { theirs, transcript }: Exchanged,
): Generator<HandshakeStep, void, Frame | null> {
  yield sending("proof", secret.prove("dialler", transcript));
  const { body } = yield* received("proof");
  // Before the proof is looked at: a listener that holds the secret has sealed already, and reads a refusal only so.
  if (isSealed(own, theirs)) yield { want: "seal", keys: secret.keys("dialler", transcript) };
  if (!secret.accepts("listener", transcript, body)) throw notProved();
}

function* exchangeProofsAsListener(
  own: Hello,
  secret: SharedSecret,
  { theirs, transcript }: Exchanged,
): Generator<HandshakeStep, void, Frame | null> {
  const { body } = yield* received("proof");
  if (!secret.accepts("dialler", transcript, body)) throw notProved();
  yield sending("proof", secret.prove("listener", transcript));
  if (isSealed(own, theirs)) yield { want: "seal", keys: secret.keys("listener", transcript) };
}

/** One end that is not confidential is enough: behind a proxy that ends TLS the two ends see it differently. */
function isSealed(own: Hello, theirs: Hello): boolean {
  return !(own.confidential && theirs.confidential);
}

function sending(kind: Kind, body: Uint8Array): HandshakeStep {
  return { want: "send", frame: encodeHandshakeFrame(FRAME_KINDS[kind], body) };
}

/** Takes a frame of that kind; a proof has its one length. */
function* received(
  kind: Kind,
): Generator<HandshakeStep, Frame, Frame | null> {
  const frame = yield { want: "receive" };
  if (frame === null) throw malformed("found no frame");
  if (frame.kind === FRAME_KINDS.close) throw refusalOf(frame);
  if (frame.kind !== FRAME_KINDS[kind]) {
    throw malformed(`found a frame of kind ${frame.kind}, wanted is ${kind}`);
  }
  if (kind === "proof" && frame.body.length !== PROOF_BYTES) {
    throw malformed(`found a proof of ${frame.body.length} bytes, accepted are ${PROOF_BYTES}`);
  }
  return frame;
}

/** All bytes of a hello frame. Nothing but the body of one can differ, so writing it again gives what was read. */
function asSent({ body }: Frame): Uint8Array<ArrayBuffer> {
  return encodeHandshakeFrame(FRAME_KINDS.hello, body);
}

function notProved(): HandshakeRefusal {
  return new HandshakeRefusal("authentication_failed", "the proof is not that of this secret and connection");
}

/**
 * Compares a hello with our own. What is compared here may have been changed on the way; the proofs cover it once
 * more, as it was sent.
 *
 * @throws {HandshakeRefusal} with the first thing that differs
 */
function comparedHello(own: Hello, theirs: Hello): Hello {
  // The nonce, too: our own hello with another role is still our own.
  if (theirs.role === own.role || equalInConstantTime(theirs.nonce, own.nonce)) {
    throw new HandshakeRefusal("role_mismatch", `found a ${theirs.role}, and this side is the ${own.role}`);
  }
  if (theirs.mode !== own.mode) {
    throw new HandshakeRefusal(
      "handshake_mismatch",
      `found a handshake "${theirs.mode}", accepted is "${own.mode}"`,
    );
  }
  if (theirs.codecId !== own.codecId) {
    throw new HandshakeRefusal(
      "codec_mismatch",
      `found codec "${theirs.codecId}", accepted is "${own.codecId}"`,
    );
  }
  if (!agrees(own.calls, theirs.serves) || !agrees(theirs.calls, own.serves)) {
    throw new HandshakeRefusal(
      "contract_mismatch",
      "found another contract than this side's: names, shapes and version of the methods are compared",
    );
  }
  if (own.mode === "none") return theirs;
  const [wanted, offered] = own.role === "dialler"
    ? [own.service, theirs.service]
    : [theirs.service, own.service];
  if (wanted !== "" && wanted !== offered) {
    throw new HandshakeRefusal("service_mismatch", `the service is "${offered}", and wanted is "${wanted}"`);
  }
  if (theirs.applicationVersion !== own.applicationVersion) {
    throw new HandshakeRefusal(
      "application_version",
      `found application version "${theirs.applicationVersion}", accepted is "${own.applicationVersion}"`,
    );
  }
  return theirs;
}

/** Whoever calls nothing agrees with anything. */
function agrees(called: Uint8Array | null, served: Uint8Array | null): boolean {
  if (called === null) return true;
  return served !== null && called.every((byte, at) => byte === served[at]);
}
