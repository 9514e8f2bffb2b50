/**
 * Pairing: how sender S and receiver R, whom a relay has brought together, find out whether they know the same code,
 * and agree on keys. On one connection:
 *
 *   both -> relay  identifier            where there is a relay
 *   both -> peer   hello                 at once: whoever waits at the relay has said it long before
 *            each looks at the other's hello; no guess so far, whatever is wrong
 *            R  memory: spend            durable, before S can tell from anything whether its guess was right
 *   R -> S         its confirmation      the first record of its direction
 *            S  memory: spend            durable, before S looks at it
 *            S compares
 *            S  memory: proven
 *   S -> R         its confirmation      the first record of its direction; only if R's was right, else a refusal
 *            R compares
 *            R  memory: proven
 *
 * R confirms first. So whoever plays the sender learns from R's confirmation whether one guess was right, and R has
 * written down before that this was the one; whoever plays the receiver has to show its guess before it learns
 * anything, and S has written down before it looks. Each side lets itself be guessed at once for one code.
 *
 * Resumed, the secret cannot be guessed: the same dialogue, and memory is told nothing.
 */
import {
  RECORD_LENGTH_BYTES,
  RECORD_TAG_BYTES,
  RecordError,
  RecordOpener,
  RecordSealer,
} from "../record/record.ts";
import { equalInConstantTime } from "../rpc/shared_secret.ts";
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import type { TransferCode } from "./code.ts";
import {
  checkHelloHead,
  checkHelloStart,
  encodeHello,
  HELLO_HEAD_BYTES,
  HELLO_START_BYTES,
  type TransferRole,
} from "./hello.ts";
import { codeIdentifier, resumeIdentifier } from "./identifier.ts";
import { type PairingKeys, pairingKeys, transcriptHash } from "./key_schedule.ts";
import { CONFIRMATION_MS, PAIRING_STEP_MS, RENEW_MS } from "./limits.ts";
import type { PairingMemory } from "./memory.ts";
import { PairingError } from "./pairing_error.ts";
import { PairingLine } from "./pairing_line.ts";
import { codeShare, resumeShare, type Share } from "./pairing_share.ts";

export type { TransferRole } from "./hello.ts";
export { PairingError, type PairingFailure } from "./pairing_error.ts";

const CONFIRMATION_BYTES = 32;
const SEALED_CONFIRMATION_BYTES = CONFIRMATION_BYTES + RECORD_TAG_BYTES;
/**
 * What a sender answers to a wrong confirmation: a length that no record has. It shows no more than hanging up does;
 * but a receiver that hears nothing may think that the link was lost, and look for its sender again in vain.
 */
const REFUSAL: Uint8Array<ArrayBuffer> = new Uint8Array(RECORD_LENGTH_BYTES);

/** By what two find each other and prove to be the right ones. */
export type Rendezvous =
  | { readonly kind: "code"; readonly code: TransferCode }
  | {
    readonly kind: "resume";
    /** 32 bytes, `Paired.resumeSecret` of the pairing before. */
    readonly secret: Uint8Array<ArrayBuffer>;
  };

/** What one side brings. */
export interface PairingOptions {
  readonly role: TransferRole;
  /** 16 random bytes, the same for as long as this side looks for one other side, by which it knows itself again. */
  readonly instance: Uint8Array;
  readonly rendezvous: Rendezvous;
  /** Whether a relay is told whom to bring together, or the connection leads to the other side itself. */
  readonly sendIdentifier: boolean;
  /** Told of nothing when resumed. */
  readonly memory: PairingMemory;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** How long nobody may be there. @default RENEW_MS */
  readonly renewMs?: number;
  /** How long the hello of the other side may take once it has begun. @default PAIRING_STEP_MS */
  readonly stepMs?: number;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
}

/** Two that have proven themselves to each other. */
export interface Paired {
  /** For what this side writes from now on, beginning with record 1. */
  readonly sealer: RecordSealer;
  /** For what the other side writes from now on, likewise. Nothing of it was read yet. */
  readonly opener: RecordOpener;
  /** 32 bytes by which the two can meet again; when resumed, those of before. */
  readonly resumeSecret: Uint8Array<ArrayBuffer>;
}

/**
 * Pairs with whoever is at the other end. Closes the connection whenever it throws.
 *
 * A sender whose last message did not get out is paired all the same: the receiver has proven itself, and the two meet
 * again by the resume secret. Whoever uses the connection next finds it lost.
 *
 * @param connection fresh; nobody else may use it until the promise settles
 * @throws {PairingError} after "mismatch" the code is used up; after every other failure it can be tried again
 * @throws {unknown} the signal's reason, or what memory was rejected with
 */
export async function pair(connection: Connection, options: PairingOptions): Promise<Paired> {
  const { timers, renewMs = RENEW_MS, stepMs = PAIRING_STEP_MS, signal } = options;
  const line = new PairingLine(connection, { timers, renewMs, stepMs, signal });
  try {
    const agreed = await agree(line, options);
    const confirm = options.role === "sender" ? confirmAsSender : confirmAsReceiver;
    await confirm(line, agreed, options);
    signal?.throwIfAborted();
    const { sealer, opener, resumeSecret } = agreed;
    return { sealer, opener, resumeSecret };
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    line.release();
  }
}

/** What follows from both hellos. Nobody has proven anything yet. */
interface Agreed extends Paired {
  readonly ownConfirmation: Uint8Array<ArrayBuffer>;
  readonly theirConfirmation: Uint8Array<ArrayBuffer>;
}

