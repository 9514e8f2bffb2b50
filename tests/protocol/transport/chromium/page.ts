/**
 * What chromium_test.ts runs in a page: the conformance suite on message ports, and an echo over a WebSocket. The
 * outcome is one request to the address of the page.
 */
/// <reference lib="dom" />
import { pairsOf, transportConformance } from "../../../../src/protocol/transport/conformance.ts";
import { messagePort } from "../../../../src/protocol/transport/message_port.ts";
import type { Transport } from "../../../../src/protocol/transport/transport.ts";
import { webSocket } from "../../../../src/protocol/transport/web_socket.ts";

const ECHO_BYTES = 16 * 1024 * 1024;

async function main(): Promise<string[]> {
  const task = new URLSearchParams(location.search);
  const told: string[] = [];
  for (const address of task.getAll("open")) told.push(await tryToOpen(address));
  for (const address of task.getAll("echo")) told.push(await echo(address));
  if (task.has("conformance")) told.push(...await conformance());
  return told;
}

async function tryToOpen(address: string): Promise<string> {
  return await webSocket(address).connect().then(() => "opened", (error) => error.code);
}

async function echo(address: string): Promise<string> {
  const connection = await webSocket(address).connect();
  const sent = new Uint8Array(ECHO_BYTES).map((_, index) => index * 31 + (index >> 8));
  const writing = connection.write(sent).then(() => connection.closeWrite());
  const received = new Uint8Array(ECHO_BYTES + 1);
  let filled = 0;
  for (;;) {
    const length = await connection.read(received.subarray(filled));
    if (length === null) break;
    filled += length;
  }
  await writing;
  connection.close();
  return `${filled} bytes, ${sent.every((byte, index) => byte === received[index]) ? "the same" : "others"}`;
}

async function conformance(): Promise<string[]> {
  const { port1, port2 } = new MessageChannel();
  const listening = messagePort(port1), dialling = messagePort(port2);
  const transport: Transport = {
    ...listening,
    connect: (address, options) => dialling.connect(address, options),
  };
  const told: string[] = [];
  for (const { name, run } of transportConformance(pairsOf(transport))) {
    told.push(await run().then(() => "ok", (error) => `${name}: ${error}`));
  }
  return told;
}

const outcome = await main().catch((error) => [String(error)]);
await fetch("/outcome", { method: "POST", body: JSON.stringify(outcome) });
