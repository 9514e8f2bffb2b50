/** What a management server is started with. */
import type { ListenAddress } from "../knock/listen_address.ts";

/** Where a management server keeps everything if nothing else is said. */
export const DEFAULT_MANAGE_FOLDER = "/var/lib/postern-manage";

/** Where it listens if nothing else is said. */
export const DEFAULT_MANAGE_BIND = "[::]:7022";

/** What the command line decides; all else is in the data folder. */
export interface ManageConfig {
  /** Absolute path of the data folder that `server manage init` made. */
  readonly folder: string;
  readonly address: ListenAddress;
}

/** How many connections whose key is not proven may be there, and how long each. */
export interface UnprovenLimits {
  /** Of networks that never showed a key which is known here. */
  readonly strangers: number;
  /** Of networks that have; no stranger can take one of these places. */
  readonly known: number;
  /** Of one IPv4 address, or one IPv6 /64, among the strangers. */
  readonly strangersPerNetwork: number;
  /** The same among the known: a company's hosts may share one address, and all come back at once. */
  readonly knownPerNetwork: number;
  /** From the accepted connection to the proof, and once more to the control flow. */
  readonly timeMs: number;
}

/** What strangers may take of the server. */
export const UNPROVEN_LIMITS: UnprovenLimits = {
  strangers: 512,
  known: 2048,
  strangersPerNetwork: 64,
  knownPerNetwork: 1024,
  timeMs: 5_000,
};

/** Hosts, or administrators, that are told apart where something is counted for each of them. */
export const MAX_MEMBERS = 16_384;

/** Links of one administrator at once: each running `client` is one. */
export const MAX_LINKS_PER_ADMIN = 128;

/** Lists of hosts that one administrator's link may watch. */
export const MAX_WATCHES_PER_LINK = 2;

/** Least time between two lists of one watch. */
export const WATCH_PAUSE_MS = 1_000;

/** Time that an old link of the same key has to show that it lives. */
export const GHOST_ANSWER_MS = 3_000;

/** Time that a host has to say who it is, once its link stands. */
export const REGISTER_TIME_MS = 10_000;

/** Time that a host has to answer an open or to give a challenge. */
export const HOST_ANSWER_MS = 10_000;

/** How often a host's latency is measured. */
export const LATENCY_PAUSE_MS = 120_000;

/** How often it is looked for what another process changed: a revocation must be everywhere within a second. */
export const WATCH_TICK_MS = 250;

/** Time that the links have to hear that the server ends. */
export const GOODBYE_MS = 250;
