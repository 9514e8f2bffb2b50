/** How a transfer reaches its relay. */
import { tcp } from "../../protocol/transport/tcp.ts";
import type { Connection } from "../../protocol/transport/transport.ts";

/** Opens one connection; as often as a transfer needs one. */
export type Connect = (signal: AbortSignal) => Promise<Connection>;

/**
 * Connects to a relay over TCP. Needs `--allow-net`, as a whole or for the address.
 *
 * @param address `host:port` or `[v6]:port`
 */
export function throughRelay(address: string): Connect {
  const relay = tcp(address);
  return (signal) => relay.connect(address, { signal });
}
