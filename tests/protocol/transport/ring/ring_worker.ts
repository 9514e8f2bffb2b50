/** A worker for the tests: echoes over each connection of its ring, or ends itself where it is told to. */
import type { BasePort } from "../../../../src/protocol/transport/message_port_connection.ts";
import { workerRing } from "../../../../src/protocol/transport/ring/worker_ring.ts";
import type { Connection } from "../../../../src/protocol/transport/transport.ts";
import { CLOSE_WORKER } from "./worker_acts.ts";

const base = globalThis as unknown as BasePort & { close(): void };
// Who connects before the worker listens is served as well; the test does.
setTimeout(() => void serve(), 50);

async function serve(): Promise<void> {
  const listener = await workerRing(base).listen();
  for (let connection = await listener.accept(); connection !== null; connection = await listener.accept()) {
    void answer(connection);
  }
}

async function answer(connection: Connection): Promise<void> {
  const buffer = new Uint8Array(65_536);
  await connection.read(buffer.subarray(0, 1));
  if (buffer[0] === CLOSE_WORKER) return base.close();
  for (let count = await connection.read(buffer); count !== null; count = await connection.read(buffer)) {
    await connection.write(buffer.subarray(0, count));
  }
  connection.close();
}
