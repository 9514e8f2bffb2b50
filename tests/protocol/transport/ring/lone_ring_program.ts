/** A program that waits for bytes of a ring, with nothing else to keep it alive; they come after a while. */
import { workerRing } from "../../../../src/protocol/transport/ring/worker_ring.ts";

const { port1, port2 } = new MessageChannel();
const listener = await workerRing(port2).listen();
const [near, far] = await Promise.all([workerRing(port1).connect(), listener.accept()]);
listener.close();
port1.close();
port2.close();

const later = setTimeout(() => void far?.write(Uint8Array.of(7)), 300);
Deno.unrefTimer(later);
await say("waiting");
await say(`read ${await near.read(new Uint8Array(9))}`);
near.close();
far?.close();

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}
