/** The whole life of a link, from the moment in which it stands. */
import { controlPeer } from "../../protocol/manage/control_flow.ts";
import type { ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import type { SigningKey } from "../../protocol/manage/signing_key.ts";
import type { PeerEvent } from "../../protocol/rpc/peer.ts";
import type { Timers } from "../../protocol/rpc/timers.ts";
import type { Clock } from "../../system/clock.ts";
import type { Log } from "../../system/log.ts";
import { AdminLink, type AdminLinks } from "./admin_links.ts";
import { adminHandlers } from "./admin_service.ts";
import { MAX_LINKS_PER_ADMIN, REGISTER_TIME_MS } from "./config.ts";
import { HostLink, type HostLinks } from "./host_links.ts";
import type { HostList } from "./host_list.ts";
import { hostHandlers } from "./host_service.ts";
import type { Journal } from "./journal.ts";
import type { LatencyRounds } from "./latency_rounds.ts";
import type { LivePolicy } from "./live_policy.ts";
import type { LiveSessions } from "./live_sessions.ts";
import { endMissingSessions } from "./missing_sessions.ts";
import type { PinsHandout } from "./pins_handout.ts";
import type { PresenceNotes } from "./presence_notes.ts";
import type { Received } from "./reception.ts";
import type { Registry } from "./registry.ts";
import type { SessionRouter } from "./session_router.ts";

/** What links need of the server. */
export interface LinkLivesParts {
  readonly registry: Registry;
  readonly policy: LivePolicy;
  readonly hosts: HostLinks;
  readonly admins: AdminLinks;
  readonly sessions: LiveSessions;
  readonly list: HostList;
  readonly presence: PresenceNotes;
  readonly pins: PinsHandout;
  readonly latency: LatencyRounds;
  readonly router: SessionRouter;
  readonly journal: Journal;
  readonly serverKey: SigningKey;
  readonly log: Log;
  readonly clock: Clock;
  readonly timers: Timers;
}

export class LinkLives {
  readonly #parts: LinkLivesParts;
  #isStopping = false;

  constructor(parts: LinkLivesParts) {
    this.#parts = parts;
  }

  /** The server ends: of thousands of links nothing is written any more. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Serves a link until it ends. */
  async serve(received: Received): Promise<void> {
    const { role, link } = received, refusal = this.#refusal(received);
    if (refusal !== null) {
      link.close(...refusal);
      await link.closed;
    } else if (role === "host") await this.#serveHost(received);
    else await this.#serveAdmin(received);
  }

  /**
   * Asked once more, in the turn in which the link is listed among the others: since the proof somebody may have been
   * revoked, or have made other links, and the dialler decides how long this one is in the making.
   */
  #refusal({ role, key, name }: Received): readonly [ResetCode, string] | null {
    const { registry, admins } = this.#parts;
    const isHost = role === "host", member = isHost ? registry.hostByKey(key) : registry.adminByKey(key);
    if (member === null) return ["revoked", `${name} was revoked`];
    return isHost || admins.countOf(key.toHex()) < MAX_LINKS_PER_ADMIN
      ? null
      : ["exhausted", `${name} has ${MAX_LINKS_PER_ADMIN} links, more are not allowed`];
  }

  async #serveHost(received: Received): Promise<void> {
    const { hosts, timers, registry, presence, list, log } = this.#parts;
    const { link, name, address, key } = received;
    const host = new HostLink({ ...received, timers, serve: (host) => this.#hostPeer(host, received) });
    received.takeFlows(refuseFlow);
    hosts.add(host);
    const callOff = timers.after(
      REGISTER_TIME_MS,
      () => host.registration ?? link.close("silent", "the host did not register in time"),
    );
    void closeWith(host);
    const reason = reasonOf(await link.closed);
    callOff();
    hosts.remove(host);
    if (host.registration === null || this.#isStopping) return;
    log.info("link_down", { host: name, address, reason });
    if (hosts.get(host.keyHex) !== undefined) return;
    list.gone(host);
    presence.add(() => {
      // A ghost whose successor came meanwhile was never away.
      const isAway = reason !== "replaced" || hosts.get(host.keyHex) === undefined;
      if (isAway) registry.noteOffline(key, { reason, address });
    });
  }

  #hostPeer(host: HostLink, { control }: Received): HostLink["peer"] {
    const { pins } = this.#parts;
    const handlers = hostHandlers(host, {
      ...this.#parts,
      registered: (host) => this.#registered(host),
      pinned: (host, generation) => pins.pinned(host, generation),
    });
    return controlPeer(control, { role: "listener", side: "host", handlers, ...this.#peerParts() });
  }

  #registered(host: HostLink): void {
    const { clock, registry, presence, log, list, pins, latency } = this.#parts;
    const { registration, key, name, address } = host;
    if (registration === null) return;
    const { version, system, pinsGeneration } = registration;
    host.onlineSinceMs = Math.floor(clock.wallMs());
    presence.add(() => registry.noteOnline(key, { version, system, pinsGeneration, address }));
    log.info("link_up", { host: name, address, version });
    list.changed();
    pins.toHost(host);
    latency.add(host);
    endMissingSessions(host, this.#parts);
  }

  async #serveAdmin(received: Received): Promise<void> {
    const { admins, journal, router, pins } = this.#parts;
    const { link, address, pinsGeneration } = received;
    const admin = new AdminLink({ ...received, serve: (admin) => this.#adminPeer(admin, received) });
    admins.add(admin);
    journal.linkUp(received, address);
    const routes = new Set<Promise<void>>();
    received.takeFlows((flow) => {
      const route = router.route(admin, flow);
      routes.add(route);
      void route.then(() => routes.delete(route));
    });
    void pins.toAdmin(admin, pinsGeneration);
    void closeWith(admin);
    const ended = await link.closed;
    admins.remove(admin);
    if (!this.#isStopping) journal.linkDown(received, address, reasonOf(ended));
    await Promise.all(routes);
  }

  #adminPeer(admin: AdminLink, { control }: Received): AdminLink["peer"] {
    const handlers = adminHandlers(admin, this.#parts);
    return controlPeer(control, { role: "listener", side: "administrator", handlers, ...this.#peerParts() });
  }

  #peerParts(): { readonly timers: Timers; readonly onEvent: (event: PeerEvent) => void } {
    const { timers, journal } = this.#parts;
    return {
      timers,
      onEvent: ({ method, error }) => journal.failed("a call failed", error, { method }),
    };
  }
}

/** A link and its control flow: neither is of use without the other. */
async function closeWith({ peer, link }: Pick<HostLink | AdminLink, "peer" | "link">): Promise<void> {
  const { reason, by, message } = await peer.closed;
  const isInOrder = reason === "normal" || reason === "lost" || reason === "aborted" || by === "there";
  if (isInOrder) link.close("cancelled", "the control flow ended");
  else link.close("malformed", `the control flow: ${message}`);
}

/** In the words of the audit: who hung up in order has lost nothing. */
function reasonOf({ code, by }: ResetError): ResetCode | "closed" {
  return code === "cancelled" && by === "there" ? "closed" : code;
}

/** Nobody but an administrator opens sessions. */
function refuseFlow(flow: IncomingFlow): void {
  flow.refuse("malformed", "a host opens no sessions");
}
