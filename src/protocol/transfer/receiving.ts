/**
 * The receiver's side of one session:
 *
 *   <- offer, entries...                          gathered within the limits
 *      the sink judges it; a person may think it over for an hour
 *   -> want..., the last one says so
 *   <- data and chunk..., hash                    for each file, in the order of the offer and of the wants
 *      each file is checked and put into its place, then the folders
 *   -> done
 *   <- the end of the sender's records
 *   -> the end of ours
 *
 * Heartbeats go out each second up to `done`, and come whenever the sender says nothing else.
 */
import { outOfTurn } from "./endings.ts";
import { TransferError } from "./errors.ts";
import { SILENCE_MS, type TransferLimits } from "./limits.ts";
import { wantMessages } from "./message_codec.ts";
import type { ChunkRange, Offer } from "./offer.ts";
import { OfferCheck } from "./offer_check.ts";
import { ArrivingFiles } from "./receiving_files.ts";
import { Inbox } from "./receiving_inbox.ts";
import {
  holdSession,
  type OnSessionEvent,
  type Session,
  type SessionChannel,
  type SessionOptions,
  type SessionRole,
} from "./session.ts";
import type { Sink } from "./sink.ts";
import type { Compression } from "./source.ts";
import { WantedChunks } from "./wanted_chunks.ts";

/** What a receiving session needs. */
export interface ReceiveSessionOptions extends SessionOptions {
  /** Belongs to the transfer, and may have been in earlier sessions of it. */
  readonly sink: Sink;
  /** Asked for each chunk that came shorter than it is. */
  readonly compression: Compression;
  /** What an offer may come to. */
  readonly limits: TransferLimits;
}

/**
 * Receives over a channel what the other side offers; closes the channel in every case.
 *
 * Resolves when everything is in its place and the sender knows it. If the session fails, the sink was asked to flush
 * before this rejects, and no call to it is under way, but for an `accept` that still waits for a person.
 *
 * @throws {TransferError} `lost` and `silent` of this side may be tried again with another channel; of the other
 * `side` what it said with `stop`; `cancelled` if the signal was aborted
 */
export function receiveSession(channel: SessionChannel, options: ReceiveSessionOptions): Promise<void> {
  return holdSession(channel, options, new Receiver(options));
}

class Receiver implements SessionRole {
  readonly beatsAlways = true;
  readonly #options: ReceiveSessionOptions;
  readonly #onEvent: OnSessionEvent;
  #files: ArrivingFiles | null = null;

  constructor(options: ReceiveSessionOptions) {
    this.#options = options;
    this.#onEvent = options.onEvent ?? ((): void => {});
  }

  beating(): void {
    this.#files?.tellPart();
  }

  receivedBytes(): number {
    return this.#files?.shownBytes ?? 0;
  }

  heartbeat(receivedBytes: number): void {
    if (receivedBytes !== 0) throw outOfTurn("a heartbeat with progress", "one of a sender, without");
  }

  async converse(session: Session): Promise<void> {
    const inbox = new Inbox(session);
    const offer = await this.#hearOffer(inbox);
    this.#onEvent({ event: "offer", offer });
    // In a session that fails meanwhile nobody waits for this call any more: a person may think for an hour.
    const ranges = await inbox.during(this.#options.sink.accept(offer));
    try {
      await this.#receive(session, inbox, offer, ranges);
    } catch (error) {
      session.fail(error);
      await this.#files?.idle();
      // What has come is worth keeping whatever ended the session; and that is what is told, not how this goes.
      await this.#options.sink.flush().catch(() => {});
      throw error;
    }
  }

  async #hearOffer(inbox: Inbox): Promise<Offer> {
    const { message } = await inbox.next();
    if (message.type !== "offer") throw outOfTurn(message.type, "an offer");
    const check = new OfferCheck(message, this.#options.limits);
    while (!check.isComplete) {
      const { message } = await inbox.next();
      if (message.type !== "entries") throw outOfTurn(message.type, "entries");
      check.add(message.entries);
    }
    return check.offer();
  }

  async #receive(session: Session, inbox: Inbox, offer: Offer, ranges: readonly ChunkRange[]): Promise<void> {
    const wanted = new WantedChunks(offer);
    wanted.add(ranges);
    const files = new ArrivingFiles(session, this.#options, offer, wanted);
    this.#files = files;
    this.#onEvent({ event: "accepted", missingBytes: wanted.totalBytes });
    for (const message of wantMessages(ranges)) await session.say(message);
    await files.takeAll(inbox);
    await inbox.during(session.wait(files.finish()));
    session.mute();
    await session.say({ type: "done" });
    await this.#hearEnd(session, inbox);
    session.over();
    await session.endRecords();
  }

  /** No longer than that: a sender that has nothing left to say must not hold us by its heartbeats. */
  async #hearEnd(session: Session, inbox: Inbox): Promise<void> {
    const callOff = session.timers.after(SILENCE_MS, () => session.fail(endless()));
    try {
      await inbox.end();
    } finally {
      callOff();
    }
  }
}

function endless(): TransferError {
  return new TransferError(
    "silent",
    `cannot end the transfer: the other side did not say its last word within ${SILENCE_MS / 1000} seconds`,
  );
}
