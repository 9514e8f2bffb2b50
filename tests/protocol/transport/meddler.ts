/** A man in the middle of a TCP connection, who may cut it or change what passes. */
import { tcp } from "../../../src/protocol/transport/tcp.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";

/** What he does. */
export interface Meddler extends Disposable {
  /** Where to connect instead. */
  readonly address: string;
  /** From now on changes one bit in each read from the listening side. */
  flip(): void;
  /** Ends the stream to the connecting side, with a FIN and nothing else. */
  cut(): Promise<void>;
}

/** Puts him in front of a listener; for one connection. */
export async function meddleWith(address: string): Promise<Meddler> {
  const listener = await tcp("127.0.0.1:0").listen();
  const open: Connection[] = [];
  let flips = false;
  const carry = async (from: Connection, to: Connection, backwards: boolean): Promise<void> => {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const count = await from.read(buffer);
      if (count === null) return await to.closeWrite();
      const bytes = buffer.subarray(0, count);
      if (backwards && flips) bytes[count - 1] = (bytes[count - 1] ?? 0) ^ 1;
      await to.write(bytes);
    }
  };
  const serve = async (): Promise<void> => {
    const near = await listener.accept();
    if (near === null) return;
    const far = await tcp().connect(address);
    open.push(near, far);
    await Promise.all([carry(near, far, false), carry(far, near, true)]);
  };
  serve().catch(() => {});
  return {
    address: listener.address,
    flip: () => void (flips = true),
    cut: async () => await open[0]?.closeWrite(),
    [Symbol.dispose](): void {
      listener.close();
      for (const each of open) each.close();
    },
  };
}
