/** Where the deciding half of a peer puts its frames; what writes them is `Outbox`. */
import type { EncodedBody } from "./codec.ts";

/** Takes frames in order. */
export interface FrameSink {
  /**
   * Queues a frame.
   *
   * @returns bytes of its body
   * @throws {FrameError} "too_large", with nothing queued, if the other side does not take a body so long
   */
  add(kind: number, method: number, id: number, value: number, body: EncodedBody | null): number;
  /** Queues the answer to a ping; of those that are not written yet only the last is kept. */
  pong(value: number): void;
  /** Whether a producer may add something now, or should wait. */
  readonly hasRoom: boolean;
  /** Calls `act` once there is room, in order with others who wait, or once nothing is written any more. */
  whenRoom(act: () => void): void;
  /** Calls `act` once everything added so far is written, or nothing is written any more. */
  afterWritten(act: () => void): void;
  /** Bytes that are not written yet. */
  readonly queuedBytes: number;
}
