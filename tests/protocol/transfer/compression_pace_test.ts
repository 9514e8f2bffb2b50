import assert from "node:assert/strict";
import { CompressionPace } from "../../../src/protocol/transfer/compression_pace.ts";

const MIB = 1024 * 1024;
const WINDOW_CHUNKS = 8;

/** Hands over chunks, each of which took so long to be ready and then so long to be said. */
class Sending {
  #nowMs = 0;
  readonly pace = new CompressionPace({ monotonicMs: () => this.#nowMs, after: () => () => {} });

  chunks(count: number, preparingMs: number, sayingMs: number, bytes = MIB): void {
    for (let chunk = 0; chunk < count; chunk++) {
      this.#nowMs += preparingMs + sayingMs;
      this.pace.said(bytes, preparingMs);
    }
  }
}

Deno.test("CompressionPace goes on compressing on a link that is slower than the compression", () => {
  const sending = new Sending();
  sending.chunks(100 * WINDOW_CHUNKS, 1, 30);
  assert(sending.pace.isCompressing);
});

Deno.test("CompressionPace stops compressing after a window in which chunks were waited for, not before", () => {
  const sending = new Sending();
  sending.chunks(WINDOW_CHUNKS - 1, 4, 1);
  assert(sending.pace.isCompressing);
  sending.chunks(1, 4, 1);
  assert(!sending.pace.isCompressing);
});

Deno.test("CompressionPace stays plain while that is as fast", () => {
  const sending = new Sending();
  sending.chunks(WINDOW_CHUNKS, 4, 1);
  sending.chunks(100 * WINDOW_CHUNKS, 0, 5);
  assert(!sending.pace.isCompressing);
});

Deno.test("CompressionPace compresses again once plain is slower, each time for twice as long", () => {
  const sending = new Sending();
  for (let held = 1; held <= 64; held *= 2) {
    sending.chunks(held * WINDOW_CHUNKS - 1, 4, 1);
    assert(sending.pace.isCompressing, `it gave up before ${held} windows`);
    sending.chunks(1, 4, 1);
    assert(!sending.pace.isCompressing, `it did not try plain after ${held} windows`);
    sending.chunks(WINDOW_CHUNKS, 0, 6);
    assert(sending.pace.isCompressing);
  }
  sending.chunks(64 * WINDOW_CHUNKS, 4, 1);
  assert(!sending.pace.isCompressing, "the time for which it is held has no end");
});

Deno.test("CompressionPace goes by bytes, so that small chunks are not taken for a slow link", () => {
  const sending = new Sending();
  sending.chunks(WINDOW_CHUNKS, 4, 1);
  sending.chunks(WINDOW_CHUNKS, 0, 1, MIB / 4);
  assert(!sending.pace.isCompressing);
});
