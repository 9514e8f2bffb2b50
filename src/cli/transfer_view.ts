/** What the events of a transfer look like to the person in front of it: lines on standard error, and the progress. */
import type { TransferEvent } from "../protocol/transfer/events.ts";
import type { Offer } from "../protocol/transfer/offer.ts";
import { printNotice, printPrompt } from "./terminal.ts";
import { offerSummary, shown } from "./transfer_offer.ts";
import { type ProgressView, type Snapshot, SpeedMeter } from "./transfer_progress.ts";
import { formatBytes, formatSpeed, formatTime } from "./transfer_units.ts";

export interface TransferViewOptions {
  readonly side: "sender" | "receiver";
  readonly relay: string;
  readonly receivers: number;
  readonly graceMs: number;
  readonly waitMs: number;
  readonly progress: ProgressView;
  readonly monotonicMs?: () => number;
  readonly print?: (line: string) => void;
}

/** How far one receiver is. */
interface Receiver {
  receivedBytes: number;
  file: number;
  fileBytes: number;
}

/** Turns the events of one transfer into lines. */
export class TransferView {
  readonly #options: TransferViewOptions;
  readonly #monotonicMs: () => number;
  readonly #print: (line: string) => void;
  readonly #meter = new SpeedMeter();
  readonly #receivers = new Map<number, Receiver>();
  #offer: Offer | null = null;
  /** Where each file ends, counted over the bytes of all of them: they come in their order. */
  #fileEnds: readonly number[] = [];
  /** Their numbers in the offer, which has folders too. */
  #files: readonly number[] = [];
  #latest = 1;
  /** Bytes that came in this run, and when the first of them could. */
  #movedBytes = 0;
  #begunMs: number | null = null;
  #isWaitingTold = false;
  #isNoticed = false;
  /** Whether the cursor stands behind a question. */
  #isAsking = false;

  constructor(options: TransferViewOptions) {
    this.#options = options;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#print = options.print ?? printNotice;
  }

  /** Takes one event; never throws. */
  take(event: TransferEvent): void {
    switch (event.event) {
      case "code":
        return;
      case "waiting":
        return this.#waiting();
      case "paired":
        return this.#paired(event.receiver, event.resumed);
      case "offer":
        return this.#offered(event.offer);
      case "accepted":
        return this.#accepted(event.receiver, event.missingBytes);
      case "progress":
        return this.#progressed(event);
      case "file_done":
        return this.#changed();
      case "interrupted":
        return this.#interrupted(event.receiver, event.message);
      case "done":
        return this.#done(event.receiver);
      case "receiver_failed":
        return this.#say(`warning: ${this.#who(event.receiver)} has failed: ${event.message}`);
    }
  }

  /** Takes away what is drawn, and ends the line of a question that was not answered. */
  clear(): void {
    this.#options.progress.clear();
    if (this.#isAsking) printPrompt("\n");
    this.#isAsking = false;
  }

  /** A question is shown, and its answer typed behind it; or it was, and the line has ended. */
  asks(isAsking: boolean): void {
    this.#isAsking = isAsking;
  }

  /** Something else was told, which may say for how long the other side is waited for. */
  noticed(): void {
    this.#isNoticed = true;
  }

  #say(line: string): void {
    this.clear();
    this.#print(line);
  }

