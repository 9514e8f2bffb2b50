/**
 * Whether a transport keeps the promises of `Connection`, `Listener` and `Transport`: one suite for ours and for
 * yours, for any test runner and any runtime.
 *
 * For a transport with an address:
 *
 *   const transport = tcp("127.0.0.1:0");
 *   for (const { name, run } of transportConformance(pairsOf(transport))) Deno.test(`a connection ${name}`, run);
 *   for (const { name, run } of listenerConformance(transport)) Deno.test(`a listener ${name}`, run);
 *
 * For anything else, a function that makes two ends of one connection is enough:
 *
 *   for (const { name, run } of transportConformance(async () => [oneEnd, theOther])) Deno.test(name, run);
 *
 * Each case tells what it expected and what it saw. A good order to make them pass: bytes, then `closeWrite`, then
 * `close`, then a reader who does not read.
 */
import { byteCases } from "./conformance/bytes.ts";
import {
  type ConformanceCase,
  type ConformanceOptions,
  type OpenPair,
  settingsOf,
} from "./conformance/case.ts";
import { endingCases } from "./conformance/endings.ts";
import { connectAndAccept, listenerCases } from "./conformance/listeners.ts";
import { pressureCases } from "./conformance/pressure.ts";
import type { Transport } from "./transport.ts";

export { ConformanceError } from "./conformance/case.ts";
export type { ConformanceCase, ConformanceOptions, OpenPair } from "./conformance/case.ts";

/**
 * The cases for connections. Each is tried from both ends, because the end that connects and the end that accepts
 * are often different code.
 *
 * @param open called at least twice in each case, never again before it has settled
 */
export function transportConformance(
  open: OpenPair,
  options: ConformanceOptions = {},
): readonly ConformanceCase[] {
  const settings = settingsOf(options);
  return [...byteCases(open, settings), ...endingCases(open, settings), ...pressureCases(open, settings)];
}

/**
 * The cases for listeners and for connecting to them.
 *
 * @param address where to listen, in the transport's own form; without one, `Transport.address`
 */
export function listenerConformance(
  transport: Transport,
  address?: string,
  options: ConformanceOptions = {},
): readonly ConformanceCase[] {
  return listenerCases(transport, address, settingsOf(options));
}

/**
 * Makes pairs for `transportConformance` out of a transport. Each pair has a listener of its own, which is closed
 * as soon as the connection stands: nothing is left open, and nothing has to be closed by the caller.
 *
 * @param address where to listen; without one, `Transport.address`
 */
export function pairsOf(transport: Transport, address?: string): OpenPair {
  return async () => {
    const listener = await transport.listen(address);
    try {
      return await connectAndAccept(transport, listener);
    } finally {
      listener.close();
    }
  };
}
