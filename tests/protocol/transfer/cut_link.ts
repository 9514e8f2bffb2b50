/** Channels with keys and bytes over a link that breaks at a byte. */
import { RecordOpener, RecordSealer } from "../../../src/protocol/record/record.ts";
import { type Timers } from "../../../src/protocol/rpc/timers.ts";
import { TransferChannel } from "../../../src/protocol/transfer/channel.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { type Connection, TransportError } from "../../../src/protocol/transport/transport.ts";

/** What both directions together may still carry. */
export interface Budget {
  bytes: number;
}

/** The two ends of a fresh connection that breaks when the budget is used up, wherever in a record that is. */
export function cutPair(budget: Budget): readonly [Connection, Connection] {
  const [one, other] = memoryPair();
  const cut = (): void => {
    one.close();
    other.close();
  };
  return [cutConnection(one, budget, cut), cutConnection(other, budget, cut)];
}

function cutConnection(inner: Connection, budget: Budget, cut: () => void): Connection {
  return {
    transport: inner.transport,
    remoteAddress: inner.remoteAddress,
    localAddress: inner.localAddress,
    confidential: inner.confidential,
    read: (buffer) => inner.read(buffer),
    async write(bytes): Promise<void> {
      const part = bytes.subarray(0, Math.max(0, budget.bytes));
      budget.bytes -= bytes.length;
      if (part.length > 0) await inner.write(part);
      if (part.length === bytes.length) return;
      cut();
      throw new TransportError("lost", "the link was cut");
    },
    closeWrite: () => inner.closeWrite(),
    close: () => inner.close(),
  };
}

/** The two channels over a connection, with fresh keys. */
export function channelsOver(
  [one, other]: readonly [Connection, Connection],
  timers: Timers,
): readonly [TransferChannel, TransferChannel] {
  const oneKey = crypto.getRandomValues(new Uint8Array(32));
  const otherKey = crypto.getRandomValues(new Uint8Array(32));
  const options = { limits: DEFAULT_LIMITS, timers };
  return [
    new TransferChannel(
      one,
      { sealer: new RecordSealer(oneKey), opener: new RecordOpener(otherKey) },
      options,
    ),
    new TransferChannel(
      other,
      { sealer: new RecordSealer(otherKey), opener: new RecordOpener(oneKey) },
      options,
    ),
  ];
}
