/**
 * What checks the values of the control calls, see control_contract.ts. Each side takes the other one for hostile: a
 * host may be broken into, and so may the server.
 *
 * Nothing of control_contract.ts is imported but types: it needs these values while it is being loaded.
 */
import type { Schema } from "../rpc/contract.ts";
import type {
  Action,
  EndedSession,
  EndOrder,
  HostRow,
  HostSession,
  Pins,
  Prepared,
  Registered,
  Registration,
  SessionEnding,
  SessionRow,
  SignedHead,
} from "./control_contract.ts";
import {
  bytesOf,
  counted,
  duration,
  type Form,
  listOf,
  nothing,
  objectOf,
  orNull,
  strictSchema,
  textOf,
  whole,
  wordOf,
  yesOrNo,
} from "./strict_schema.ts";

const KEY_BYTES = 32,
  NONCE_BYTES = 32,
  HASH_BYTES = 32,
  SIGNATURE_BYTES = 64,
  CHALLENGE_BYTES = 16;
/** Length of a certificate in PEM, at most. */
export const MAX_CERTIFICATE_CHARACTERS = 8192;
/** Sessions of one host, or in one order, at most. */
export const MAX_HOST_SESSIONS = 1024;
const MAX_HOST_ROWS = 16_384,
  MAX_SESSION_ROWS = 16_384,
  MAX_TAGS = 64,
  MAX_PINS = 2,
  MAX_EXIT_CODE = 255,
  MAX_GENERATION = 0xffff_ffff;

const name: Form<string> = textOf(/^[a-z0-9][a-z0-9._-]{0,63}$/);
const session: Form<string> = textOf(/^[0-9a-f]{16}$/);
const version: Form<string> = textOf(/^[\x21-\x7e]{1,64}$/);
/** Such as "linux x86_64"; printable ASCII. */
const system: Form<string> = textOf(/^[\x21-\x7e](?:[\x20-\x7e]{0,62}[\x21-\x7e])?$/);
const action: Form<Action> = wordOf("shell", "exec", "forward");
const ending: Form<SessionEnding> = wordOf(
  "done",
  "closed",
  "lost",
  "abandoned",
  "revoked",
  "expired",
  "failed",
  "agent_stopped",
);
const sessionIds: Form<readonly string[]> = listOf(session, 0, MAX_HOST_SESSIONS);
const generation: Form<number> = whole(0, MAX_GENERATION);

/** One certificate and nothing around it: what is believed is what is read here, not what some parser finds in it. */
const PEM =
  /^-----BEGIN CERTIFICATE-----\r?\n(?:[A-Za-z0-9+/=]{1,76}\r?\n){1,200}-----END CERTIFICATE-----(?:\r?\n)?$/;

function certificate(value: unknown): ReturnType<Form<string>> {
  return typeof value === "string" && value.length <= MAX_CERTIFICATE_CHARACTERS && PEM.test(value)
    ? null
    : { message: "it wants one certificate in PEM" };
}

const hostSession: Form<HostSession> = objectOf<HostSession>({
  session,
  adminKey: bytesOf(KEY_BYTES),
  action,
  detached: yesOrNo,
});

const hostRow: Form<HostRow> = objectOf<HostRow>({
  name,
  tags: listOf(name, 0, MAX_TAGS),
  sinceMs: orNull(counted),
  online: yesOrNo,
  latencyMs: orNull(duration),
  version: orNull(version),
  system: orNull(system),
  sessions: counted,
});

const sessionRow: Form<SessionRow> = objectOf<SessionRow>({
  session,
  host: name,
  openedMs: counted,
  detached: yesOrNo,
});

/** What a host says of itself. */
export const checkRegistration: Schema<Registration> = strictSchema(objectOf<Registration>({
  version,
  system,
  sessions: listOf(hostSession, 0, MAX_HOST_SESSIONS),
  pinsGeneration: generation,
}));

/** What the server answers to it. */
export const checkRegistered: Schema<Registered> = strictSchema(objectOf<Registered>({ end: sessionIds }));

/** A session that is over. */
export const checkEndedSession: Schema<EndedSession> = strictSchema(objectOf<EndedSession>({
  session,
  ending,
  exitCode: orNull(whole(0, MAX_EXIT_CODE)),
  bytesIn: counted,
  bytesOut: counted,
  durationMs: counted,
}));

/** Sessions to be ended. */
export const checkEndOrder: Schema<EndOrder> = strictSchema(objectOf<EndOrder>({
  sessions: sessionIds,
  ending: wordOf("revoked", "expired"),
}));

/** Certificates to be believed. */
export const checkPins: Schema<Pins> = strictSchema(objectOf<Pins>({
  caCertificates: listOf(certificate, 1, MAX_PINS),
  generation,
}));

/** Number of the pins that a host has stored. */
export const checkGeneration: Schema<number> = strictSchema(generation);

/** The form of a signed head; whether the server signed it is for `verifyHead` to say. */
export const checkSignedHead: Schema<SignedHead> = strictSchema(objectOf<SignedHead>({
  number: counted,
  hash: bytesOf(HASH_BYTES),
  signature: bytesOf(SIGNATURE_BYTES),
}));

/** All hosts that an administrator may see. */
export const checkHostRows: Schema<readonly HostRow[]> = strictSchema(listOf(hostRow, 0, MAX_HOST_ROWS));

/** The name of a host. */
export const checkHostName: Schema<string> = strictSchema(name);

/** What is needed to sign an open. */
export const checkPrepared: Schema<Prepared> = strictSchema(objectOf<Prepared>({
  hostKey: bytesOf(KEY_BYTES),
  linkNonce: bytesOf(NONCE_BYTES),
  challenge: bytesOf(CHALLENGE_BYTES),
}));

/** Shells that can be taken up again. */
export const checkSessionRows: Schema<readonly SessionRow[]> = strictSchema(
  listOf(sessionRow, 0, MAX_SESSION_ROWS),
);

/** A challenge: 16 bytes. */
export const checkChallenge: Schema<Uint8Array<ArrayBuffer>> = strictSchema(bytesOf(CHALLENGE_BYTES));

/** An answer without a word. */
export const checkNothing: Schema<null> = strictSchema(nothing);
