/** Sides of a pairing for tests: one that pairs and writes down what it does, and a stranger who says what he likes. */
import assert from "node:assert/strict";
import { RecordOpener, RecordSealer } from "../../../src/protocol/record/record.ts";
import { systemRandomBytes, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { parseCode } from "../../../src/protocol/transfer/code.ts";
import { encodeHello, helloBytes } from "../../../src/protocol/transfer/hello.ts";
import { codeIdentifier } from "../../../src/protocol/transfer/identifier.ts";
import {
  type PairingKeys,
  pairingKeys,
  transcriptHash,
} from "../../../src/protocol/transfer/key_schedule.ts";
import type { PairingMemory } from "../../../src/protocol/transfer/memory.ts";
import {
  pair,
  type Paired,
  PairingError,
  type PairingOptions,
  type Rendezvous,
  type TransferRole,
} from "../../../src/protocol/transfer/pairing.ts";
import { codeShare, type Share } from "../../../src/protocol/transfer/pairing_share.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { FakeTimers } from "../rpc/fake_timers.ts";

/** What everybody in the tests knows who knows it. */
export const CODE = "481516-ocean-rabbit-velvet";
/** A guess at it. */
export const WRONG_CODE = "481516-ocean-rabbit-legal";
/** Length of the record of a confirmation. */
export const CONFIRMATION_RECORD_BYTES = 4 + 32 + 16;
/** Length of a hello with a code. */
export const CODE_HELLO_BYTES = helloBytes("code");

/** The meeting of those who know a code. */
export function byCode(text: string): Rendezvous {
  return { kind: "code", code: parseCode(text) };
}

/** What a side is given that differs from the usual. */
export type SideOptions = Partial<Omit<PairingOptions, "role" | "timers">> & { readonly timers?: Timers };

/** One side that pairs. */
export class Side {
  /** "write N", "read N" and, once, "close" as they were asked for; "spend", "spent", "prove", "proven" as memory was told. */
  readonly log: string[] = [];
  /** Secrets that memory was told. */
  readonly secrets: string[] = [];
  /** "paired", the failure of a `PairingError`, or the text of any other error. */
  readonly outcome: Promise<string>;
  /** What came of it. */
  paired: Paired | null = null;
  /** What it failed with. */
  error: unknown = null;

  /** Begins to pair, over time that stands still unless it is told otherwise. */
  constructor(role: TransferRole, connection: Connection, options: SideOptions = {}) {
    this.outcome = pair(this.#watched(connection), {
      role,
      instance: systemRandomBytes(16),
      rendezvous: byCode(CODE),
      sendIdentifier: false,
      memory: this.#memory(),
      timers: new FakeTimers(),
      random: systemRandomBytes,
      ...options,
    }).then(
      (paired) => {
        this.paired = paired;
        return "paired";
      },
      (error) => {
        this.error = error;
        return error instanceof PairingError ? error.failure : String(error);
      },
    );
  }

  /** How often memory was told that the code is spent. */
  get guesses(): number {
    return this.log.filter((entry) => entry === "spend").length;
  }

  /** Whether memory was told that the other side has proven itself. */
  get isProven(): boolean {
    return this.log.includes("proven");
  }

  /** What it did, without the reading. */
  get acts(): string[] {
    return this.log.filter((entry) => !entry.startsWith("read"));
  }

  #memory(): PairingMemory {
    const told = async (before: string, after: string, secret: Uint8Array): Promise<void> => {
      this.log.push(before);
      this.secrets.push(secret.toHex());
      // Longer than anything that would only wait for a promise.
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.log.push(after);
    };
    return {
      spend: (secret) => told("spend", "spent", secret),
      proven: (secret) => told("prove", "proven", secret),
    };
  }

  #watched(inner: Connection): Connection {
    return {
      transport: inner.transport,
      remoteAddress: inner.remoteAddress,
      localAddress: inner.localAddress,
      confidential: inner.confidential,
      read: (buffer) => {
        this.log.push(`read ${buffer.length}`);
        return inner.read(buffer);
      },
      write: (bytes) => {
        this.log.push(`write ${bytes.length}`);
        return inner.write(bytes);
      },
      closeWrite: () => inner.closeWrite(),
      close: () => {
        if (!this.log.includes("close")) this.log.push("close");
        inner.close();
      },
    };
  }
}

/** Somebody at the other end who knows the protocol, has a guess, and keeps to nothing. */
export class Stranger {
  readonly #connection: Connection;
  readonly #role: TransferRole;
  readonly #share: Share;
  /** What he says first. */
  readonly hello: Uint8Array<ArrayBuffer>;
  readonly #identifier: Uint8Array<ArrayBuffer>;
  #keys: PairingKeys | null = null;

  /** Makes him with his guess. */
  constructor(role: TransferRole, connection: Connection, guess: string = WRONG_CODE) {
    this.#connection = connection;
    this.#role = role;
    const code = parseCode(guess);
    this.#identifier = codeIdentifier(code.nameplate);
    this.#share = codeShare(code, this.#identifier, systemRandomBytes);
    this.hello = encodeHello({
      mode: "code",
      role,
      instance: systemRandomBytes(16),
      share: this.#share.bytes,
    });
  }

  /** Exchanges hellos. */
  async greet(): Promise<void> {
    await this.say(this.hello);
    const theirs = await this.hear(CODE_HELLO_BYTES);
    const material = await this.#share.agree(theirs.slice(-this.#share.bytes.length));
    const [senders, receivers] = this.#role === "sender" ? [this.hello, theirs] : [theirs, this.hello];
    this.#keys = pairingKeys(transcriptHash(this.#identifier, senders, receivers), material);
  }

  /**
   * The record that somebody would send who guessed right.
   *
   * @param change makes another value of the one that confirms
   */
  confirmation(
    change: (keys: PairingKeys, own: Uint8Array) => Uint8Array = (_, own) => own,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const keys = this.#keysOf();
    return this.#role === "sender"
      ? new RecordSealer(keys.sender).seal(change(keys, keys.senderConfirmation))
      : new RecordSealer(keys.receiver).seal(change(keys, keys.receiverConfirmation));
  }

  /** Whether what the victim confirmed shows that the guess was right. */
  async learnsFrom(record: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const keys = this.#keysOf();
    const [key, expected] = this.#role === "sender"
      ? [keys.receiver, keys.receiverConfirmation]
      : [keys.sender, keys.senderConfirmation];
    try {
      return (await new RecordOpener(key).open(record))?.toHex() === expected.toHex();
    } catch {
      return false;
    }
  }

  /** Says anything. */
  async say(bytes: Uint8Array): Promise<void> {
    await this.#connection.write(bytes);
  }

  /** Exactly that many bytes of the victim. */
  async hear(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const count = await this.#connection.read(bytes.subarray(at));
      assert(count !== null, `the victim has ended after ${at} bytes of ${length}`);
      at += count;
    }
    return bytes;
  }

  /** Everything that the victim says until it ends. */
  async hearAll(): Promise<Uint8Array<ArrayBuffer>> {
    const all: number[] = [];
    const buffer = new Uint8Array(1024);
    for (;;) {
      const count = await this.#connection.read(buffer);
      if (count === null) return Uint8Array.from(all);
      all.push(...buffer.subarray(0, count));
    }
  }

  /** Hangs up. */
  leave(): void {
    this.#connection.close();
  }

  #keysOf(): PairingKeys {
    assert(this.#keys !== null, "hellos were exchanged");
    return this.#keys;
  }
}
