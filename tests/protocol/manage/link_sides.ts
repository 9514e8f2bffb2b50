/** Sides of a link for tests: scripted ones that say whatever a test wants, and real ones with what they need. */
import assert from "node:assert/strict";
import { joinBytes } from "../../../src/protocol/manage/byte_fields.ts";
import {
  encodeFrame,
  type Frame,
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  type FrameType,
} from "../../../src/protocol/manage/frame.ts";
import {
  acceptLink,
  type DialledLink,
  dialLink,
  type DialLinkOptions,
  type ProvenDialler,
} from "../../../src/protocol/manage/link_handshake.ts";
import {
  decodeHello,
  diallerProofText,
  type DiallerRole,
  encodeHello,
  encodeProof,
  type LinkKind,
  linkTranscript,
  serverProofText,
} from "../../../src/protocol/manage/link_hello.ts";
import { type ResetCode, resetCodeOf, ResetError } from "../../../src/protocol/manage/reset_code.ts";
import type { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import {
  type RandomBytes,
  systemRandomBytes,
  systemTimers,
  type Timers,
} from "../../../src/protocol/rpc/timers.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { adminKey, type Bytes, hostKey, serverKey } from "./manage_identities.ts";

export const certificate: Bytes = new Uint8Array(400).fill(0x30);
export const otherCertificate: Bytes = new Uint8Array(400).fill(0x31);
export const secret: Bytes = new Uint8Array(32).fill(0x5e);

export const keyOf = (role: DiallerRole): SigningKey => role === "host" ? hostKey : adminKey;

/** A dialler as it should be. */
export function dial(connection: Connection, options: Partial<DialLinkOptions> = {}): Promise<DialledLink> {
  const { kind = "link", role = "host" } = options;
  return dialLink(connection, {
    kind,
    role,
    key: keyOf(role),
    serverKey: serverKey.publicKey,
    serverCertificate: certificate,
    secret: kind === "join" ? secret : undefined,
    timers: systemTimers,
    random: systemRandomBytes,
    onOpen: (flow) => flow.refuse("internal", "not in this test"),
    ...options,
  });
}

/** A server as it should be. */
export function accept(
  connection: Connection,
  options: { timers?: Timers; timeoutMs?: number; serverCertificate?: Bytes; random?: RandomBytes } = {},
): Promise<ProvenDialler> {
  return acceptLink(connection, {
    serverKey,
    serverCertificate: certificate,
    timers: systemTimers,
    random: systemRandomBytes,
    timeoutMs: 4_000,
    ...options,
  });
}

/** Whether it is a refusal with this code, said by this side. */
export function refusedAs(code: ResetCode, by?: "here" | "there"): (error: unknown) => true {
  return (error) => {
    assert(error instanceof ResetError, String(error));
    assert.equal(error.code, code, error.message);
    if (by !== undefined) assert.equal(error.by, by, error.message);
    return true;
  };
}

/** One end of a connection that says and hears what a test wants. */
export class ScriptedSide {
  readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  say(...parts: readonly Uint8Array[]): Promise<void> {
    return this.connection.write(joinBytes(...parts));
  }

  async hear(length: number): Promise<Bytes> {
    const heard = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const count = await this.connection.read(heard.subarray(at));
      assert(count !== null, `heard ${at} of ${length} bytes and then the end`);
      at += count;
    }
    return heard;
  }

  /** The next frame, with its header. */
  async hearFrame(): Promise<Frame & { readonly bytes: Bytes }> {
    const header = await this.hear(FRAME_HEADER_BYTES);
    const data = await this.hear(new DataView(header.buffer).getUint16(3));
    return { type: header[1] as FrameType, flow: header[2] ?? 0, data, bytes: joinBytes(header, data) };
  }

  /** The next frame must be a reset of the whole link. */
  async hearReset(): Promise<{ readonly code: ResetCode; readonly text: string }> {
    const { type, flow, data } = await this.hearFrame();
    assert.deepEqual([type, flow], [FRAME_TYPES.reset, 0]);
    const code = new DataView(data.buffer, data.byteOffset).getUint16(0);
    return { code: resetCodeOf(code), text: new TextDecoder().decode(data.subarray(2)) };
  }

  /** Everything until the other side ends or cuts. */
  async hearAll(): Promise<Bytes> {
    const all: Uint8Array[] = [], buffer = new Uint8Array(4096);
    try {
      for (let count = await this.connection.read(buffer); count !== null;) {
        all.push(buffer.slice(0, count));
        count = await this.connection.read(buffer);
      }
    } catch {
      // Cut.
    }
    return joinBytes(...all);
  }
}

/** What a scripted server may do otherwise. */
export interface ScriptedServerOptions {
  /** Whose key is in the hello. */
  readonly key?: Uint8Array;
  /** Who signs. */
  readonly signer?: SigningKey;
  readonly certificate?: Bytes;
  readonly nonce?: Bytes;
}

/** Hears a hello and answers with another and a proof; gives the bytes of both, and what they are over. */
export async function answerHello(
  side: ScriptedSide,
  options: ScriptedServerOptions = {},
): Promise<{ readonly answer: Bytes; readonly transcript: Uint8Array; readonly hello: Bytes }> {
  const { bytes, data } = await side.hearFrame();
  const { kind } = decodeHello(data);
  const own = encodeHello({
    kind,
    role: "server",
    nonce: options.nonce ?? systemRandomBytes(32),
    key: new Uint8Array(options.key ?? serverKey.publicKey),
  });
  const transcript = linkTranscript(data, own, options.certificate ?? certificate);
  const signature = await (options.signer ?? serverKey).sign(serverProofText(transcript));
  const answer = joinBytes(
    encodeFrame(FRAME_TYPES.hello, 0, own),
    encodeFrame(FRAME_TYPES.prove, 0, encodeProof({ signature, secret: null })),
  );
  await side.say(answer);
  return { answer, transcript, hello: bytes };
}

/** What a scripted dialler says; gives what its proof is over. */
export async function sayHello(
  side: ScriptedSide,
  options: { readonly kind?: LinkKind; readonly role?: DiallerRole; readonly key?: Uint8Array } = {},
): Promise<{ readonly transcript: Uint8Array; readonly answer: readonly Frame[] }> {
  const { kind = "link", role = "host", key = hostKey.publicKey } = options;
  const own = encodeHello({ kind, role, nonce: systemRandomBytes(32), key: new Uint8Array(key) });
  await side.say(encodeFrame(FRAME_TYPES.hello, 0, own));
  const hello = await side.hearFrame(), prove = await side.hearFrame();
  return { transcript: linkTranscript(own, hello.data, certificate), answer: [hello, prove] };
}

/** The frame with the proof of a scripted dialler. */
export async function proofOf(
  transcript: Uint8Array,
  signer: SigningKey = hostKey,
  joinSecret: Bytes | null = null,
): Promise<Bytes> {
  const signature = await signer.sign(diallerProofText(transcript, joinSecret));
  return encodeFrame(FRAME_TYPES.prove, 0, encodeProof({ signature, secret: joinSecret }));
}
