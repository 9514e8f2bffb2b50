/**
 * A child whose end of stdio is laid over a Unix socket to the test, so that the suite has both ends in one process.
 * Argument: path of the socket.
 */
import { stdio } from "../../../src/protocol/transport/stdio.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { unix } from "../../../src/protocol/transport/unix.ts";

const far = await unix(Deno.args[0] ?? "").connect();
const near = await (await stdio().listen()).accept();
if (near !== null) {
  await Promise.all([carry(near, far), carry(far, near)]).catch(() => {});
  near.close();
  far.close();
}

async function carry(from: Connection, to: Connection): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const count = await from.read(buffer);
    if (count === null) return await to.closeWrite();
    await to.write(buffer.subarray(0, count));
  }
}
