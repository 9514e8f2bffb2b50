/** The other process of the tests: dials the path that is its first argument and does what the second one says. */
import { mmapRing } from "../../../../src/protocol/transport/ring/mmap.ts";

const [path, act] = Deno.args;
const connection = await mmapRing(path).connect();
if (act === "send") {
  const bytes = new Uint8Array(1 << 20);
  for (let turn = 0; turn < 64; turn++) await connection.write(bytes);
  await connection.closeWrite();
  await connection.read(bytes);
  connection.close();
  // And ends by itself: nothing of the connection keeps it.
} else {
  await connection.write(new Uint8Array(1000));
  // The test kills it here.
  await new Promise((resolve) => setTimeout(resolve, 60_000));
}
