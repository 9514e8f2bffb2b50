import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../../src/protocol/transport/conformance.ts";
import type { Transport } from "../../../../src/protocol/transport/transport.ts";
import { workerRing } from "../../../../src/protocol/transport/ring/worker_ring.ts";

/** Both ends of one base in this thread, as one transport; the base is open while a case runs. */
async function withTransport(act: (transport: Transport) => Promise<void>): Promise<void> {
  const { port1, port2 } = new MessageChannel();
  const dialling = workerRing(port1, { connectTimeoutMs: 1_000 });
  const listening = workerRing(port2);
  try {
    await act({
      name: dialling.name,
      address: dialling.address,
      listen: (address) => listening.listen(address),
      connect: (address, options) => dialling.connect(address, options),
    });
  } finally {
    port1.close();
    port2.close();
  }
}

/** The suite makes its cases of a transport, and a transport has to be made anew for each case. */
type Cases = (transport: Transport) => readonly { readonly name: string; run(): Promise<void> }[];

function register(what: string, casesOf: Cases): void {
  const nobody: Transport = {
    name: "",
    address: null,
    listen: () => Promise.reject(new Error("not used")),
    connect: () => Promise.reject(new Error("not used")),
  };
  casesOf(nobody).forEach(({ name }, index) => {
    Deno.test(`workerRing(): ${what} ${name}`, () =>
      withTransport(async (transport) => {
        await casesOf(transport)[index]?.run();
      }));
  });
}

register("a connection", (transport) => transportConformance(pairsOf(transport)));
register("a listener", (transport) => listenerConformance(transport));
