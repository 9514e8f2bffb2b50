/**
 * How a link begins, inside TLS 1.3 whose CA the dialler has pinned:
 *
 *   dialler -> server  hello
 *   server  -> dialler hello, prove
 *            the dialler refuses a key that is not the one it has pinned, before it sends anything more
 *   dialler -> server  prove (in a join with the token's secret behind it), open control
 *            the server looks the key or the token up
 *   server  -> dialler opened with the dialler's name; or reset on flow 0 with a code and a text, and the end
 *
 * The control flow is opened without waiting, so that a link stands after two round trips. Before the proof the server
 * reads a hello and a proof of exactly their lengths and nothing else: bytes behind them are not even received.
 */
import { isSameBytes, type SigningKey, verifySignature } from "./signing_key.ts";
import type { RandomBytes, Timers } from "../rpc/timers.ts";
import type { Connection } from "../transport/transport.ts";
import { joinBytes } from "./byte_fields.ts";
import {
  decodeControlOpened,
  encodeControlOpen,
  encodeControlOpened,
  requireSameControl,
} from "./control_flow.ts";
import type { FlowConnection } from "./flow_connection.ts";
import { encodeFrame, FRAME_TYPES, type FrameType } from "./frame.ts";
import { HandshakeLine, resetOf, tellAndHangUp } from "./handshake_line.ts";
import { tokenHash } from "./join_token.ts";
import {
  decodeHello,
  decodeProof,
  diallerProofText,
  type DiallerRole,
  encodeHello,
  encodeProof,
  type LinkHello,
  type LinkKind,
  linkTranscript,
  NONCE_BYTES,
  SECRET_BYTES,
  serverProofText,
} from "./link_hello.ts";
import { type ResetCode, ResetError } from "./reset_code.ts";
import { type IncomingFlow, RunningLink } from "./running_link.ts";

/** Time that a dialler gives the whole of it. */
export const DIAL_TIMEOUT_MS = 4_000;

/** What a server that has not proven itself is believed; anybody may say so, and no other code makes anybody act. */
const SAID_BY_ANYBODY: ReadonlySet<ResetCode> = new Set([
  "version",
  "malformed",
  "exhausted",
  "shutting_down",
  "silent",
  "internal",
]);

/** What a dialler brings. */
export interface DialLinkOptions {
  readonly kind: LinkKind;
  readonly role: DiallerRole;
  /** Our own. */
  readonly key: SigningKey;
  /** The one that is pinned: 32 bytes. */
  readonly serverKey: Uint8Array;
  /** What TLS has shown: the server's certificate, DER. */
  readonly serverCertificate: Uint8Array;
  /** Of the token, 32 bytes; in a join and only there. */
  readonly secret?: Uint8Array<ArrayBuffer> | undefined;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** For the whole of it. @default DIAL_TIMEOUT_MS */
  readonly timeoutMs?: number | undefined;
  /** Gives up; later it does nothing. */
  readonly signal?: AbortSignal | undefined;
  /** Called with every session that the server opens. */
  readonly onOpen: (flow: IncomingFlow) => void;
}

/** A link as its dialler has it. */
export interface DialledLink {
  readonly link: RunningLink;
  /** 32 bytes: ours of this link; opens name it. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  /** By which the registry knows us. */
  readonly name: string;
  /** For `controlPeer`. */
  readonly control: FlowConnection;
}

/**
 * Makes a link of a fresh TLS connection. Closes the connection whenever it throws.
 *
 * @throws {ResetError} "authentication" if it is not the pinned server, or that does not know our key; "token",
 * "revoked", "in_use", "version", "silent", "lost" and whatever else the server refuses with
 * @throws {TypeError} if the options contradict each other
 * @throws {unknown} the signal's reason
 */
export async function dialLink(connection: Connection, options: DialLinkOptions): Promise<DialledLink> {
  const { timers, timeoutMs = DIAL_TIMEOUT_MS, signal } = options;
  const line = new HandshakeLine(connection, { timers, timeoutMs, signal });
  try {
    requireOptions(options);
    const { prove, linkNonce } = await dialled(line, options);
    return { linkNonce, ...await openControl(connection, prove, line, options) };
  } catch (error) {
    connection.close();
    throw error;
  } finally {
    line.release();
  }
}

function requireOptions({ kind, secret, serverCertificate }: DialLinkOptions): void {
  if (serverCertificate.length === 0) throw new TypeError("cannot link: TLS has shown no certificate");
  if (kind === "join" ? secret?.length !== SECRET_BYTES : secret !== undefined) {
    throw new TypeError(`cannot link: a join, and nothing else, has a secret of ${SECRET_BYTES} bytes`);
  }
}

