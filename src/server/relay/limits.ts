/** What a relay grants strangers, who are all it ever meets. Every number has an option of `postern server relay`. */

/** How many may wait, how many of one network, and for how long each. */
export interface RoomLimits {
  readonly max: number;
  /** Of one IPv4 address, or one IPv6 /64. */
  readonly maxPerNetwork: number;
  /** In milliseconds, from entering. */
  readonly timeMs: number;
}

/** The limits of one relay. */
export interface RelayLimits {
  /** Connections that have not said their whole identifier yet. */
  readonly arriving: RoomLimits;
  /** Connections with an identifier that nobody else has come with yet. */
  readonly parked: RoomLimits;
  /** Pairs of connections; `timeMs` is how long one may move no byte. */
  readonly staples: RoomLimits;
  /** Bytes a second through one staple, both directions together; null: no limit. */
  readonly bytesPerSecond: number | null;
}

/**
 * Open files that these limits can take, and the runtime's own besides: a limit of the system below it would be reached
 * before ours, and then nobody is let in at all.
 */
export function openFilesNeeded({ arriving, parked, staples }: RelayLimits): number {
  return arriving.max + parked.max + CONNECTIONS_OF_A_STAPLE * staples.max + FILES_OF_THE_RUNTIME;
}

const CONNECTIONS_OF_A_STAPLE = 2;
const FILES_OF_THE_RUNTIME = 50;
