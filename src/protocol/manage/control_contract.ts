/**
 * The calls on the control flow, the first flow that a dialling side opens. Both ends serve and call:
 *
 *   host          -> server  register once the link stands, ended for every session that is over, pinned
 *   server        -> host    ping, challenge, end, pin
 *   administrator -> server  hosts, watchHosts, prepare, sessions
 *   server        -> administrator  ended, pin
 *
 * The link has authenticated both sides and TLS encrypts it, so there is no handshake of RPC: peers are made at once,
 * with `CONTROL_LIMITS` on both sides, and the hash of both contracts travels in the flow's open, see control_flow.ts.
 *
 * Nothing here commands a host: what does is signed by the administrator, see session_open.ts.
 */
import { call, contract, stream } from "../rpc/contract.ts";
import { completeLimits, type Limits } from "../rpc/limits.ts";
import {
  checkChallenge,
  checkEndedSession,
  checkEndOrder,
  checkGeneration,
  checkHostName,
  checkHostRows,
  checkNothing,
  checkPins,
  checkPrepared,
  checkRegistered,
  checkRegistration,
  checkSessionRows,
  checkSignedHead,
} from "./control_schemas.ts";

/** What a session does on a host. */
export type Action = "shell" | "exec" | "forward";

/** Why a session ended, as the audit has it. */
export type SessionEnding =
  /** It did what it was for; there is an exit code, but of a forward. */
  | "done"
  /** The administrator left. */
  | "closed"
  /** The link to the administrator or to the server broke, and the session was not one that outlives it. */
  | "lost"
  /** Nobody took it up again in time. */
  | "abandoned"
  /** The administrator or the host was revoked, or a policy does not allow it any more. */
  | "revoked"
  /** What the policy allowed is over. */
  | "expired"
  /** The program on the host could not be started. */
  | "failed"
  /** The agent was ended or restarted. */
  | "agent_stopped";

/** The newest row of the audit, signed by the server; whoever keeps one can show later that rows were cut off. */
export interface SignedHead {
  /** Number of the row, from 1 on; 0: the audit is empty. */
  readonly number: number;
  /** 32 bytes; of zeros where the number is 0. */
  readonly hash: Uint8Array<ArrayBuffer>;
  /** 64 bytes, Ed25519 by the server's key, see audit_head.ts. */
  readonly signature: Uint8Array<ArrayBuffer>;
}

/** Certificates that a dialling side believes, in PEM; 1 or 2, the second one while a new one is handed out. */
export interface Pins {
  readonly caCertificates: readonly string[];
  /** Counts the changes: the higher one is newer. */
  readonly generation: number;
}

/** A session that a host has. */
export interface HostSession {
  /** 16 hexadecimal digits. */
  readonly session: string;
  /** 32 bytes. */
  readonly adminKey: Uint8Array<ArrayBuffer>;
  readonly action: Action;
  /** Whether nobody is looking at it at the moment. */
  readonly detached: boolean;
}

/** What a host says of itself. */
export interface Registration {
  /** Of Postern. */
  readonly version: string;
  /** Such as "linux x86_64". */
  readonly system: string;
  /** What runs there, from before this link: shells that outlived one. */
  readonly sessions: readonly HostSession[];
  /** Generation of the pins it has. */
  readonly pinsGeneration: number;
}

/** What the server says to it. */
export interface Registered {
  /** Sessions that are to be ended at once: their administrator was revoked, or the policy has become stricter. */
  readonly end: readonly string[];
}

/** A session that is over. The host repeats it, over restarts of both programs, until it is acknowledged. */
export interface EndedSession {
  /** 16 hexadecimal digits. */
  readonly session: string;
  readonly ending: SessionEnding;
  /** Of the program, 128 and more for a signal; null where there is none. */
  readonly exitCode: number | null;
  /** Bytes that the administrator sent to the program or the targets. */
  readonly bytesIn: number;
  /** Bytes that came back. */
  readonly bytesOut: number;
  /** By the host's monotonic clock; its wall clock may be anything. */
  readonly durationMs: number;
}

/** Ends sessions. */
export interface EndOrder {
  readonly sessions: readonly string[];
  readonly ending: "revoked" | "expired";
}

