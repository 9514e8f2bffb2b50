/**
 * The sender's side of one session:
 *
 *   -> offer, entries...
 *   <- want..., the last one says so
 *   -> data and chunk..., hash                    for each file, in the order of the offer and of the wants
 *   <- done
 *   -> the end of our records
 *   <- the end of the receiver's
 *
 * Heartbeats come each second, and go out whenever nothing else was said for one.
 */
import { endedEarly, outOfTurn } from "./endings.ts";
import { TransferError } from "./errors.ts";
import { entriesMessages } from "./message_codec.ts";
import type { WantMessage } from "./messages.ts";
import type { Offer } from "./offer.ts";
import { DepartingFiles } from "./sending_files.ts";
import {
  type FileProgress,
  type HeardMessage,
  holdSession,
  type OnSessionEvent,
  ProgressTeller,
  type Session,
  type SessionChannel,
  type SessionOptions,
  type SessionRole,
  within,
} from "./session.ts";
import type { Compression, Source } from "./source.ts";
import { WantedChunks } from "./wanted_chunks.ts";

/** What a sending session needs. */
export interface SendSessionOptions extends SessionOptions {
  /** May serve other sessions at the same time. */
  readonly source: Source;
  /** Asked for each chunk. */
  readonly compression: Compression;
}

/**
 * Offers files over a channel and sends what the other side wants of them; closes the channel in every case.
 *
 * Resolves when the receiver has said that everything is in its place.
 *
 * @throws {TransferError} `lost` and `silent` of this side may be tried again with another channel; of the other
 * `side` what it said with `stop`; `cancelled` if the signal was aborted
 */
export function sendSession(channel: SessionChannel, options: SendSessionOptions): Promise<void> {
  return holdSession(channel, options, new Sender(options));
}

/** How long what the other side has said last may take on its way, once the link is lost in the other direction. */
const LAST_WORDS_MS = 3_000;

class Sender implements SessionRole {
  readonly beatsAlways = false;
  readonly #options: SendSessionOptions;
  readonly #offer: Offer;
  readonly #onEvent: OnSessionEvent;
  readonly #teller: ProgressTeller;
  readonly #wanted: WantedChunks;
  readonly #allWanted = Promise.withResolvers<void>();
  #hasAllWants = false;
  #hashesLeft: number;
  #progress: FileProgress = { receivedBytes: 0, file: 0, fileBytes: 0 };

  constructor(options: SendSessionOptions) {
    this.#options = options;
    this.#offer = options.source.offer;
    this.#onEvent = options.onEvent ?? ((): void => {});
    this.#teller = new ProgressTeller(options.timers, this.#onEvent);
    this.#wanted = new WantedChunks(this.#offer);
    this.#hashesLeft = this.#offer.entries.filter(({ kind }) => kind === "file").length;
  }

  receivedBytes(): number {
    return 0;
  }

  heartbeat(receivedBytes: number): void {
    if (receivedBytes > this.#offer.totalBytes) throw outOfTurn("progress beyond the offer", "less");
    this.#progress = { ...this.#progress, receivedBytes };
    if (this.#hasAllWants) this.#teller.tell(this.#progress);
  }

  async converse(session: Session): Promise<void> {
    this.#onEvent({ event: "offer", offer: this.#offer });
    const listening = this.#listen(session);
    try {
      await this.#sayAll(session);
    } catch (error) {
      // What cannot be said any more may have its reason in what the other side has said last, and was not heard yet.
      if (isLost(error)) await within(session.timers, LAST_WORDS_MS, listening);
      throw error;
    }
    await session.wait(listening);
    session.over();
    this.#teller.tellNow({ ...this.#progress, receivedBytes: this.#offer.totalBytes });
    await session.endRecords();
  }

  async #sayAll(session: Session): Promise<void> {
    await this.#sayOffer(session);
    await session.wait(this.#allWanted.promise);
    await this.#sayFiles(session);
  }

  async #sayOffer(session: Session): Promise<void> {
    const { kind, entries, totalBytes } = this.#offer;
    await session.say({ type: "offer", kind, entries: entries.length, totalBytes });
    for (const message of entriesMessages(entries)) await session.say(message);
  }

  #sayFiles(session: Session): Promise<void> {
    const { source, compression } = this.#options;
    return new DepartingFiles(session, {
      source,
      compression,
      wanted: this.#wanted,
      onSaid: (said, isWhole) => {
        this.#progress = { ...this.#progress, ...said };
        if (isWhole) this.#teller.tellNow(this.#progress);
        else this.#teller.tell(this.#progress);
      },
      onHash: () => this.#hashesLeft--,
    }).sayAll();
  }

  /** Hears everything up to `done`, while other things go on; settles then. What it cannot accept ends the session. */
  async #listen(session: Session): Promise<void> {
    try {
      for (let isDone = false; !isDone;) isDone = this.#take(await session.hear());
    } catch (error) {
      session.fail(error);
    }
  }

  /** @returns whether it is the receiver's last message */
  #take(heard: HeardMessage | null): boolean {
    if (heard === null) throw endedEarly();
    const { message } = heard;
    if (message.type === "want") this.#takeWant(message);
    else if (message.type !== "done") throw outOfTurn(message.type, "a message of a receiver");
    else if (!this.#hasAllWants || this.#hashesLeft > 0) throw outOfTurn("done", "it after the last hash");
    return message.type === "done";
  }

  #takeWant({ ranges, last }: WantMessage): void {
    if (this.#hasAllWants) throw outOfTurn("want", "done");
    if (ranges.length === 0 && !last) throw outOfTurn("an empty want", "one that asks for something");
    this.#wanted.add(ranges);
    if (!last) return;
    this.#hasAllWants = true;
    // What the receiver has from before; its first heartbeat may be a second away.
    const receivedBytes = this.#offer.totalBytes - this.#wanted.totalBytes;
    this.#progress = { ...this.#progress, receivedBytes };
    this.#onEvent({ event: "accepted", missingBytes: this.#wanted.totalBytes });
    this.#allWanted.resolve();
  }
}

function isLost(error: unknown): boolean {
  return error instanceof TransferError && error.code === "lost";
}