/** Our hello, theirs and their proof; gives the frame with ours, which nobody has seen yet. */
async function dialled(
  line: HandshakeLine,
  options: DialLinkOptions,
): Promise<{ prove: Uint8Array<ArrayBuffer>; linkNonce: Uint8Array<ArrayBuffer> }> {
  const { kind, role, key, random } = options, secret = options.secret ?? null;
  const linkNonce = random(NONCE_BYTES);
  const own = encodeHello({ kind, role, nonce: linkNonce, key: key.publicKey });
  await line.write(encodeFrame(FRAME_TYPES.hello, 0, own));
  const helloData = await readData(line, FRAME_TYPES.hello);
  requireServerHello(decodeHello(helloData), linkNonce, options);
  const proof = decodeProof(await readData(line, FRAME_TYPES.prove), kind, "server");
  const transcript = linkTranscript(own, helloData, options.serverCertificate);
  if (!await verifySignature(options.serverKey, serverProofText(transcript), proof.signature)) {
    throw notTheServer("its proof is wrong, or somebody sits in between");
  }
  const signature = await key.sign(diallerProofText(transcript, secret));
  return { prove: encodeFrame(FRAME_TYPES.prove, 0, encodeProof({ signature, secret })), linkNonce };
}

/** Data of the next frame of the server, of that type; a reset in its place is thrown. */
async function readData(line: HandshakeLine, type: FrameType): Promise<Uint8Array> {
  const frame = await line.readFrame(type, FRAME_TYPES.reset);
  if (frame.type === FRAME_TYPES.reset) throw unproven(resetOf(frame));
  return frame.data;
}

/**
 * Whoever has not shown to be the server cannot make an agent believe that it was revoked, or a token dead: only what
 * it could reach by hanging up as well is believed.
 */
function unproven(error: ResetError): ResetError {
  if (SAID_BY_ANYBODY.has(error.code)) return error;
  return new ResetError(
    "lost",
    "there",
    `cannot link: refused before the server proved itself: ${error.message}`,
  );
}

function requireServerHello(hello: LinkHello, ownNonce: Uint8Array, options: DialLinkOptions): void {
  if (hello.role !== "server" || hello.kind !== options.kind) {
    throw new ResetError("malformed", "here", "cannot link: the answer is not the hello of a server to ours");
  }
  if (!isSameBytes(hello.key, options.serverKey)) {
    throw notTheServer("it has another key than the one pinned");
  }
  if (isSameBytes(hello.nonce, ownNonce)) throw notTheServer("it has sent our own nonce back");
}

function notTheServer(found: string): ResetError {
  return new ResetError(
    "authentication",
    "here",
    `cannot link: this is not the server that was joined: ${found}`,
  );
}

/** Sends the proof and the open of the control flow together, and waits for the answer to both. */
async function openControl(
  connection: Connection,
  prove: Uint8Array<ArrayBuffer>,
  line: HandshakeLine,
  { role, timers, onOpen }: DialLinkOptions,
): Promise<{ link: RunningLink; name: string; control: FlowConnection }> {
  const link = new RunningLink({
    connection,
    role: "dialler",
    received: new Uint8Array(0),
    timers,
    onOpen: (flow) => takeSession(flow, onOpen),
    firstFrames: prove,
  });
  try {
    const opened = await link.open("control", encodeControlOpen(role));
    return { link, name: decodeControlOpened(opened.parameters), control: opened.connection };
  } catch (error) {
    const isRefused = link.isOpen;
    if (isRefused) link.close("malformed", "the answer is none");
    // A link that has ended knows better why than the flow that went with it.
    const ended = await link.closed;
    throw isRefused ? error : ended.code === "lost" ? line.failure(ended) : ended;
  }
}

/** Only a dialler opens a control flow, and only one. */
function takeSession(flow: IncomingFlow, onOpen: (flow: IncomingFlow) => void): void {
  if (flow.purpose === "session") onOpen(flow);
  else flow.refuse("malformed", "this link has its control flow");
}

/** What a server brings. */
export interface AcceptLinkOptions {
  readonly serverKey: SigningKey;
  /** The one that TLS shows: DER. */
  readonly serverCertificate: Uint8Array;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** From now until the proof is there; once more until the control flow is. */
  readonly timeoutMs: number;
}

/** What a server does with a dialler that it wants. */
export interface AcceptOptions {
  /** By which the registry knows it. */
  readonly name: string;
  /** Called with every session that the dialler opens. */
  readonly onOpen: (flow: IncomingFlow) => void;
}

/**
 * Somebody who has the private key. Whether that is anybody is for the registry to say; until `accept` or `refuse` is
 * called nothing more is read.
 */
