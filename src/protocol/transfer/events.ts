/** What a transfer tells while it goes on. */
import type { TransferErrorCode } from "./errors.ts";
import type { Offer } from "./offer.ts";

/**
 * One thing that happened. `receiver` counts the receivers of a share, from 1; it is 1 for a receiver itself.
 *
 * - `code`: the code to tell the other side; the sender's first event, unless it goes on where it was interrupted
 * - `waiting`: at the relay, nobody there yet
 * - `paired`: the other side has proven to know the code (or, when resumed, the secret from before)
 * - `offer`: what is offered, told on both sides
 * - `accepted`: how many bytes are still to be sent; the others the receiver has from before
 * - `progress`: at most ten times a second and at each file's end; `receivedBytes` counts what the receiver has, from
 *   before and what has come of the next chunk included, as far as this side knows
 * - `file_done`: a file's hash was right, and it is in its place
 * - `interrupted`: the link was lost, or could not be had, and is tried again
 * - `done`: everything has arrived and was verified
 * - `receiver_failed`: a share to several goes on without this one
 */
export type TransferEvent =
  | { readonly event: "code"; readonly code: string }
  | { readonly event: "waiting" }
  | { readonly event: "paired"; readonly receiver: number; readonly resumed: boolean }
  | { readonly event: "offer"; readonly receiver: number; readonly offer: Offer }
  | { readonly event: "accepted"; readonly receiver: number; readonly missingBytes: number }
  | {
    readonly event: "progress";
    readonly receiver: number;
    /** Of the whole offer. */
    readonly receivedBytes: number;
    /** Number of the entry that is being sent. */
    readonly file: number;
    /** Of that file. */
    readonly fileBytes: number;
  }
  | { readonly event: "file_done"; readonly receiver: number; readonly file: number }
  | {
    readonly event: "interrupted";
    readonly receiver: number;
    readonly reason: TransferErrorCode;
    readonly message: string;
  }
  | { readonly event: "done"; readonly receiver: number }
  | {
    readonly event: "receiver_failed";
    readonly receiver: number;
    readonly reason: TransferErrorCode;
    readonly message: string;
  };

/** Takes events; must not throw. */
export type OnTransferEvent = (event: TransferEvent) => void;
