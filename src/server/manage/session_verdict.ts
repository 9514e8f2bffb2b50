/** Ends a session that is not allowed any more: its flows at once, and what runs on its host by a call. */
import { HOST_ANSWER_MS } from "./config.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { LiveSession, Viewing } from "./live_sessions.ts";

/** Why a session is not allowed any more. */
export type Verdict = "revoked" | "expired";

/**
 * Ends it. Where the host is not there it is told when it registers; where it does not obey, nothing goes through any
 * more all the same. The row of the end comes from the host.
 *
 * The administrator is told why. Never "revoked": that would read as if he had been shut out, who has only lost this
 * session.
 *
 * @param text what was found, unless the time is over
 */
export function endSession(
  session: LiveSession,
  verdict: Verdict,
  hosts: HostLinks,
  text = "it is not allowed any more",
): void {
  session.verdict = verdict;
  const { viewing, facts } = session;
  // The order first: the host is to know why, before it sees its flow go.
  void orderEnd(hosts.get(facts.hostKey), [facts.id], verdict);
  if (viewing !== null) cut(viewing, verdict, text);
}

/** Settles when the host has obeyed, or cannot. */
export async function orderEnd(
  host: HostLink | undefined,
  sessions: readonly string[],
  ending: Verdict,
): Promise<void> {
  if (host === undefined || sessions.length === 0) return;
  try {
    await host.peer.client.end({ sessions, ending }, { deadlineMs: HOST_ANSWER_MS });
  } catch {
    // Its link breaks: it is told when it registers.
  }
}

function cut({ adminFlow, hostFlow }: Viewing, verdict: Verdict, text: string): void {
  if (verdict === "expired") adminFlow.reset(verdict, "what the policy allowed is over");
  else adminFlow.reset("refused_by_server", text);
  hostFlow.reset(verdict, text);
}
