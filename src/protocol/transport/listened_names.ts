/** Names on a base port, each of which one listener has; a kind of transport keeps its own. */
import type { BasePort } from "./message_port_connection.ts";
import { TransportError } from "./transport.ts";

/** Which names are listened on. */
export class ListenedNames {
  readonly #taken = new WeakMap<BasePort, Set<string>>();

  /**
   * Takes a name.
   *
   * @param where what follows the name in an error's message
   * @returns what gives it back
   * @throws {TransportError} "address" if somebody has it
   */
  take(base: BasePort, name: string, where: string): () => void {
    const names = this.#taken.get(base) ?? new Set();
    if (names.has(name)) {
      throw new TransportError("address", `cannot listen on "${name}" ${where}: it is taken`);
    }
    this.#taken.set(base, names.add(name));
    return () => names.delete(name);
  }
}
