/** What tests of frames share: joining what a writer gives, feeding a reader in pieces, and saying what came out. */
import { type Frame, FrameError } from "../../../src/protocol/rpc/frame.ts";
import { FrameReader, type FrameReaderOptions } from "../../../src/protocol/rpc/frame_reader.ts";
import { FrameWriter } from "../../../src/protocol/rpc/frame_writer.ts";

/** A frame whose body is its own. */
export interface PlainFrame {
  readonly kind: number;
  readonly method: number;
  readonly id: number;
  readonly value: number;
  readonly body: string;
}

export interface Outcome {
  readonly frames: readonly PlainFrame[];
  readonly refusal: string | null;
}

export function plain({ kind, method, id, value, body }: Frame): PlainFrame {
  return { kind, method, id, value, body: body.toHex() };
}

export function joined(chunks: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** The bytes of the frames, written by one writer in one batch. */
export function written(frames: readonly PlainFrame[]): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter({ maxBodyBytes: 2 ** 32 });
  for (const { kind, method, id, value, body } of frames) {
    writer.add(kind, method, id, value, Uint8Array.fromHex(body));
  }
  return joined(writer.take());
}

/**
 * Feeds bytes to a new reader.
 *
 * @param cuts lengths of the reads, used one after the other and again from the first; each at least 1
 */
export function readAll(
  bytes: Uint8Array,
  cuts: readonly number[],
  options: FrameReaderOptions = { maxBodyBytes: 65536 },
  take: (frame: Frame, reader: FrameReader) => PlainFrame = plain,
): Outcome {
  const reader = new FrameReader(options);
  const frames: PlainFrame[] = [];
  try {
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const space = reader.space();
      const count = Math.min(cuts[turn % cuts.length] ?? 1, space.length, bytes.length - at);
      space.set(bytes.subarray(at, at + count));
      reader.filled(count);
      at += count;
      for (let frame = reader.next(); frame !== null; frame = reader.next()) frames.push(take(frame, reader));
    }
  } catch (error) {
    if (error instanceof FrameError) return { frames, refusal: error.reason };
    throw error;
  }
  return { frames, refusal: null };
}