  #waiting(): void {
    const { relay, waitMs, receivers, side } = this.#options;
    const again = receivers > 1 ? "waiting for another receiver" : "waiting again for the other side";
    const what = this.#isWaitingTold ? again : "waiting for the other side";
    // A receiver waits shorter where its code was tried before, and was told so.
    const isFirst = !this.#isWaitingTold && (side === "sender" || !this.#isNoticed);
    this.#say(`${what} at ${relay}${isFirst ? `, for up to ${formatTime(waitMs)}` : ""}`);
    this.#isWaitingTold = true;
  }

  #paired(receiver: number, resumed: boolean): void {
    this.#say(`${this.#who(receiver)} is there${resumed ? " again" : ", and knows the code"}`);
  }

  #offered(offer: Offer): void {
    if (this.#offer !== null) return;
    this.#offer = offer;
    let bytes = 0;
    this.#files = offer.entries.keys().filter((each) => offer.entries[each]?.kind === "file").toArray();
    this.#fileEnds = this.#files.map((file) => bytes += offer.entries[file]?.sizeBytes ?? 0);
    if (this.#options.side === "sender") this.#say(`offering ${offerSummary(offer)}`);
  }

  #accepted(receiver: number, missingBytes: number): void {
    const total = this.#offer?.totalBytes ?? missingBytes;
    this.#receiver(receiver).receivedBytes = total - missingBytes;
    this.#latest = receiver;
    this.#begunMs ??= this.#monotonicMs();
    this.#meter.add(this.#monotonicMs(), 0);
    if (missingBytes < total) {
      const before = formatBytes(total - missingBytes);
      this.#say(`${formatBytes(missingBytes)} to go, the other ${before} came before`);
    }
    this.#changed();
  }

  #progressed(event: TransferEvent & { readonly event: "progress" }): void {
    const state = this.#receiver(event.receiver);
    const moved = Math.max(0, event.receivedBytes - state.receivedBytes);
    this.#meter.add(this.#monotonicMs(), moved);
    this.#movedBytes += moved;
    state.receivedBytes = event.receivedBytes;
    state.file = event.file;
    state.fileBytes = event.fileBytes;
    this.#latest = event.receiver;
    this.#changed();
  }

  #interrupted(receiver: number, message: string): void {
    this.#meter.reset();
    const { receivers, graceMs } = this.#options;
    const who = receivers > 1 ? `${this.#who(receiver)}: ` : "";
    this.#say(`warning: ${who}${message}; trying again for up to ${formatTime(graceMs)}`);
  }

  #done(receiver: number): void {
    const { side, receivers } = this.#options;
    const tookMs = this.#begunMs === null ? 0 : this.#monotonicMs() - this.#begunMs;
    const isText = this.#offer?.kind === "text";
    const speed = tookMs > 0 && this.#movedBytes > 0 && receivers === 1 && !isText
      ? `, ${formatSpeed(this.#movedBytes * 1000 / tookMs)}`
      : "";
    const what = this.#offer === null ? "everything" : offerSummary(this.#offer);
    const time = `in ${formatTime(tookMs)}${speed}`;
    this.#say(
      side === "receiver"
        ? `received and verified ${what} ${time}`
        : `${this.#who(receiver)} has received and verified ${what} ${time}`,
    );
  }

  #changed(): void {
    this.#options.progress.changed(() => this.#snapshot());
  }

  #snapshot(): Snapshot {
    const states = [...this.#receivers.values()];
    const sum = (of: (state: Receiver) => number): number =>
      states.reduce((total, each) => total + of(each), 0);
    return {
      doneBytes: sum(({ receivedBytes }) => receivedBytes),
      totalBytes: (this.#offer?.totalBytes ?? 0) * states.length,
      doneFiles: sum(({ receivedBytes }) => countUpTo(this.#fileEnds, receivedBytes)),
      files: this.#fileEnds.length * states.length,
      bytesPerSecond: this.#meter.at(this.#monotonicMs()),
      current: this.#current(states.length > 1),
    };
  }

  #current(isNamed: boolean): Snapshot["current"] {
    const { file, doneBytes } = this.#place(this.#receiver(this.#latest));
    const entry = this.#offer?.entries[file];
    if (entry === undefined) return null;
    const name = isNamed ? `${this.#who(this.#latest)}: ${shown(entry.path)}` : shown(entry.path);
    return { name, doneBytes, sizeBytes: entry.sizeBytes };
  }

  /**
   * Which file, and how much of it. What a sender has said lies for long in the buffers on the way; what the receiver says
   * that it has is what counts, and files come in their order.
   */
  #place({ file, fileBytes, receivedBytes }: Receiver): { file: number; doneBytes: number } {
    if (this.#options.side === "receiver" || file < 0) return { file, doneBytes: fileBytes };
    const at = Math.min(countUpTo(this.#fileEnds, receivedBytes), this.#fileEnds.length - 1);
    const begin = this.#fileEnds[at - 1] ?? 0;
    return { file: this.#files[at] ?? -1, doneBytes: receivedBytes - begin };
  }

  #receiver(receiver: number): Receiver {
    const known = this.#receivers.get(receiver);
    if (known !== undefined) return known;
    const state: Receiver = { receivedBytes: 0, file: -1, fileBytes: 0 };
    this.#receivers.set(receiver, state);
    return state;
  }

  #who(receiver: number): string {
    if (this.#options.receivers > 1) return `receiver ${receiver}`;
    return this.#options.side === "sender" ? "the receiver" : "the sender";
  }
}

/** How many of the ascending numbers are not above this one. */
function countUpTo(numbers: readonly number[], most: number): number {
  let low = 0;
  for (let high = numbers.length; low < high;) {
    const middle = Math.floor((low + high) / 2);
    if ((numbers[middle] ?? 0) <= most) low = middle + 1;
    else high = middle;
  }
  return low;
}
