/** The handshake over a connection: does what the dialogue wants, within its time. */
import { type Connection, TransportError } from "../transport/transport.ts";
import type { Contract, PeerInfo } from "./contract.ts";
import { ConnectionError } from "./errors.ts";
import type { Frame } from "./frame.ts";
import { diallerDialogue, type HandshakeStep, listenerDialogue } from "./handshake_dialogue.ts";
import { HandshakeRefusal, type RefusalReason } from "./handshake_frame.ts";
import type { HandshakePolicy } from "./handshake_policy.ts";
import { HandshakeEnded, HandshakeWire } from "./handshake_wire.ts";
import { encodeHello, type Hello, NONCE_BYTES, type Role } from "./hello.ts";
import type { Limits, ToldLimits } from "./limits.ts";
import { PeerRefusal, type VerifiedProcess } from "./peer_verifier.ts";
import type { RandomBytes, Timers } from "./timers.ts";

export type { RefusalReason } from "./handshake_frame.ts";

/** What one side brings to a handshake. */
export interface HandshakeInput {
  /** Open, and nothing read from it or written to it. */
  readonly connection: Connection;
  /** Which side this is. */
  readonly role: Role;
  /** What is demanded of the other side. */
  readonly policy: HandshakePolicy;
  /** Name of the service, at most 64 printable ASCII characters without spaces; empty at the dialler: any. */
  readonly service: string;
  /** What this side serves on the connection; null: nothing. */
  readonly serves: Contract | null;
  /** What this side calls on the connection; null: nothing. */
  readonly calls: Contract | null;
  /** `Codec.id` of the codec that is used afterwards. */
  readonly codecId: string;
  /** What is told, and the time that the handshake may take. */
  readonly limits: Limits;
  /** For the time limit. */
  readonly timers: Timers;
  /** For the nonce. */
  readonly randomBytes: RandomBytes;
  /** Gives up: the connection is closed, and the error has the reason "aborted". */
  readonly signal?: AbortSignal | undefined;
  /**
   * Asked by the listening side once the other has proved what the policy demands, before it is accepted: null to
   * accept. The handshake can still fail after that, so whoever keeps a place gives it back then.
   */
  readonly admit?: ((peer: PeerInfo) => Promise<RefusalReason | null>) | undefined;
}

/** What a handshake gives. */
export interface HandshakeResult {
  /** What everything else goes over: the connection that was given, or a sealed one over it. */
  readonly connection: Connection;
  /** Who is at the other end, as far as it was shown. */
  readonly peer: PeerInfo;
  /** What the other side told. */
  readonly told: ToldLimits;
}

/**
 * Shakes hands. Reads from the connection exactly what belongs to the handshake. If it fails, the other side was told
 * why as far as it listens, and the connection is closed.
 *
 * @throws {ConnectionError} with the reason, and which side refused; "lost" if the connection ended, "aborted" if the
 * signal was given
 * @throws {TypeError} if the input makes no handshake, such as a listener with the policy of a dialler; the connection
 * is closed then, too
 */
export async function shakeHands(input: HandshakeInput): Promise<HandshakeResult> {
  const { connection, limits, timers, signal } = input;
  const stop = Promise.withResolvers<never>();
  const giveUp = new AbortController();
  const wire = new HandshakeWire(connection, stop.promise);
  stop.promise.catch(() => {});
  const abort = (): void => {
    stop.reject(new Aborted({ cause: signal?.reason }));
    wire.close(); // also while it takes leave of a side that it has refused
  };
  const callOff = timers.after(limits.handshakeTimeoutMs, () => {
    const message = `it was not finished in ${limits.handshakeTimeoutMs} ms`;
    stop.reject(new HandshakeRefusal("handshake_timeout", message));
  });
  signal?.addEventListener("abort", abort);
  try {
    if (signal?.aborted) throw new Aborted({ cause: signal.reason });
    return await converse(input, wire, giveUp.signal);
  } catch (error) {
    throw await failed(error, wire, timers);
  } finally {
    callOff();
    signal?.removeEventListener("abort", abort);
    // Looking at a process, which nobody waits for any more.
    giveUp.abort();
  }
}

/** This program gave up. */
class Aborted extends Error {
  constructor(options: ErrorOptions) {
    super("this side gave up", options);
    this.name = "Aborted";
  }
}

async function converse(
  input: HandshakeInput,
  wire: HandshakeWire,
  signal: AbortSignal,
): Promise<HandshakeResult> {
  const hello = ownHello(input);
  const dialogue = (input.role === "dialler" ? diallerDialogue : listenerDialogue)({
    hello,
    secret: input.policy.secret,
  });
  const conversation = new Conversation(input, wire, signal);
  let step = dialogue.next(null);
  while (!step.done) {
    step = dialogue.next(await conversation.does(step.value));
  }
  return { connection: wire.connection, peer: conversation.peer, told: step.value.told };
}

