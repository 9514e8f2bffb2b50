/**
 * Who may wait before a key is proven: all that a stranger can take of the server, apart from log lines. There are two
 * rooms, so that strangers cannot keep those away who were here before:
 *
 * ```
 *   accepted --> is its network known? --- no ---> strangers --+--> proven, and its network is known from now on
 *                                   +----- yes --> known ------+--> hung up, refused, or its time is over
 * ```
 */
import { ipNetwork, tryParseIp } from "../../protocol/knock/address.ts";
import { parseHostPort } from "../../protocol/transport/host_port.ts";
import type { Connection } from "../../protocol/transport/transport.ts";
import { type Located, Room, type RoomRefusal } from "../relay/room.ts";
import type { UnprovenLimits } from "./config.ts";

/** A connection of somebody who has not shown who it is. */
export interface Arrival extends Located {
  readonly connection: Connection;
  /** Canonical text of the other end's address, without its port. */
  readonly ip: string;
  /** The same with its port, for log and audit. */
  readonly address: string;
}

/** Networks that are remembered; as many as there can be hosts, and a few that came before. */
const MAX_KNOWN_NETWORKS = 16_384;

/** Who has not shown who it is. */
export class UnprovenLinks {
  readonly #strangers: Room<Arrival>;
  readonly #known: Room<Arrival>;
  /** In the order in which a key was last proven there. */
  readonly #knownNetworks = new Set<string>();

  constructor(limits: UnprovenLimits) {
    const { strangers, strangersPerNetwork, known, knownPerNetwork, timeMs } = limits;
    this.#strangers = new Room({ max: strangers, maxPerNetwork: strangersPerNetwork, timeMs });
    this.#known = new Room({ max: known, maxPerNetwork: knownPerNetwork, timeMs });
  }

  /** How many there are. */
  get size(): number {
    return this.#strangers.size + this.#known.size;
  }

  /** Everybody, for the end. */
  *members(): Generator<Arrival> {
    yield* this.#strangers.members();
    yield* this.#known.members();
  }

  /** Lets somebody in, or says why not. */
  enter(arrival: Arrival, nowMs: number): RoomRefusal | null {
    const room = this.#knownNetworks.has(arrival.network) ? this.#known : this.#strangers;
    return room.enter(arrival, nowMs);
  }

  /** Gives its place back. Does nothing for one that is not here. */
  leave(arrival: Arrival): void {
    this.#strangers.leave(arrival);
    this.#known.leave(arrival);
  }

  /** A key that is known here was proven from there. */
  remember({ network }: Arrival): void {
    this.#knownNetworks.delete(network);
    this.#knownNetworks.add(network);
    for (const oldest of this.#knownNetworks) {
      if (this.#knownNetworks.size <= MAX_KNOWN_NETWORKS) break;
      this.#knownNetworks.delete(oldest);
    }
  }
}

/** What is known of a connection that was just accepted. */
export function arrivalOf(connection: Connection): Arrival {
  const address = connection.remoteAddress ?? "unknown";
  const ip = ipOf(address);
  if (ip === null) return { connection, ip: address, address, network: address };
  return { connection, ip, address: withPortOf(address, ip), network: ipNetwork(ip) };
}

function ipOf(address: string): ReturnType<typeof tryParseIp> {
  try {
    return tryParseIp(parseHostPort(address, "cannot read the address").hostname);
  } catch {
    return null;
  }
}

/** An IPv4 peer of a `[::]` socket is shown as IPv4. */
function withPortOf(address: string, ip: string): string {
  const port = address.slice(address.lastIndexOf(":") + 1);
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
