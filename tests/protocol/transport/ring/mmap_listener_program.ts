/** Listens at the path that is its argument, and prints how that ended. */
import { mmapRing } from "../../../../src/protocol/transport/ring/mmap.ts";
import { TransportError } from "../../../../src/protocol/transport/transport.ts";

try {
  (await mmapRing(Deno.args[0]).listen()).close();
  await say("no error");
} catch (error) {
  await say(error instanceof TransportError ? `${error.code}: ${error.message}` : String(error));
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}
