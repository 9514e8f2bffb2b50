/**
 * The life of one flow number, as one side of a link knows it:
 *
 *   opener                        the other side
 *   open              ->                            opening | offered
 *                     <-          opened            open    | open
 *   data, credit     <->          data, credit
 *   end               ->                            it writes no more, and reads on
 *                     <-          end               free    | free
 *
 * A reset, from either side and at any time, ends both directions; it is answered with a reset by whoever has sent
 * neither end nor reset. A number is free again when this side has sent and received end or reset. "Sent" means given
 * out to be written: a side that opens a number anew before our last frame on it was even written breaks the rules,
 * and so nobody can make us queue frames without end.
 *
 * The other side may not know yet that a flow is over here. What it sent before it knew is dropped, and two of those
 * frames could arrive when the number has been opened anew:
 * - credit. Nobody grants any before opened, so it is dropped while a flow is opening.
 * - a reset behind an end, when our end crossed it. A reset that refuses the new open would look the same, so a reset
 *   says whether its sender had sent end before, see reset_data.ts; such a one is dropped while a flow is opening.
 */
import { LinkError } from "./frame.ts";

/** Where a number stands. */
export type FlowPhase =
  /** Not in use. */
  | "free"
  /** We have sent open, and wait. */
  | "opening"
  /** They have sent open, and wait. */
  | "offered"
  | "open";

/** How far one direction is. */
export type Ending = "nothing" | "end" | "reset";

/** Credit never reaches it. */
export const MAX_CREDIT_BYTES = 0xffff_ffff;

/** Rules for one number. Methods that begin with `received` say whether the frame counts: false, it is dropped. */
export class FlowState {
  readonly #flow: number;
  readonly #isOurs: boolean;
  #phase: FlowPhase = "free";
  #wasUsed = false;
  /** What was decided, and may not be sent yet. */
  #closing: Ending = "nothing";
  #sent: Ending = "nothing";
  #received: Ending = "nothing";
  #creditBytes = 0;
  #allowedBytes = 0;
  #windowBytes = 0;
  #consumedBytes = 0;

  /** Makes the state of a number that was never opened; `isOurs`: this side opens it. */
  constructor(flow: number, isOurs: boolean) {
    this.#flow = flow;
    this.#isOurs = isOurs;
  }

  /** Where it stands. */
  get phase(): FlowPhase {
    return this.#phase;
  }

  /** What this side has decided to send as its last word; it may wait to be sent. */
  get closing(): Ending {
    return this.#closing;
  }

  /** What this side has sent as its last word. */
  get sent(): Ending {
    return this.#sent;
  }

  /** What the other side has sent as its last word. */
  get received(): Ending {
    return this.#received;
  }

  /** Bytes that we may send. */
  get creditBytes(): number {
    return this.#creditBytes;
  }

  /** Bytes that the other side may send. */
  get allowedBytes(): number {
    return this.#allowedBytes;
  }

  /** Bytes that were taken by our reader, and not granted anew. */
  get consumedBytes(): number {
    return this.#consumedBytes;
  }

  /** What `allowedBytes` was in the beginning, and never exceeds. */
  get windowBytes(): number {
    return this.#windowBytes;
  }

  /** We open it; it is ours and free. */
  open(windowBytes: number): void {
    this.#begin("opening");
    this.#allowedBytes = this.#windowBytes = windowBytes;
  }

  /** We take what was offered. */
  accept(windowBytes: number): void {
    this.#phase = "open";
    this.#allowedBytes = this.#windowBytes = windowBytes;
  }

  /** The open that waits is given up before anything of it was sent: as if it had never been. */
  withdraw(): void {
    this.#free();
  }

  /** So many bytes are given out. */
  sentData(bytes: number): void {
    this.#creditBytes -= bytes;
  }

  /** Our reader has taken so many. */
  consumed(bytes: number): void {
    this.#consumedBytes += bytes;
  }

  /** We let as many more come as our reader has taken; gives how many. */
  grant(): number {
    const bytes = this.#consumedBytes;
    this.#consumedBytes = 0;
    this.#allowedBytes += bytes;
    return bytes;
  }

  /** We have nothing more to send, once the rest of the bytes is out. */
  decideEnd(): void {
    this.#closing = "end";
  }

  /** We end it both ways; what comes from now on is dropped. */
  decideReset(): void {
    this.#closing = "reset";
  }

  /** The end is given out. */
  sentEnd(): void {
    this.#sent = "end";
    this.#settle();
  }

  /** The reset is given out. */
  sentReset(): void {
    this.#sent = "reset";
    this.#settle();
  }