/** One host as an administrator sees it. */
export interface HostRow {
  readonly name: string;
  readonly tags: readonly string[];
  /** Milliseconds since 1970 by the server's clock: since when it is what `online` says; null: it never was online. */
  readonly sinceMs: number | null;
  readonly online: boolean;
  /** Round trip from the server and back; null while it is not known. */
  readonly latencyMs: number | null;
  /** Of Postern; null before its first link. */
  readonly version: string | null;
  /** Null before its first link. */
  readonly system: string | null;
  /** How many it has, of all administrators. */
  readonly sessions: number;
}

/** What an administrator needs to sign an open. */
export interface Prepared {
  /** 32 bytes; to be compared with what is pinned. */
  readonly hostKey: Uint8Array<ArrayBuffer>;
  /** 32 bytes: the host's nonce of its present link. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  /** 16 bytes, fresh from the host; good for one open within `CHALLENGE_LIFE_MS`. */
  readonly challenge: Uint8Array<ArrayBuffer>;
}

/** Time from a host's challenge until it takes no open with it any more. */
export const CHALLENGE_LIFE_MS = 30_000;

/** A shell that may be taken up again; the asking administrator's own only. */
export interface SessionRow {
  /** 16 hexadecimal digits. */
  readonly session: string;
  readonly host: string;
  /** Milliseconds since 1970 by the server's clock. */
  readonly openedMs: number;
  /** Whether nobody is looking at it at the moment. */
  readonly detached: boolean;
}

/** What the server serves to hosts. */
export const serverForHost = contract({
  /** Once, first of all. */
  register: call<Registration, Registered>({ input: checkRegistration, output: checkRegistered }),
  /** Answered when it is durable. The same session may be told again. */
  ended: call<EndedSession, SignedHead>({ input: checkEndedSession, output: checkSignedHead }),
  /** The host has stored these pins. */
  pinned: call<number, null>({ input: checkGeneration, output: checkNothing }),
}, { version: "1" });

/** What a host serves to the server. */
export const hostForServer = contract({
  /** Is anybody there? */
  ping: call<null, null>({ output: checkNothing }),
  /** A fresh challenge for one open: 16 bytes. */
  challenge: call<null, Uint8Array<ArrayBuffer>>({ output: checkChallenge }),
  /** Ends sessions at once; unknown ones are passed over. */
  end: call<EndOrder, null>({ input: checkEndOrder, output: checkNothing }),
  /** Store these, then tell `pinned`. */
  pin: call<Pins, null>({ input: checkPins, output: checkNothing }),
}, { version: "1" });

/** What the server serves to administrators. */
export const serverForAdmin = contract({
  /** Those that the policy lets this administrator do anything on. */
  hosts: call<null, readonly HostRow[]>({ output: checkHostRows }),
  /** All of them at once, then again whenever something has changed, at most once a second. */
  watchHosts: stream<null, readonly HostRow[]>({ output: checkHostRows }),
  /** Refused with an `ApplicationError` whose reason is a `ResetCode`: unknown_host, offline, refused_by_server. */
  prepare: call<string, Prepared>({ input: checkHostName, output: checkPrepared }),
  /** Shells of this administrator on all hosts that outlive a link. */
  sessions: call<null, readonly SessionRow[]>({ output: checkSessionRows }),
}, { version: "1" });

/** What an administrator's program serves to the server. */
export const adminForServer = contract({
  /** A session of this link is over, and its row is durable. */
  ended: call<SignedHead, null>({ input: checkSignedHead, output: checkNothing }),
  /** Store these. */
  pin: call<Pins, null>({ input: checkPins, output: checkNothing }),
}, { version: "1" });

const KIB = 1024;

/** Of every control flow, on both sides. The link has a heartbeat of its own. */
export const CONTROL_LIMITS: Limits = completeLimits({
  // 5,000 hosts in one answer.
  maxBodyBytes: 2048 * KIB,
  maxConcurrentCalls: 64,
  maxWaitingCalls: 256,
  streamWindowBytes: 64 * KIB,
  maxQueuedBytes: 256 * KIB,
  keepAliveMs: Infinity,
  defaultDeadlineMs: 10_000,
});
