/** Listens once for a signed process, and prints its address and what came of it. Argument: the key. */
import { systemTimers } from "../../src/protocol/rpc/timers.ts";
import { tcp } from "../../src/protocol/transport/tcp.ts";
import { signedProcess } from "../../src/rpc/signed_process.ts";
import { outcomeOf, sideOf } from "../protocol/rpc/handshake_sides.ts";

const listener = await tcp("127.0.0.1:0").listen();
print(listener.address);
const connection = await listener.accept();
listener.close();
if (connection !== null) {
  const policy = signedProcess({ publicKey: Deno.args[0] ?? "" });
  const { words, error } = await outcomeOf(sideOf("listener", connection, { policy, timers: systemTimers }));
  connection.close();
  print(`${words} ${error instanceof Error ? error.message : ""}`);
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
