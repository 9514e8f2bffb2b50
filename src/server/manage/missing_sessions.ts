/**
 * Sessions whose end nobody would ever tell: the server was killed between the row of an open and the host's answer, or
 * the host lost its own notes. A host says at its registration what runs there, and tells right afterwards of what has
 * ended meanwhile; what is in neither after a while is over, and would be counted as open for ever.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { HostLink, HostLinks } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import type { Journal } from "./journal.ts";
import type { LiveSession, LiveSessions } from "./live_sessions.ts";
import type { Registry } from "./registry.ts";

/** Time that a host has to tell of ends that it has kept. */
export const TELL_ENDS_MS = 60_000;

/** What is asked and told. */
export interface MissingParts {
  readonly registry: Pick<Registry, "sessionEnded">;
  readonly hosts: Pick<HostLinks, "get">;
  readonly sessions: LiveSessions;
  readonly list: Pick<HostList, "changed">;
  readonly journal: Journal;
  readonly timers: Timers;
}

/** Ends, in a while, what a host that has just registered does not have. */
export function endMissingSessions(host: HostLink, parts: MissingParts): void {
  const running = new Set(host.registration?.sessions.map(({ session }) => session));
  const missing = [...parts.sessions.ofHost(host.keyHex)].filter(({ facts }) => !running.has(facts.id));
  if (missing.length === 0) return;
  const callOff = parts.timers.after(TELL_ENDS_MS, () => {
    // Its next link says again what runs there.
    if (parts.hosts.get(host.keyHex) === host) missing.forEach((session) => endMissing(session, host, parts));
  });
  void host.link.closed.then(callOff);
}

function endMissing(session: LiveSession, host: HostLink, parts: MissingParts): void {
  const { registry, sessions, list, journal } = parts, { id } = session.facts;
  if (sessions.get(id) !== session || session.viewing !== null) return;
  const ended = {
    session: id,
    ending: "lost",
    exitCode: null,
    bytesIn: 0,
    bytesOut: 0,
    durationMs: 0,
  } as const;
  try {
    registry.sessionEnded(host.key, ended);
  } catch (error) {
    return journal.failed("end of a session not written", error, { session: id });
  }
  journal.sessionEnded(id, host.name, ended.ending);
  sessions.remove(session);
  list.changed();
}
