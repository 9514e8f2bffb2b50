import assert from "node:assert/strict";
import { transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { connectionFromStreams } from "../../../src/protocol/transport/streams.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

/** Two identity streams, which pass on the very buffers that they are given. */
function streamPair(): readonly [Connection, Connection] {
  const there = new TransformStream<Uint8Array, Uint8Array>(),
    back = new TransformStream<Uint8Array, Uint8Array>();
  return [
    connectionFromStreams({ readable: back.readable, writable: there.writable }),
    connectionFromStreams({ readable: there.readable, writable: back.writable }),
  ];
}

for (const { name, run } of transportConformance(() => Promise.resolve(streamPair()))) {
  Deno.test(`connectionFromStreams() ${name}`, run);
}

Deno.test("connectionFromStreams() says lost when a stream fails, or gives something else than bytes", async () => {
  const writable = (): WritableStream<Uint8Array> => new WritableStream();
  const failing = connectionFromStreams({
    readable: new ReadableStream({ start: (controller) => controller.error(new Error("unplugged")) }),
    writable: writable(),
  });
  await assert.rejects(failing.read(new Uint8Array(1)), { code: "lost", message: /unplugged/ });
  const text = new ReadableStream({ start: (controller) => controller.enqueue("text") });
  const wrong = connectionFromStreams({ readable: text as ReadableStream<Uint8Array>, writable: writable() });
  await assert.rejects(wrong.read(new Uint8Array(1)), { code: "lost", message: /no Uint8Array/ });
});

Deno.test("connectionFromStreams() calls onClose once and gives up both streams", async () => {
  const gone: string[] = [];
  const connection = connectionFromStreams({
    readable: new ReadableStream({ cancel: () => void gone.push("cancelled") }),
    writable: new WritableStream({ abort: () => void gone.push("aborted") }),
    onClose: () => void gone.push("closed"),
  });
  connection.close();
  connection.close();
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(gone.sort(), ["aborted", "cancelled", "closed"]);
});