async function agree(line: PairingLine, options: PairingOptions): Promise<Agreed> {
  const { role, instance, rendezvous, sendIdentifier } = options;
  const identifier = identifierOf(rendezvous);
  const share = await shareFor(rendezvous, identifier, options.random);
  const own = encodeHello({ mode: rendezvous.kind, role, instance, share: share.bytes });
  // At once, and the other side does the same: neither may wait for the other to read.
  const [, theirs] = await Promise.all([
    line.write(sendIdentifier ? joined(identifier, own) : own),
    readHello(line, own),
  ]);
  line.pause();
  const material = await share.agree(theirs.subarray(HELLO_HEAD_BYTES));
  const [senders, receivers] = role === "sender" ? [own, theirs] : [theirs, own];
  return agreedOf(pairingKeys(transcriptHash(identifier, senders, receivers), material), options);
}

function identifierOf(rendezvous: Rendezvous): Uint8Array<ArrayBuffer> {
  return rendezvous.kind === "code"
    ? codeIdentifier(rendezvous.code.nameplate)
    : resumeIdentifier(rendezvous.secret);
}

async function shareFor(
  rendezvous: Rendezvous,
  identifier: Uint8Array,
  random: RandomBytes,
): Promise<Share> {
  return rendezvous.kind === "code"
    ? codeShare(rendezvous.code, identifier, random)
    : await resumeShare(rendezvous.secret, random);
}

/** Reads a hello piece by piece: what is wrong with the first one is wrong however much would follow. */
async function readHello(line: PairingLine, own: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const theirs = new Uint8Array(own.length);
  await line.read(theirs.subarray(0, HELLO_START_BYTES));
  checkHelloStart(theirs);
  await line.read(theirs.subarray(HELLO_START_BYTES, HELLO_HEAD_BYTES));
  checkHelloHead(theirs, own);
  await line.read(theirs.subarray(HELLO_HEAD_BYTES));
  return theirs;
}

function agreedOf(keys: PairingKeys, { role, rendezvous }: PairingOptions): Agreed {
  const isSender = role === "sender";
  return {
    sealer: new RecordSealer(isSender ? keys.sender : keys.receiver),
    opener: new RecordOpener(isSender ? keys.receiver : keys.sender),
    ownConfirmation: isSender ? keys.senderConfirmation : keys.receiverConfirmation,
    theirConfirmation: isSender ? keys.receiverConfirmation : keys.senderConfirmation,
    resumeSecret: rendezvous.kind === "code" ? keys.resumeSecret : rendezvous.secret,
  };
}

async function confirmAsReceiver(line: PairingLine, agreed: Agreed, options: PairingOptions): Promise<void> {
  const { memory, rendezvous, signal } = options;
  if (rendezvous.kind === "code") await memory.spend(agreed.resumeSecret);
  try {
    line.step(CONFIRMATION_MS);
    await line.write(await agreed.sealer.seal(agreed.ownConfirmation));
    if (!await isConfirmation(await readConfirmation(line), agreed)) throw unproven(options);
  } catch (error) {
    signal?.throwIfAborted();
    // Also if the connection was lost: whoever is there may have cut it, having seen that its guess was wrong.
    throw rendezvous.kind === "code" ? mismatch(error) : error;
  }
  line.pause();
  if (rendezvous.kind === "code") await memory.proven(agreed.resumeSecret);
}

async function confirmAsSender(line: PairingLine, agreed: Agreed, options: PairingOptions): Promise<void> {
  const { memory, rendezvous } = options;
  line.step(CONFIRMATION_MS);
  const record = await readConfirmation(line);
  line.pause();
  if (rendezvous.kind === "code") await memory.spend(agreed.resumeSecret);
  const isProven = await isConfirmation(record, agreed);
  if (isProven && rendezvous.kind === "code") await memory.proven(agreed.resumeSecret);
  await answer(line, isProven ? await agreed.sealer.seal(agreed.ownConfirmation) : REFUSAL);
  if (!isProven) throw unproven(options);
}

async function answer(line: PairingLine, bytes: Uint8Array): Promise<void> {
  line.step();
  try {
    await line.write(bytes);
  } catch {
    // As if it had been lost a moment later, on its way: a receiver that has proven itself can redial.
  }
}

/** Reads the record that a confirmation is in, without looking at it. */
async function readConfirmation(line: PairingLine): Promise<Uint8Array<ArrayBuffer>> {
  const record = new Uint8Array(RECORD_LENGTH_BYTES + SEALED_CONFIRMATION_BYTES);
  await line.read(record.subarray(0, RECORD_LENGTH_BYTES));
  if (new DataView(record.buffer).getUint32(0) !== SEALED_CONFIRMATION_BYTES) {
    throw new PairingError("malformed", "found a confirmation of another length");
  }
  await line.read(record.subarray(RECORD_LENGTH_BYTES));
  return record;
}

async function isConfirmation(
  record: Uint8Array<ArrayBuffer>,
  { opener, theirConfirmation }: Agreed,
): Promise<boolean> {
  const found = await opened(opener, record);
  return found !== null && equalInConstantTime(found, theirConfirmation);
}

/** The plaintext; null if it cannot be opened. */
async function opened(opener: RecordOpener, record: Uint8Array<ArrayBuffer>): Promise<Uint8Array | null> {
  try {
    return await opener.open(record);
  } catch (error) {
    if (error instanceof RecordError) return null;
    throw error;
  }
}

function unproven({ rendezvous }: PairingOptions): PairingError {
  return rendezvous.kind === "code"
    ? mismatch()
    : new PairingError("malformed", "found a side that does not have the secret from before");
}

function mismatch(cause?: unknown): PairingError {
  return new PairingError("mismatch", "the other side has not proven that it knows the code", { cause });
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