  /** @throws {LinkError} if the number is not theirs, or in use */
  receivedOpen(windowBytes: number): void {
    if (this.#isOurs) throw this.#broken("open", "numbers of that half are opened by this side");
    if (this.#phase !== "free") throw this.#broken("open", "it is in use");
    this.#begin("offered");
    this.#creditBytes = windowBytes;
  }

  /** @throws {LinkError} if none is waited for */
  receivedOpened(windowBytes: number): boolean {
    if (this.#phase === "free") return this.#dropped("opened");
    if (this.#phase !== "opening") return this.#droppedAfterReset("opened", "none is waited for");
    if (this.#received !== "nothing") throw this.#broken("opened", "it was refused before");
    this.#phase = "open";
    this.#creditBytes = windowBytes;
    return this.#closing !== "reset";
  }

  /** @throws {LinkError} if so much was not allowed */
  receivedData(bytes: number): boolean {
    if (this.#phase === "free") return this.#dropped("data");
    if (this.#phase !== "open") return this.#droppedAfterReset("data", "it is not opened yet");
    if (this.#received !== "nothing") throw this.#broken("data", `it had sent ${this.#received}`);
    if (this.#closing === "reset") return false;
    if (bytes > this.#allowedBytes) {
      throw this.#broken(`${bytes} bytes of data`, `its credit is ${this.#allowedBytes}`);
    }
    this.#allowedBytes -= bytes;
    return true;
  }

  /** @throws {LinkError} if it is nothing, or more than can be */
  receivedCredit(bytes: number): boolean {
    if (bytes === 0) throw this.#broken("credit of 0 bytes", "accepted is 1 and more");
    if (this.#phase === "free" || this.#phase === "opening") return this.#dropped("credit");
    if (this.#phase === "offered") return this.#droppedAfterReset("credit", "it is not opened yet");
    if (this.#received === "reset") throw this.#broken("credit", "it had sent reset");
    if (this.#closing === "reset") return false;
    if (bytes > MAX_CREDIT_BYTES - this.#creditBytes) {
      throw this.#broken(`credit of ${bytes} bytes more`, `it has ${this.#creditBytes} already`);
    }
    this.#creditBytes += bytes;
    return true;
  }

  /** @throws {LinkError} if there was one, or the flow is not open */
  receivedEnd(): boolean {
    if (this.#phase === "free") return this.#dropped("end");
    if (this.#phase !== "open") return this.#droppedAfterReset("end", "it is not opened yet");
    if (this.#received !== "nothing") throw this.#broken("end", `it had sent ${this.#received}`);
    this.#received = "end";
    const counts = this.#closing !== "reset";
    this.#settle();
    return counts;
  }

  /**
   * The caller answers with a reset if `sent` is "nothing" and none is decided.
   *
   * @param isAfterEnd whether its sender says that it had sent end
   * @throws {LinkError} if there was one, or that is not so
   */
  receivedReset(isAfterEnd: boolean): boolean {
    if (this.#phase === "free") return this.#dropped("reset");
    if (this.#phase === "opening" && isAfterEnd) return this.#dropped("reset behind an end");
    if (this.#received === "reset") throw this.#broken("reset", "it had sent reset");
    if (isAfterEnd !== (this.#received === "end")) {
      throw this.#broken("reset", `it says that end came before, or not, and that is not so`);
    }
    this.#received = "reset";
    const counts = this.#closing !== "reset";
    if (this.#sent === "nothing") this.#closing = "reset";
    this.#settle();
    return counts;
  }

  #begin(phase: FlowPhase): void {
    this.#phase = phase;
    this.#closing = this.#sent = this.#received = "nothing";
    this.#creditBytes =
      this.#allowedBytes =
      this.#windowBytes =
      this.#consumedBytes =
        0;
  }

  #settle(): void {
    if (this.#sent === "nothing" || this.#received === "nothing") return;
    this.#wasUsed = true;
    this.#free();
  }

  #free(): void {
    this.#begin("free");
  }

  /** For a number that is not in use, or not with them yet: somebody who was late, if it ever was in use. */
  #dropped(what: string): false {
    if (!this.#wasUsed) throw this.#broken(what, "it was never opened");
    return false;
  }

  #droppedAfterReset(what: string, why: string): false {
    if (this.#closing !== "reset" || this.#received === "reset") throw this.#broken(what, why);
    return false;
  }

  #broken(found: string, why: string): LinkError {
    return new LinkError(
      "malformed",
      `cannot go on with a link: found ${found} on flow ${this.#flow}, ${why}`,
    );
  }
}
