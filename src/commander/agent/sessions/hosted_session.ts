/**
 * A session as the host has it: what the agent's desk gives to one, and what it gets.
 *
 * ```
 * desk: open checked and answered -> hostShell | hostExec | hostForward(ground) -> handlers, served over the sealed flow
 *       viewer's flow gone        -> viewerLost()
 *       signed attach             -> attach() -> handlers for the new viewer
 *       revoked, expired, stopping -> end(ending), or ground.signal
 * session: over, nothing of it runs any more -> ended
 * ```
 */
import type { Action, SessionEnding } from "../../../protocol/manage/control_contract.ts";
import type { hostForAdmin } from "../../../protocol/manage/session_contract.ts";
import type { Handlers } from "../../../protocol/rpc/contract.ts";
import { ApplicationError, ConnectionError, RpcError } from "../../../protocol/rpc/errors.ts";
import type { Timers } from "../../../protocol/rpc/timers.ts";
import type { Log } from "../../../system/log.ts";
import type { Account } from "../session_account.ts";

/** What agent.toml says about sessions. */
export interface SessionConfig {
  /** Name of the local user that programs run as; null: the agent's own, and nothing is changed. */
  readonly runAs: string | null;
  /** The same one, or the agent's own. */
  readonly account: Account;
  /** Path of the shell; null: the user's own. */
  readonly shellProgram: string | null;
  /** Folder for recordings of shells; null: none are made. */
  readonly record: string | null;
  /** Output of a shell that is kept for whoever takes it up again, in bytes. */
  readonly scrollbackBytes: number;
  /** How long a shell that nobody looks at goes on, in milliseconds. */
  readonly detachGraceMs: number;
}

/** What a session stands on. */
export interface SessionGround {
  /** 16 hexadecimal digits. */
  readonly session: string;
  /** This host's, for refusals. */
  readonly hostName: string;
  /** Whose it is. */
  readonly adminName: string;
  readonly config: SessionConfig;
  /** Why a command may not run, naming the side that refuses; null: it may. */
  readonly mayRun: (command: readonly string[]) => string | null;
  /** The same for a connection: by the targets that were declared, and by agent.toml. */
  readonly mayConnect: (host: string, port: number) => string | null;
  readonly timers: Timers;
  readonly log: Log;
  /** Aborted, with a `SessionEnding` as its reason, when the session must end. */
  readonly signal: AbortSignal;
}

/** How a session ended, for the audit. */
export interface SessionResult {
  readonly ending: SessionEnding;
  /** Of the program; null where it had none, or had to be ended. */
  readonly exitCode: number | null;
  /** Bytes that the administrator sent to the program or the targets. */
  readonly bytesIn: number;
  /** Bytes that came back. */
  readonly bytesOut: number;
}

/** What an administrator's program may call. */
export type SessionHandlers = Handlers<typeof hostForAdmin>;

/** A session that was begun. */
export interface HostedSession {
  readonly action: Action;
  /** For the first viewer. */
  readonly handlers: SessionHandlers;
  /**
   * Settles, once, when nothing of the session runs any more and the viewer was given the last item or is gone; never
   * rejects.
   */
  readonly ended: Promise<SessionResult>;
  /** Whether nobody looks at it. */
  readonly isDetached: boolean;
  /** The viewer's link is gone. A session that outlives it waits to be taken up again, another one ends as "lost". */
  viewerLost(): void;
  /** For a new viewer, which only a shell can have; the old one is told that it was replaced. */
  attach(): SessionHandlers;
  /** Ends it. Does nothing the second time. */
  end(ending: SessionEnding): void;
}

/** Time from the beginning of a session until its program must have been asked for. */
export const START_WITHIN_MS = 30_000;

/** Time that a viewer has to take the last item of a session that the host ends: it may not be reading at all. */
const LAST_ITEM_WITHIN_MS = 1_000;

/** What a viewer is sent. */
export interface View {
  /** Settles when it takes no more: it was given the last item, or is gone. */
  readonly over: Promise<void>;
  /** Ends it. */
  return(): unknown;
}

/** Waits until the viewer has all of a session that is over; of one that was cut short, not for long. */
export async function untilTaken(
  view: View | null,
  ending: SessionEnding,
  { timers }: SessionGround,
): Promise<void> {
  const callOff = view === null || ending === "done"
    ? null
    : timers.after(LAST_ITEM_WITHIN_MS, () => void view.return());
  await view?.over;
  callOff?.();
}

/**
 * Handlers of a session that does one thing: the others refuse.
 *
 * @param action null: it does nothing any more
 */
export function handlersOf(
  { hostName }: SessionGround,
  action: Action | null,
  handlers: Partial<SessionHandlers>,
): SessionHandlers {
  const refuse = (method: string) => (): never => {
    const found = action === null ? "is over" : `was opened for ${action}`;
    throw new ApplicationError(
      "refused_by_host",
      `${hostName} refuses: ${method} in a session that ${found}`,
    );
  };
  return { shell: refuse("shell"), exec: refuse("exec"), connect: refuse("connect"), ...handlers };
}

/** Throws when it is called for the second time: a session has one program. */
export function onlyOnce({ hostName }: SessionGround): () => void {
  let called = false;
  return (): void => {
    if (called) {
      throw new ApplicationError("refused_by_host", `${hostName} refuses: a second program in one session`);
    }
    called = true;
  };
}

/** Words for a viewer whose session is ended by the host; null where there is nobody left to read them. */
export function endedItem(
  { hostName }: SessionGround,
  ending: SessionEnding,
): { readonly ended: "revoked" | "expired" | "agent_stopped"; readonly text: string } | null {
  switch (ending) {
    case "revoked":
      return { ended: ending, text: `${hostName} ended the session: it is not allowed any more` };
    case "expired":
      return { ended: ending, text: `${hostName} ended the session: its time is over` };
    case "agent_stopped":
      return { ended: ending, text: `${hostName} ended the session: its agent stops` };
    default:
      return null;
  }
}

/** Calls `end` when the signal says so, at once where it has said so already. */
export function endOnSignal(signal: AbortSignal, end: (ending: SessionEnding) => void): () => void {
  const listener = (): void => end(signal.reason as SessionEnding);
  if (signal.aborted) {
    queueMicrotask(listener);
    return () => {};
  }
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** Whether a call was given up because the way to its caller broke, and not because the caller wanted so. */
export function isLost(signal: AbortSignal): boolean {
  const reason: unknown = signal.reason;
  if (!(reason instanceof RpcError) || reason.code !== "disconnected") {
    return false;
  }
  return !(reason.cause instanceof ConnectionError && reason.cause.reason === "normal");
}
