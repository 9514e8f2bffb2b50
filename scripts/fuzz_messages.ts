/**
 * A `MessageConnection` under the fuzzer: an input is a script of what a hostile other end sends and what the program
 * here does, and everything that comes of it is held against the rules of docs/wire-formats.md.
 *
 * A script is a row of steps: one byte for what to do, one byte of argument.
 *
 * | step % 16 | what happens                                                                  |
 * | --------- | ------------------------------------------------------------------------------ |
 * | 0..3      | bytes arrive, as many as the argument stands for                               |
 * | 4         | as many bytes arrive as may, and one more if the argument is odd               |
 * | 5         | the word of control arrives that the argument stands for                       |
 * | 6         | credit arrives for what was sent, and for one byte more if the argument is odd |
 * | 7         | a text of up to 31 bytes of the script arrives                                 |
 * | 8         | something arrives that is no message                                           |
 * | 9..11     | the program reads                                                              |
 * | 12, 13    | the program writes                                                             |
 * | 14        | the program ends its writing                                                   |
 * | 15        | the other end goes; or, by the argument, the program closes; or sending fails  |
 */
import assert from "node:assert/strict";
import {
  MAX_MESSAGE_BYTES,
  MessageConnection,
  type MessageLink,
  WINDOW_BYTES,
} from "../src/protocol/transport/message_connection.ts";
import { TransportError } from "../src/protocol/transport/transport.ts";
import type { FuzzRandom } from "./fuzz_random.ts";

const MAX_STEPS = 64;
const SIZES = [
  1,
  1,
  2,
  5,
  16,
  100,
  4095,
  4096,
  4097,
  65_536,
  262_144,
  524_287,
  524_288,
  1_048_576,
  1_048_577,
  0,
];
const WORDS = [
  "credit 1",
  "credit 524288",
  "credit 1048576",
  "credit 100",
  "credit 1048577",
  "credit 9999999999",
  "end",
  "credit 0",
  "credit -1",
  "credit 1e9",
  "credit 01",
  "credit 10000000000",
  "credit  1",
  "credit",
  "",
  "END",
];
/** Step, its lowest argument and how many there are. The last one is the word "end". */
const PEACEFUL_STEPS: readonly (readonly [number, number, number])[] = [
  [0, 0, 14],
  [1, 0, 9],
  [2, 0, 9],
  [6, 0, 1],
  [9, 0, 15],
  [10, 0, 15],
  [11, 0, 15],
  [12, 0, 15],
  [13, 0, 15],
  [14, 0, 15],
  [5, 6, 1],
];
const NO_MESSAGES: readonly unknown[] = [
  undefined,
  null,
  0,
  1n,
  true,
  {},
  [],
  new Date(0),
  new Uint8Array(1),
];

/** Byte number n of the stream is n % 251, in memory that is long enough for every place and size. */
const PERIOD = 251;
const pattern = Uint8Array.from({ length: PERIOD + 1 + Math.max(...SIZES) }, (_, i) => i % PERIOD);
const outgoing = new Uint8Array(Math.max(...SIZES));
/** So many bytes at each end of a read are compared; all of them would take most of the time. */
const COMPARED_BYTES = 300;

/** Makes a script, mostly of peaceful steps: a single offence ends it. */
export function messageScript(random: FuzzRandom): Uint8Array {
  const script: number[] = [];
  for (let steps = 1 + random.below(24); steps > 0; steps--) {
    const isPeaceful = random.below(12) > 0;
    const [step, lowest, choices] = isPeaceful ? random.pick(PEACEFUL_STEPS) : [random.below(256), 0, 256];
    script.push(step, lowest + random.below(choices));
  }
  return random.below(10) === 0 ? random.mutate(Uint8Array.from(script)) : Uint8Array.from(script);
}

/** Plays a script; whether something was read and no rule broken. Rejects when a promise was not kept. */
export async function playMessages(script: Uint8Array): Promise<boolean> {
  const play = new Play();
  for (let at = 0, steps = 0; at < script.length && steps < MAX_STEPS; steps++) {
    const step = (script[at] ?? 0) % 16, argument = script[at + 1] ?? 0;
    at += 2;
    if (step === 7) {
      const length = argument % 32;
      play.arrive(new TextDecoder("latin1").decode(script.subarray(at, at + length)));
      at += length;
    } else play.step(step, argument);
    await play.settle();
  }
  return await play.finish();
}