/** What the dialogue wants, done. */
class Conversation {
  readonly #input: HandshakeInput;
  readonly #wire: HandshakeWire;
  readonly #signal: AbortSignal;
  #process: VerifiedProcess | null = null;

  constructor(input: HandshakeInput, wire: HandshakeWire, signal: AbortSignal) {
    this.#input = input;
    this.#wire = wire;
    this.#signal = signal;
  }

  get peer(): PeerInfo {
    const { connection, policy } = this.#input;
    const known = policy.secret !== null ? "secret" : "none";
    return {
      transport: connection.transport,
      remoteAddress: connection.remoteAddress,
      authenticated: this.#process === null ? known : "process",
      executablePath: this.#process?.executablePath ?? null,
    };
  }

  /** @returns the frame that was wanted; null if something else was */
  async does(step: HandshakeStep): Promise<Frame | null> {
    switch (step.want) {
      case "receive":
        return await this.#wire.receive();
      case "send":
        await this.#wire.send(step.frame);
        return null;
      case "seal":
        this.#wire.seal(step.keys);
        return null;
      case "verify":
        this.#process = await this.#wire.within(this.#verified());
        return null;
      case "confirm":
        await this.#wire.within(this.#confirmed());
        return null;
      case "admit":
        await this.#admit();
        return null;
    }
  }

  async #verified(): Promise<VerifiedProcess> {
    const { connection, policy } = this.#input;
    if (policy.verifier === null) throw new TypeError("cannot look at a process without a verifier");
    return await policy.verifier.verify(connection, this.#signal);
  }

  async #confirmed(): Promise<void> {
    if (this.#process === null) {
      throw new TypeError("cannot look a second time at a process before the first");
    }
    await this.#process.confirm(this.#signal);
  }

  async #admit(): Promise<void> {
    const { admit } = this.#input;
    if (admit === undefined) return;
    const refusal = await this.#wire.within(admit(this.peer));
    if (refusal !== null) {
      throw new HandshakeRefusal(refusal, `this side takes it not: ${refusal}`, { told: "" });
    }
  }
}

/** @throws {TypeError} if the input makes no handshake */
function ownHello(input: HandshakeInput): Hello {
  const { connection, policy, role, limits } = input;
  const lacks = policy.mode === "hmac"
    ? policy.secret === null && "secret"
    : policy.mode === "signed-process" && role === "listener" && policy.verifier === null && "public key";
  if (lacks) throw new TypeError(`cannot shake hands as ${role} of "${policy.mode}" without a ${lacks}`);
  const hello: Hello = {
    mode: policy.mode,
    role,
    confidential: connection.confidential,
    told: {
      maxBodyBytes: limits.maxBodyBytes,
      maxConcurrentCalls: limits.maxConcurrentCalls,
      streamWindowBytes: limits.streamWindowBytes,
    },
    codecId: input.codecId,
    serves: input.serves?.hash ?? null,
    calls: input.calls?.hash ?? null,
    service: input.service,
    applicationVersion: policy.applicationVersion,
    nonce: input.randomBytes(NONCE_BYTES),
  };
  encodeHello(hello); // a listener would otherwise find out only once somebody has connected and said hello
  return hello;
}

/** Closes the connection, after telling the other side if it is this one that refuses, and says what happened. */
async function failed(error: unknown, wire: HandshakeWire, timers: Timers): Promise<Error> {
  const refusal = refusalFor(error);
  if (refusal === null || refusal.by === "there") {
    wire.close();
  } else {
    await wire.refuse(refusal.reason, refusal.told, timers);
  }
  if (refusal === null) return connectionErrorOf(error);
  if (error instanceof TypeError) return error;
  return new ConnectionError(refusal.reason, refusal.by, `could not shake hands: ${refusal.message}`, {
    cause: refusal.cause,
  });
}

/** What to say to the other side; null if there is nobody left to talk to, or nothing to say. */
function refusalFor(error: unknown): HandshakeRefusal | null {
  if (error instanceof HandshakeRefusal) return error;
  if (error instanceof Aborted || error instanceof HandshakeEnded) return null;
  if (error instanceof PeerRefusal) {
    return new HandshakeRefusal("process_not_signed", error.message, { told: "", cause: error });
  }
  if (error instanceof TransportError) {
    if (error.code === "closed" || error.code === "lost") return null;
    const reason = error.code === "tampered" ? "tampered" : "internal";
    return new HandshakeRefusal(reason, error.message, { told: "", cause: error });
  }
  return new HandshakeRefusal("internal", "something failed on this side", { told: "", cause: error });
}

function connectionErrorOf(error: unknown): ConnectionError {
  const isOurs = error instanceof Aborted || (error instanceof TransportError && error.code === "closed");
  const message = error instanceof Error ? error.message : "the connection failed";
  return new ConnectionError(
    isOurs ? "aborted" : "lost",
    isOurs ? "here" : "there",
    `could not shake hands: ${message}`,
    { cause: error instanceof Aborted ? error.cause : error },
  );
}
