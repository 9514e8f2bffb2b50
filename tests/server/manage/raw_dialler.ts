/** The dialler's half of a handshake, step by step, for those who cheat. */
import { encodeControlOpen } from "../../../src/protocol/manage/control_flow.ts";
import { encodeFrame, type Frame, FRAME_TYPES, FrameReader } from "../../../src/protocol/manage/frame.ts";
import {
  decodeHello,
  diallerProofText,
  encodeHello,
  encodeProof,
  linkTranscript,
} from "../../../src/protocol/manage/link_hello.ts";
import { type ResetCode, resetCodeOf } from "../../../src/protocol/manage/reset_code.ts";
import type { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes } from "../../../src/protocol/rpc/timers.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

/** What a cheat says. */
export interface RawDial {
  /** Of the hello. */
  readonly publicKey: Uint8Array<ArrayBuffer>;
  /** What signs the proof. */
  readonly signer: SigningKey;
  /** What he believes to be the server's certificate. */
  readonly certificate: Uint8Array;
}

export class RawDialler {
  readonly #connection: Connection;
  readonly #reader = new FrameReader();
  readonly #frames: Frame[] = [];
  /** All that was sent. */
  readonly sent: Uint8Array<ArrayBuffer>[] = [];

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Sends a hello and a proof, and the open of the control flow. */
  async link({ publicKey, signer, certificate }: RawDial): Promise<void> {
    const hello = encodeHello({ kind: "link", role: "host", nonce: systemRandomBytes(32), key: publicKey });
    await this.send(encodeFrame(FRAME_TYPES.hello, 0, hello));
    const answer = await this.frame();
    decodeHello(answer.data);
    await this.frame();
    const text = diallerProofText(linkTranscript(hello, answer.data, certificate), null);
    const proof = encodeProof({ signature: await signer.sign(text), secret: null });
    await this.send(encodeFrame(FRAME_TYPES.prove, 0, proof));
    const open = new Uint8Array([1, 0, 1, 0, 0, ...encodeControlOpen("host")]);
    await this.send(encodeFrame(FRAME_TYPES.open, 1, open));
  }

  async send(bytes: Uint8Array): Promise<void> {
    this.sent.push(new Uint8Array(bytes));
    await this.#connection.write(bytes);
  }

  /** The next frame. */
  async frame(): Promise<Frame> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      const buffer = new Uint8Array(4096);
      const bytes = await this.#connection.read(buffer);
      if (bytes === null) throw new Error("the server has hung up without a frame");
      this.#frames.push(...this.#reader.push(buffer.slice(0, bytes)));
    }
  }

  /** The code of the reset that the link is ended with; frames before it are passed over. */
  async refusal(): Promise<ResetCode> {
    for (;;) {
      const { type, flow, data } = await this.frame();
      if (type === FRAME_TYPES.reset && flow === 0) {
        return resetCodeOf(new DataView(data.buffer, data.byteOffset).getUint16(0) & 0x7fff);
      }
    }
  }

  close(): void {
    this.#connection.close();
  }
}
