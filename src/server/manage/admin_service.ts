/** What the server serves to administrators; all of it may be asked of a link whose key is proven and known. */
import {
  type Prepared,
  type serverForAdmin,
  type SessionRow,
} from "../../protocol/manage/control_contract.ts";
import { ApplicationError } from "../../protocol/rpc/errors.ts";
import type { Handlers } from "../../protocol/rpc/contract.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Clock } from "../../system/clock.ts";
import type { AdminLink } from "./admin_links.ts";
import { HOST_ANSWER_MS, MAX_WATCHES_PER_LINK, WATCH_PAUSE_MS } from "./config.ts";
import type { HostLinks } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import { HostWatch } from "./host_watch.ts";
import type { LivePolicy } from "./live_policy.ts";
import type { LiveSessions } from "./live_sessions.ts";
import type { Registry } from "./registry.ts";

/** What the service asks. */
export interface AdminServiceParts {
  readonly registry: Pick<Registry, "hostByName">;
  readonly policy: Pick<LivePolicy, "mayUse">;
  readonly hosts: HostLinks;
  readonly list: HostList;
  readonly sessions: LiveSessions;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** The calls of one administrator's link. */
export function adminHandlers(admin: AdminLink, parts: AdminServiceParts): Handlers<typeof serverForAdmin> {
  const { list, sessions } = parts;
  return {
    hosts: () => list.rowsFor(admin.name),
    watchHosts: (_input, { signal }) => watchHosts(admin, parts, signal),
    prepare: (name) => prepare(name, admin, parts),
    sessions: () => takableSessions(admin, sessions),
  };
}

/** @throws {ApplicationError} "exhausted" */
function watchHosts(admin: AdminLink, parts: AdminServiceParts, signal: AbortSignal): HostWatch {
  const { list, timers } = parts;
  if (admin.watches >= MAX_WATCHES_PER_LINK) {
    throw new ApplicationError(
      "exhausted",
      `one link watches at most ${MAX_WATCHES_PER_LINK} lists of hosts`,
    );
  }
  admin.watches++;
  const ended = (): void => void admin.watches--;
  return new HostWatch({ admin: admin.name, list, timers, pauseMs: WATCH_PAUSE_MS, ended }, signal);
}

/** What is needed to sign an open for a host. */
async function prepare(name: string, admin: AdminLink, parts: AdminServiceParts): Promise<Prepared> {
  const { registry, policy, hosts, list, clock } = parts;
  const member = registry.hostByName(name);
  if (member === null) {
    throw new ApplicationError("unknown_host", `no host is called ${name}${list.nearest(name, admin.name)}`);
  }
  if (!policy.mayUse({ admin: admin.name, host: member }, clock.wallMs())) {
    throw new ApplicationError("refused_by_server", `no rule of policy.toml lets ${admin.name} use ${name}`);
  }
  const host = hosts.online(member.key.toHex());
  if (host === undefined) throw new ApplicationError("offline", list.offlineText(member));
  let challenge: Uint8Array<ArrayBuffer>;
  try {
    challenge = await host.peer.client.challenge(null, { deadlineMs: HOST_ANSWER_MS });
  } catch (error) {
    throw new ApplicationError("offline", `${name} does not answer`, { cause: error });
  }
  return { hostKey: host.key, linkNonce: host.linkNonce, challenge };
}

/** His own, and no other's, even where the policy would let him: what runs in them is somebody's screen. */
function takableSessions(admin: AdminLink, sessions: LiveSessions): SessionRow[] {
  const rows: SessionRow[] = [];
  for (const { facts, viewing, verdict } of sessions.all()) {
    if (!facts.outlivesLink || facts.adminKey !== admin.keyHex || verdict !== null) continue;
    const { id, hostName, openedMs } = facts;
    rows.push({ session: id, host: hostName, openedMs, detached: viewing === null });
  }
  return rows;
}