type End = "violated" | "lost" | "closed";

/** The connection, its link, and what has to be true of both. */
class Play implements MessageLink {
  readonly #connection = new MessageConnection(this, {
    transport: "fuzz",
    remoteAddress: null,
    localAddress: null,
    confidential: true,
  });
  #arrivedBytes = 0;
  #readBytes = 0;
  /** Credit that was given to the other end, the first window included. */
  #givenBytes = WINDOW_BYTES;
  #sentBytes = 0;
  /** Credit that the other end has given, the first window included. */
  #creditBytes = WINDOW_BYTES;
  #otherEnded = false;
  #hasEnded = false;
  #end: End | null = null;
  #closes: boolean[] = [];
  #sendFails = false;
  /** Acts of the program that wait. */
  #reads = 0;
  #writes = 0;
  #broken: unknown = null;

  sendBytes(bytes: Uint8Array): void | Promise<void> {
    if (this.#sendFails) {
      this.#end ??= "lost";
      throw new Error("this link is broken");
    }
    this.#check(() => {
      assert(this.#closes.length === 0, "bytes were sent after the close");
      assert(bytes.length > 0 && bytes.length <= MAX_MESSAGE_BYTES, `${bytes.length} bytes in one message`);
      this.#sentBytes += bytes.length;
      assert(this.#sentBytes <= this.#creditBytes, "more was sent than the credit allows");
    });
    return this.#sentBytes % 2 === 0 ? Promise.resolve() : undefined;
  }

  sendControl(text: string): void {
    this.#check(() => {
      assert(this.#closes.length === 0, "a word was sent after the close");
      if (text === "end") return assert(this.#hasEnded, "an end that nobody wanted");
      const given = Number(text.replace(/^credit /, ""));
      assert(given >= WINDOW_BYTES / 2 && !this.#otherEnded, `${text} is of no use`);
      this.#givenBytes += given;
    });
  }

  close(isViolated: boolean): void {
    this.#closes.push(isViolated);
  }

  step(step: number, argument: number): void {
    const size = SIZES[argument % SIZES.length] ?? 0;
    if (step <= 3) this.#arriveBytes(size);
    else if (step === 4) this.#arriveBytes(this.#givenBytes - this.#arrivedBytes + argument % 2);
    else if (step === 5) this.arrive(WORDS[argument % WORDS.length]);
    else if (step === 6) this.#arriveCredit(argument % 2);
    else if (step === 8) this.arrive(NO_MESSAGES[argument % NO_MESSAGES.length]);
    else if (step <= 11) this.#read(size);
    else if (step <= 13) this.#write(size);
    else if (step === 14) this.#endWriting();
    else if (argument % 3 === 0) this.#sendFails = true;
    else if (argument % 3 === 1) this.#close();
    else {
      this.#end ??= "lost";
      this.#connection.lost("the fuzzer took it away");
    }
  }

  /** Anything but bytes. */
  arrive(message: unknown): void {
    if (message === "end") {
      if (this.#otherEnded) this.#end ??= "violated";
      this.#otherEnded = true;
    } else {
      const [digits = ""] = typeof message === "string" ? /(?<=^credit )\d+$/.exec(message) ?? [] : [];
      const isCredit = digits.length >= 1 && digits.length <= 10 && !digits.startsWith("0");
      if (isCredit && this.#end === null) this.#creditBytes += Number(digits);
      const isTooMuch = this.#creditBytes - this.#sentBytes > WINDOW_BYTES;
      if (!isCredit || isTooMuch) this.#end ??= "violated";
    }
    this.#connection.deliver(message);
  }

  /** For all that was sent, and for more than that. */
  #arriveCredit(beyond: number): void {
    const usedBytes = WINDOW_BYTES - (this.#creditBytes - this.#sentBytes) + beyond;
    if (usedBytes > 0) this.arrive(`credit ${usedBytes}`);
  }

  #arriveBytes(size: number): void {
    const isAllowed = size > 0 && !this.#otherEnded && this.#arrivedBytes + size <= this.#givenBytes;
    const from = this.#arrivedBytes % PERIOD;
    if (!isAllowed) this.#end ??= "violated";
    else if (this.#end === null) this.#arrivedBytes += size;
    this.#connection.deliver(pattern.slice(from, from + size).buffer);
  }

  #read(size: number): void {
    if (this.#reads > 0) return;
    this.#reads++;
    const buffer = new Uint8Array(Math.max(1, size));
    this.#connection.read(buffer).then((count) => {
      this.#reads--;
      this.#check(() => this.#came(buffer, count));
    }, (error) => {
      this.#reads--;
      this.#check(() => this.#refused(error));
    });
  }

  #came(buffer: Uint8Array, count: number | null): void {
    if (count === null) {
      assert(this.#otherEnded, "an end that the other side did not say");
      return assert.equal(this.#readBytes, this.#arrivedBytes, "the end came before the bytes");
    }
    assert(count >= 1 && count <= buffer.length);
    const from = this.#readBytes % PERIOD;
    for (const [begin, end] of [[0, COMPARED_BYTES], [count - COMPARED_BYTES, count]] as const) {
      const first = Math.max(0, begin), last = Math.min(count, end);
      assert.equal(
        buffer.subarray(first, last).toHex(),
        pattern.subarray(from + first, from + last).toHex(),
        "other bytes came out than went in",
      );
    }
    this.#readBytes += count;
    assert(this.#readBytes <= this.#arrivedBytes, "more came out than went in");
  }

  #write(size: number): void {
    if (this.#writes > 0) return;
    this.#writes++;
    const hadEnded = this.#hasEnded;
    const before = this.#sentBytes;
    this.#connection.write(outgoing.subarray(0, size)).then(() => {
      this.#writes--;
      this.#check(() => assert.equal(this.#sentBytes - before, size, "a write settled before it was sent"));
    }, (error) => {
      this.#writes--;
      if (hadEnded || this.#hasEnded) return;
      this.#check(() => this.#refused(error));
    });
  }

  #endWriting(): void {
    // A program ends its writing after its writes.
    if (this.#writes > 0) return;
    this.#hasEnded = true;
    this.#connection.closeWrite().catch((error) => this.#check(() => this.#refused(error)));
  }

  #close(): void {
    this.#end ??= "closed";
    this.#connection.close();
  }

  #refused(error: unknown): void {
    assert(error instanceof TransportError, String(error));
    assert(this.#end !== null, `nothing is wrong, but: ${error.message}`);
  }

  /** What must be true at any time. */
  #hold(): void {
    assert(this.#givenBytes - this.#readBytes <= WINDOW_BYTES, "more may wait here than a window");
    const isFlowing = this.#end === null && !this.#otherEnded;
    if (isFlowing) assert(this.#givenBytes - this.#readBytes > WINDOW_BYTES / 2, "credit is held back");
    assert.deepEqual(this.#closes, this.#end === null ? [] : [this.#end === "violated"]);
    if (this.#end !== null) {
      assert.equal(this.#reads + this.#writes, 0, "something waits although it is over");
    }
    if (this.#reads > 0) {
      assert.equal(this.#readBytes, this.#arrivedBytes, "a read waits although bytes are there");
    }
    if (this.#writes > 0) {
      assert.equal(this.#sentBytes, this.#creditBytes, "a write waits although it may go on");
    }
  }

  /** Errors in callbacks of the connection would be its own business; they are kept for the fuzzer. */
  #check(property: () => void): void {
    try {
      property();
    } catch (error) {
      this.#broken ??= error;
    }
  }

  /** Lets everything go on that can. */
  async settle(): Promise<void> {
    // A write of the largest size takes two turns for each of its messages.
    for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    this.#check(() => this.#hold());
    if (this.#broken !== null) throw this.#broken;
  }

  async finish(): Promise<boolean> {
    const isGood = this.#end === null && this.#readBytes > 0;
    this.#close();
    await this.settle();
    await assert.rejects(this.#connection.read(new Uint8Array(1)), { code: "closed" });
    return isGood;
  }
}
