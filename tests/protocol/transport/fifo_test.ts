/** What a user writes: a transport of one's own in thirty lines, here over pairs of FIFOs, and the suite on it. */
import assert from "node:assert/strict";
import { pairsOf, transportConformance } from "../../../src/protocol/transport/conformance.ts";
import { connectionFromSocket } from "../../../src/protocol/transport/socket_connection.ts";
import type { Connection, Listener, Transport } from "../../../src/protocol/transport/transport.ts";

// Beginning of the thirty lines. A folder has two FIFOs, one for each direction: a line for one connection.
function fifo(folder: string): Transport {
  const there = `${folder}/there`, back = `${folder}/back`;
  const open = async (from: string, to: string): Promise<Connection> => {
    // Opening waits for the other end, so both at once.
    const [input, output] = await Promise.all([Deno.open(from), Deno.open(to, { write: true })]);
    let writing = true;
    const endWriting = (): void => {
      if (writing) output.close();
      writing = false;
    };
    return connectionFromSocket({
      read: (buffer) => input.read(buffer),
      write: (bytes) => output.write(bytes),
      closeWrite: () => Promise.resolve(endWriting()),
      close: () => (endWriting(), input.close()),
    }, { transport: "fifo", confidential: true });
  };
  return {
    name: "fifo",
    address: folder,
    async listen(): Promise<Listener> {
      await new Deno.Command("mkfifo", { args: [there, back] }).output();
      return { address: folder, accept: () => open(there, back), close: () => {} };
    },
    connect: () => open(back, there),
  };
}
// End of the thirty lines.

/** Each pair has a folder of its own, because this small transport is for one connection. */
async function openPair(): Promise<readonly [Connection, Connection]> {
  const folder = await Deno.makeTempDir();
  try {
    return await pairsOf(fifo(folder))();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

for (const { name, run } of transportConformance(openPair, { connections: 8, timeoutMs: 4000 })) {
  // Reads and writes of files are done by threads that nobody can interrupt: they end after the case has.
  Deno.test({
    name: `a transport of thirty lines ${name}`,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: run,
  });
}

Deno.test("the transport of thirty lines has thirty lines", async () => {
  const source = await Deno.readTextFile(new URL(import.meta.url));
  const lines = source.split("// Beginning of the thirty lines.")[1]?.split("// End of")[0]?.split("\n") ??
    [];
  const counted = lines.filter((line) => line.trim() !== "" && !line.trim().startsWith("//"));
  assert.ok(counted.length >= 20 && counted.length <= 30, `it has ${counted.length}`);
});
