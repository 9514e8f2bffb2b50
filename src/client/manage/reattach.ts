/**
 * How a session is reached, and reached again when its link is lost: a shell that outlives its link is taken up, a
 * forward is opened anew.
 */
import type { hostForAdmin } from "../../protocol/manage/session_contract.ts";
import { nextAttemptDelayMs } from "../../protocol/manage/reconnect.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { Client } from "../../protocol/rpc/contract.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Action, SessionRow } from "../../protocol/manage/control_contract.ts";
import { describeError, Failure, UsageFailure } from "../../system/failure.ts";
import { HostKeyChanged } from "./known_hosts.ts";
import type { ManageFolder } from "./manage_folder.ts";
import { openSession } from "./open_session.ts";
import { connectServer, type ServerLink } from "./server_link.ts";
import { firstReason, toldFailure } from "./told_failure.ts";

/** A session that stands. */
export interface ReachedSession {
  /** Name of the host. */
  readonly host: string;
  /** The host's calls. */
  readonly client: Client<typeof hostForAdmin>;
  /** 16 hexadecimal digits. */
  readonly session: string;
  /** Resolves once, when nothing goes through it any more; null: nobody said why. Never rejects. */
  readonly ended: Promise<ResetError | null>;
  /** Ends it and its link; resolves when the other side was told or has had the time for it. */
  close(): Promise<void>;
  /** Ends its link where the session has ended by itself; waits for nobody else. */
  done(): Promise<void>;
  /** Only ends its link, so that what outlives one goes on. */
  detach(): Promise<void>;
}

/** What a session is reached with. */
export interface ReachWish {
  /** A session that is to be taken up; null: a new one. */
  readonly attach: string | null;
  /** Whether it was there before and is lost: then an attempt is short, and says nothing of its waits. */
  readonly again: boolean;
  /** Gives up; its reason is thrown. */
  readonly signal: AbortSignal;
}

/**
 * Connects to the server and opens a session on the host.
 *
 * @throws {Failure} or {ResetError} saying why not; the signal's reason
 */
export type Reach = (wish: ReachWish) => Promise<ReachedSession>;

/** How it is tried again. */
export interface ReachAgain {
  readonly attach: string | null;
  readonly timers: Timers;
  /** 0 to 1, without 1. */
  readonly random: () => number;
  /** Milliseconds after which no attempt begins any more; Infinity: for as long as it takes. */
  readonly graceMs: number;
  readonly signal: AbortSignal;
  /** Told of every attempt that failed, in one line. */
  readonly onFailed?: (why: string) => void;
}

/** Longest pause between two attempts; hosts, of which there are many, wait longer. */
const LONGEST_DELAY_MS = 3_000;

/** What another attempt will not change. */
const FINAL: ReadonlySet<string> = new Set<ResetCode>([
  "refused_by_server",
  "refused_by_host",
  "unknown_host",
  "version",
  "revoked",
  "expired",
  "replaced",
  "authentication",
  "token",
]);

/** Longest cause chain that is followed, so that a cycle ends. */
const MAX_CAUSES = 8;

/**
 * Whether another attempt is worth a try: nobody has refused for good.
 *
 * @param error why a link or a session ended, or why it could not be reached
 */
export function mayPass(error: unknown): boolean {
  return !codesOf(error).some((code) => FINAL.has(code));
}

/** An open that comes too late is "expired" as well, such as when the host has linked anew meanwhile. */
function mayPassNextTime(error: unknown): boolean {
  return !codesOf(error).some((code) => code !== "expired" && FINAL.has(code));
}

/** Why a session or a link was lost, in words for people. */
export function reasonOf(error: ResetError, host: string): string {
  const told = toldFailure(firstReason(error), host);
  return told instanceof Error ? told.message : error.message;
}

/** The codes and reasons of an error and of its causes. */
function codesOf(error: unknown): string[] {
  const codes: string[] = [];
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    if (current instanceof HostKeyChanged) codes.push("authentication" satisfies ResetCode);
    // Of a ResetError or of a Failure that was made of one; an ApplicationError has a reason.
    const { code, reason } = current as Error & { readonly code?: unknown; readonly reason?: unknown };
    for (const each of [code, reason]) if (typeof each === "string") codes.push(each);
    current = current.cause;
  }
  return codes;
}

/**
 * Tries until the session is reached: at once, then with growing, random waits between.
 *
 * @throws {Failure} when the time is over; whatever an attempt found that another will not change; the signal's reason
 */
