/** What the server serves to hosts. A host may be broken into: it is believed what is its own, and nothing else. */
import { signHead } from "../../protocol/manage/audit_head.ts";
import type {
  EndedSession,
  Registered,
  Registration,
  serverForHost,
  SignedHead,
} from "../../protocol/manage/control_contract.ts";
import { ResetError } from "../../protocol/manage/reset_code.ts";
import type { SigningKey } from "../../protocol/manage/signing_key.ts";
import type { Handlers } from "../../protocol/rpc/contract.ts";
import { ApplicationError } from "../../protocol/rpc/errors.ts";
import type { HostLink } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import type { Journal } from "./journal.ts";
import type { LiveSessions } from "./live_sessions.ts";
import type { Registry } from "./registry.ts";

/** What the service asks and tells. */
export interface HostServiceParts {
  readonly registry: Pick<Registry, "sessionEnded" | "notePinned">;
  readonly sessions: LiveSessions;
  readonly list: HostList;
  readonly journal: Journal;
  readonly serverKey: SigningKey;
  /** The host has said who it is: from now on it is online. */
  readonly registered: (host: HostLink) => void;
  /** The host has stored the pins of that generation. */
  readonly pinned: (host: HostLink, generation: number) => void;
}

/** The calls of one host's link. */
export function hostHandlers(host: HostLink, parts: HostServiceParts): Handlers<typeof serverForHost> {
  return {
    register: (registration) => register(host, registration, parts),
    ended: (ended) => noteEnd(host, ended, parts),
    pinned: (generation) => {
      requireRegistered(host);
      parts.pinned(host, generation);
      return null;
    },
  };
}

function register(host: HostLink, registration: Registration, parts: HostServiceParts): Registered {
  if (host.registration !== null) throw new ApplicationError("malformed", "a link registers once");
  host.registration = registration;
  parts.registered(host);
  return { end: parts.sessions.notAllowed(host.keyHex, registration.sessions) };
}

/**
 * The end of a session: durable, then acknowledged. The host repeats it until it is, so the same one may come again.
 * Numbers are the host's word, and may be lies; whose session it is, and that it was opened, is not.
 */
async function noteEnd(host: HostLink, ended: EndedSession, parts: HostServiceParts): Promise<SignedHead> {
  const { registry, sessions, list, journal, serverKey } = parts;
  requireRegistered(host);
  let head: SignedHead;
  try {
    head = await signHead(registry.sessionEnded(host.key, ended), serverKey);
  } catch (error) {
    if (error instanceof ResetError) throw new ApplicationError(error.code, error.message, { cause: error });
    journal.failed("end of a session not written", error, { session: ended.session, host: host.name });
    throw new ApplicationError("not_audited", "the row could not be written, tell it again later");
  }
  const session = sessions.get(ended.session);
  if (session?.facts.hostKey === host.keyHex) {
    journal.sessionEnded(ended.session, host.name, ended.ending);
    sessions.remove(session);
    list.changed();
    void session.lastAdmin?.ended(head);
  }
  return head;
}

function requireRegistered(host: HostLink): void {
  if (host.registration === null) throw new ApplicationError("malformed", "a host registers first of all");
}
