/**
 * The calls of a session, from the administrator to the host: inside of one flow, sealed from end to end with keys
 * that only these two have. Which of them may be called is what the signed open says: `shell` in a session of a shell,
 * `exec` in one of exec, `connect` in one of forward; the host refuses any other. `shell` and `exec` once a session.
 *
 * There is no handshake of RPC: the keys prove who is there, and `SESSION_LIMITS` hold on both sides.
 */
import { contract, duplex } from "../rpc/contract.ts";
import { completeLimits, type Limits } from "../rpc/limits.ts";
import {
  checkConnectStart,
  checkExecOutput,
  checkExecStart,
  checkForwarded,
  checkShellInput,
  checkShellOutput,
  checkShellStart,
} from "./session_schemas.ts";

/** The window of a terminal, in characters. */
export interface WindowSize {
  readonly rows: number;
  readonly columns: number;
}

/** How a program ended. */
export interface ProgramExit {
  /** 0 to 255; 128 and the number of the signal for one that was killed. */
  readonly exitCode: number;
}

/** Begins a shell, or takes one up again. */
export interface ShellStart extends WindowSize {
  /** Value of TERM, at most 64 characters out of `A-Z a-z 0-9 . _ + -`. */
  readonly term: string;
  /**
   * How many bytes of output were seen, where a shell is taken up again: what came after them is sent first, as far as
   * the host still has it. 0 for a new one.
   */
  readonly seenBytes: number;
}

/** What goes to a shell: what was typed, or that the window has another size. */
export type ShellInput = Uint8Array<ArrayBuffer> | WindowSize;

/** What comes from a shell: what it prints, or another fact. The last one is an exit, or the session was ended. */
export type ShellOutput =
  | Uint8Array<ArrayBuffer>
  /** That many bytes of output are missing here: the host keeps only so much. */
  | { readonly skippedBytes: number }
  | ProgramExit
  /** The session is ended or handed over by the host; the text says why. */
  | { readonly ended: "replaced" | "revoked" | "expired" | "agent_stopped"; readonly text: string };

/** Begins a program. */
export interface ExecStart {
  /** The program and its arguments as they are, without a shell; at least one, 128 KiB together. */
  readonly command: readonly string[];
}

/** What a program prints. */
export type ExecOutput =
  | { readonly stdout: Uint8Array<ArrayBuffer> }
  | { readonly stderr: Uint8Array<ArrayBuffer> }
  | ProgramExit
  | { readonly ended: "revoked" | "expired" | "agent_stopped"; readonly text: string };

/** Begins one connection of a forward. */
export interface ConnectStart {
  /** Name or address as the host resolves it; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

/**
 * What a host serves in a session. An empty array among bytes is the end of one direction (the half-close of TCP, the
 * end of standard input), while the other goes on; items of `shell` have none.
 *
 * Refusals are `ApplicationError`s whose reason is a `ResetCode` or, for `connect`, "unreachable".
 */
export const hostForAdmin = contract({
  shell: duplex<ShellStart, ShellInput, ShellOutput>({
    input: checkShellStart,
    item: checkShellInput,
    output: checkShellOutput,
  }),
  exec: duplex<ExecStart, Uint8Array<ArrayBuffer>, ExecOutput>({
    input: checkExecStart,
    item: checkForwarded,
    output: checkExecOutput,
  }),
  /** The first item from the host is empty: connected. From then on an empty one is its end. */
  connect: duplex<ConnectStart, Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    input: checkConnectStart,
    item: checkForwarded,
    output: checkForwarded,
  }),
}, { version: "1" });

const KIB = 1024;

/** Longest run of bytes in one item. */
export const MAX_ITEM_BYTES = 64 * KIB;

/** Of every session, on both sides. The link has a heartbeat of its own. */
export const SESSION_LIMITS: Limits = completeLimits({
  maxBodyBytes: 256 * KIB,
  maxConcurrentCalls: 1024,
  maxWaitingCalls: 4096,
  streamWindowBytes: 512 * KIB,
  maxQueuedBytes: 1024 * KIB,
  keepAliveMs: Infinity,
  defaultDeadlineMs: 0,
});
