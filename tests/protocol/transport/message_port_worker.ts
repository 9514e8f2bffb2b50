/// <reference lib="deno.worker" />
/** A worker of message_port_test.ts; what it does is the fragment of its address. */
import { messagePort } from "../../../src/protocol/transport/message_port.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

const transport = messagePort();

async function echo(connection: Connection): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const length = await connection.read(buffer);
    if (length === null) break;
    await connection.write(buffer.subarray(0, length));
  }
  await connection.closeWrite();
  await connection.read(buffer).catch(() => null);
  connection.close();
}

async function echoAll(): Promise<void> {
  const listener = await transport.listen();
  for (let next = await listener.accept(); next !== null; next = await listener.accept()) void echo(next);
}

switch (new URL(self.location.href).hash) {
  case "#late":
    // What came in the meantime was told to nobody.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await echoAll();
    break;
  case "#dials":
    await echo(await transport.connect());
    break;
  case "#dies": {
    const listener = await transport.listen();
    const connection = await listener.accept();
    await connection?.write(Uint8Array.of(1, 2, 3));
    self.close();
    break;
  }
  default:
    await echoAll();
}