export async function reachAgain(reach: Reach, options: ReachAgain): Promise<ReachedSession> {
  const { attach, timers, random, graceMs, signal } = options;
  const sinceMs = timers.monotonicMs();
  for (let attempt = 0;; attempt++) {
    const outageMs = timers.monotonicMs() - sinceMs;
    const delayMs = nextAttemptDelayMs({ attempt, outageMs, random });
    // Somebody waits for it, and there are not thousands of them.
    await pause(delayMs > LONGEST_DELAY_MS ? random() * LONGEST_DELAY_MS : delayMs, timers, signal);
    try {
      return await reach({ attach, again: true, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!mayPassNextTime(error)) throw error;
      if (timers.monotonicMs() - sinceMs >= graceMs) {
        throw new Failure(`the session was not reached again within ${Math.round(graceMs / 1000)} s`, {
          cause: error,
        });
      }
      options.onFailed?.(describeError(error));
    }
  }
}

/**
 * Lets time pass.
 *
 * @throws the signal's reason
 */
export async function pause(ms: number, timers: Timers, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const callOff = timers.after(ms, resolve);
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await promise;
  } finally {
    callOff();
    signal.removeEventListener("abort", abort);
  }
}

/** Which session is wanted. */
export interface HostWish {
  readonly folder: ManageFolder;
  /** Name of the host; null, of attach only: the one that has the session. */
  readonly host: string | null;
  readonly action: Action;
  readonly targets?: readonly string[];
  /** Of a new shell: it outlives its link. */
  readonly outlivesLink?: boolean;
  readonly acceptKey: boolean;
  readonly timers: Timers;
  readonly onNotice: (line: string) => void;
}

/** An attempt of many is given up after this, so that a link that is back is found soon. */
const AGAIN_TIMEOUT_MS = 4_000;

/** How a host is reached by way of the server, with a link for each session. */
export function reachHost(wish: HostWish): Reach {
  let known: string | null = null;
  return async ({ attach, again, signal }): Promise<ReachedSession> => {
    // What is waited for again and again was said once.
    const onNotice = again ? (): void => {} : wish.onNotice;
    const { folder, timers } = wish;
    const link = await connectServer({
      folder,
      timers,
      onNotice,
      signal,
      ...(again ? { timeoutMs: AGAIN_TIMEOUT_MS } : {}),
    });
    try {
      known ??= attach === null ? wish.host : await hostOfSession(link, attach, wish.host, signal);
      if (known === null) throw new TypeError("a session needs the name of a host");
      return await opened(link, known, wish, { attach, signal, onNotice });
    } catch (error) {
      link.close();
      throw error;
    }
  };
}

async function opened(
  link: ServerLink,
  host: string,
  wish: HostWish,
  { attach, signal, onNotice }: Pick<ReachWish, "attach" | "signal"> & Pick<HostWish, "onNotice">,
): Promise<ReachedSession> {
  const { action, targets = [], outlivesLink = false, acceptKey } = wish;
  const { peer, session, ended } = await openSession(link, {
    host,
    ...(attach === null ? { action, targets, outlivesLink } : { action: "attach", session: attach }),
    acceptKey,
    onNotice,
    signal,
  });
  return {
    host,
    client: peer.client,
    session,
    ended,
    async close(): Promise<void> {
      peer.close();
      await peer.closed;
      await link.leave();
    },
    // What the server has signed is on disk before the program ends, and the server knows that it has.
    done: () => link.leave(),
    async detach(): Promise<void> {
      // Not the peer in order: to the host that is the end of the session.
      link.close();
      await link.closed;
    },
  };
}

const SESSION_ID = /^[0-9a-f]{16}$/;

/**
 * The host that has a session of ours.
 *
 * @throws {Failure} if it is not there, with those that are
 */
async function hostOfSession(
  link: ServerLink,
  session: string,
  host: string | null,
  signal: AbortSignal,
): Promise<string> {
  const rows = await link.control.client.sessions(null, { signal });
  const row = rows.find((each) => each.session === session && (host === null || each.host === host));
  if (row !== undefined) return row.host;
  const where = host === null ? "" : ` on ${host}`;
  throw new Failure(`cannot attach: you have no session ${session}${where} that outlives its link`, {
    hint: rows.length === 0 ? "there are none at all; --detach begins one" : "these are there:",
    hintLines: rows.length === 0 ? [] : rows.map(sessionLine),
  });
}

function sessionLine({ session, host, openedMs, detached }: SessionRow): string {
  const since = new Date(openedMs).toISOString().slice(0, 19).replace("T", " ");
  return `  ${session}  ${host}  since ${since} UTC${detached ? "" : "  (somebody looks at it)"}`;
}

/**
 * An id of a session as it is typed.
 *
 * @throws {UsageFailure} if it is none
 */
export function requireSessionId(text: string): string {
  if (SESSION_ID.test(text)) return text;
  throw new UsageFailure(
    "cannot use option --attach: what was found is no id of a session, accepted: 16 digits 0-9 a-f",
  );
}