export interface ProvenDialler {
  readonly kind: LinkKind;
  readonly role: DiallerRole;
  /** 32 bytes, proven. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** 32 bytes: its nonce of this link. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  /** Of a join: `tokenHash` of the secret, 32 bytes. */
  readonly secretHash: Uint8Array<ArrayBuffer> | null;
  /**
   * Takes it in, as soon as it has opened its control flow.
   *
   * @throws {ResetError} "version" if its calls are others, "malformed", "silent", "lost"; the link is closed then
   */
  accept(options: AcceptOptions): Promise<{ readonly link: RunningLink; readonly control: FlowConnection }>;
  /** Tells it why not, and hangs up; settles when that is done, and never throws. */
  refuse(code: ResetCode, text: string): Promise<void>;
}

/**
 * Finds out who has dialled. Closes the connection whenever it throws, after telling the other side no more than a code
 * and a few fixed words.
 *
 * @throws {ResetError} "authentication", "version", "malformed", "silent", "lost"
 */
export async function acceptLink(connection: Connection, options: AcceptLinkOptions): Promise<ProvenDialler> {
  const { timers, timeoutMs } = options;
  const line = new HandshakeLine(connection, { timers, timeoutMs });
  try {
    return provenDialler(connection, options, await readProven(line, options));
  } catch (error) {
    if (error instanceof ResetError && error.code !== "lost" && error.code !== "silent") {
      // Waited for: until it is gone it takes one of the places of those who have not proven anything.
      await tellAndHangUp(connection, timers, error.code, error.message);
    } else {
      connection.close();
    }
    throw error;
  } finally {
    line.release();
  }
}

interface Proven extends Pick<ProvenDialler, "kind" | "key" | "linkNonce" | "secretHash"> {
  readonly role: DiallerRole;
}

async function readProven(line: HandshakeLine, options: AcceptLinkOptions): Promise<Proven> {
  const { serverKey, serverCertificate, random } = options;
  const { data: theirs } = await line.readFrame(FRAME_TYPES.hello);
  const { kind, role, nonce, key } = decodeHello(theirs);
  if (role === "server") throw outOfTurn();
  const own = encodeHello({ kind, role: "server", nonce: random(NONCE_BYTES), key: serverKey.publicKey });
  const transcript = linkTranscript(theirs, own, serverCertificate);
  const signature = await serverKey.sign(serverProofText(transcript));
  await line.write(joinBytes(
    encodeFrame(FRAME_TYPES.hello, 0, own),
    encodeFrame(FRAME_TYPES.prove, 0, encodeProof({ signature, secret: null })),
  ));
  const proof = decodeProof((await line.readFrame(FRAME_TYPES.prove)).data, kind, "dialler");
  if (!await verifySignature(key, diallerProofText(transcript, proof.secret), proof.signature)) {
    throw new ResetError("authentication", "here", "the proof of the key is wrong");
  }
  return { kind, role, key, linkNonce: nonce, secretHash: proof.secret && tokenHash(proof.secret) };
}

function outOfTurn(): ResetError {
  return new ResetError("malformed", "here", "this is no handshake of a link");
}

function provenDialler(connection: Connection, options: AcceptLinkOptions, proven: Proven): ProvenDialler {
  return {
    ...proven,
    accept: (accepted) => acceptControl(connection, options, proven.role, accepted),
    refuse: (code, text) => tellAndHangUp(connection, options.timers, code, text),
  };
}

async function acceptControl(
  connection: Connection,
  { timers, timeoutMs }: AcceptLinkOptions,
  role: DiallerRole,
  { name, onOpen }: AcceptOptions,
): Promise<{ readonly link: RunningLink; readonly control: FlowConnection }> {
  const parameters = encodeControlOpened(name);
  let take = (_flow: IncomingFlow): void => {};
  const first = new Promise<IncomingFlow>((resolve) => take = resolve);
  const link = new RunningLink({
    connection,
    role: "server",
    received: new Uint8Array(0),
    timers,
    onOpen: (flow) => {
      take(flow);
      take = (later): void => takeSession(later, onOpen);
    },
  });
  const callOff = timers.after(timeoutMs, () => link.close("silent", "no control flow was opened in time"));
  try {
    const flow = await Promise.race([first, link.closed]);
    if (flow instanceof ResetError) throw flow;
    if (flow.purpose !== "control") throw outOfTurn();
    requireSameControl(flow.parameters, role);
    return { link, control: flow.accept(parameters) };
  } catch (error) {
    if (error instanceof ResetError && link.isOpen) link.close(error.code, error.message);
    throw error;
  } finally {
    callOff();
  }
}
