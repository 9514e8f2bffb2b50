/**
 * From an accepted connection to a link, or to its end:
 *
 * ```
 *   TLS, hello, prove --> link: is the key known? -- no ---> authentication, or revoked
 *                    +--> join: the token? --------- no ---> token
 *                    +--> a host: has a living link its key? -- yes --> in_use
 *   known --> control flow, with the name --> a link of a host or of an administrator
 * ```
 *
 * Until the proof is there nothing is looked up, and whoever fails learns no more than that.
 */
import type { RunningLink } from "../../protocol/manage/running_link.ts";
import { acceptLink, type ProvenDialler } from "../../protocol/manage/link_handshake.ts";
import { type ResetCode, ResetError } from "../../protocol/manage/reset_code.ts";
import type { FlowConnection } from "../../protocol/manage/flow_connection.ts";
import type { IncomingFlow } from "../../protocol/manage/running_link.ts";
import { fingerprint, type SigningKey } from "../../protocol/manage/signing_key.ts";
import type { RandomBytes, Timers } from "../../protocol/rpc/timers.ts";
import { LogThrottle } from "../../system/log_throttle.ts";
import type { AdminLinks } from "./admin_links.ts";
import { MAX_LINKS_PER_ADMIN, MAX_MEMBERS, UNPROVEN_LIMITS } from "./config.ts";
import type { HostLinks } from "./host_links.ts";
import type { Journal } from "./journal.ts";
import type { MemberRole, Registry } from "./registry.ts";
import type { Arrival, UnprovenLinks } from "./unproven_links.ts";

/** Somebody whose link stands. */
export interface Received {
  readonly role: MemberRole;
  readonly name: string;
  /** 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** 32 bytes. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  /** Generation of the pins that it has stored. */
  readonly pinsGeneration: number;
  /** IP address and port. */
  readonly address: string;
  readonly link: RunningLink;
  readonly control: FlowConnection;
  /** From now on flows of its own go here; those that came before go here at once. */
  takeFlows(take: (flow: IncomingFlow) => void): void;
}

/** What the reception asks and tells. */
export interface ReceptionParts {
  readonly registry: Pick<Registry, "hostByKey" | "adminByKey" | "wasRevoked" | "bindToken">;
  readonly unproven: UnprovenLinks;
  readonly hosts: HostLinks;
  readonly admins: AdminLinks;
  readonly journal: Journal;
  readonly serverKey: SigningKey;
  /** DER. */
  readonly serverCertificate: Uint8Array<ArrayBuffer>;
  readonly timers: Timers;
  readonly random: RandomBytes;
  /** Somebody has joined: a member of the same name may have been replaced. */
  readonly joined: () => void;
}

interface Known {
  readonly role: MemberRole;
  readonly name: string;
  readonly pinsGeneration: number;
}

/** Tokens that one network may show; each one that is refused may be a row. */
const JOINS = { perKey: { burst: 20, perMs: 6_000 }, maxKeys: 4_096 };
/** Links that one host may have made: each one is two rows, and a host may be broken into. */
const HOST_LINKS = { perKey: { burst: 20, perMs: 4_000 }, maxKeys: 2 * MAX_MEMBERS };

export class Reception {
  readonly #parts: ReceptionParts;
  readonly #joins = new LogThrottle(JOINS);
  readonly #hostLinks = new LogThrottle(HOST_LINKS);

  constructor(parts: ReceptionParts) {
    this.#parts = parts;
  }

  /** Null: there is no link, the connection is closed, and whoever is to know of it knows. */
  async receive(arrival: Arrival): Promise<Received | null> {
    let proven: ProvenDialler;
    try {
      proven = await this.#prove(arrival);
    } catch (error) {
      this.#unproven(arrival, error);
      return null;
    }
    let known: Known | null = null;
    try {
      known = this.#know(arrival, proven);
      this.#parts.unproven.remember(arrival);
      await this.#requirePlace(arrival, proven, known);
      return await this.#link(arrival, proven, known);
    } catch (error) {
      await this.#refuse(arrival, proven, known, error);
      return null;
    }
  }

  async #prove({ connection }: Arrival): Promise<ProvenDialler> {
    const { serverKey, serverCertificate, timers, random } = this.#parts;
    return await acceptLink(connection, {
      serverKey,
      serverCertificate,
      timers,
      random,
      timeoutMs: UNPROVEN_LIMITS.timeMs,
    });
  }

  /** @throws {ResetError} "authentication", "revoked", "token", "exhausted" */
  #know({ address, network }: Arrival, { kind, role, key, secretHash }: ProvenDialler): Known {
    const { registry, joined } = this.#parts;
    if (kind === "join") {
      if (secretHash === null) throw refused("token", "there is no token");
      if (!this.#joins.take(network, this.#nowMs()).log) {
        throw refused("exhausted", "too many tokens from this address, wait a minute");
      }
      const bound = registry.bindToken({ secretHash, role, key, address });
      if ("refused" in bound) throw refused(bound.refused, bound.text);
      joined();
    }
    const member = role === "host" ? registry.hostByKey(key) : registry.adminByKey(key);
    if (member !== null) return member;
    if (registry.wasRevoked(role, key)) throw refused("revoked", "this key was revoked");
    throw refused("authentication", "this key is not known here");
  }

  async #requirePlace({ address }: Arrival, { key }: ProvenDialler, { role, name }: Known): Promise<void> {
    const { hosts, admins, journal } = this.#parts;
    const keyHex = key.toHex();
    if (role === "administrator") {
      if (admins.countOf(keyHex) < MAX_LINKS_PER_ADMIN) return;
      throw refused("exhausted", `${name} has ${MAX_LINKS_PER_ADMIN} links, more are not allowed`);
    }
    if (!this.#hostLinks.take(keyHex, this.#nowMs()).log) {
      throw refused("exhausted", `${name} links too often, wait a minute`);
    }
    const claim = await hosts.claim(keyHex);
    if (claim.kind === "free") return;
    if (claim.kind === "held") {
      journal.linkContested(name, claim.holder.address, address);
      throw refused("in_use", `another link from ${claim.holder.address} has this key, and answers`);
    }
    throw refused("replaced", "a newer link with this key came meanwhile");
  }

  async #link(arrival: Arrival, proven: ProvenDialler, known: Known): Promise<Received> {
    const { role, name, pinsGeneration } = known;
    // Flows that come in one packet with the control flow are there before anybody can take them.
    let waiting: IncomingFlow[] | null = [];
    let take = (flow: IncomingFlow): void => void waiting?.push(flow);
    const { link, control } = await proven.accept({ name, onOpen: (flow) => take(flow) });
    const { key, linkNonce } = proven;
    const { address } = arrival;
    return {
      role,
      name,
      key,
      linkNonce,
      pinsGeneration,
      address,
      link,
      control,
      takeFlows(taker): void {
        take = taker;
        const early = waiting ?? [];
        waiting = null;
        for (const flow of early) taker(flow);
      },
    };
  }

  #unproven({ connection, address }: Arrival, error: unknown): void {
    connection.close();
    const { journal } = this.#parts;
    if (error instanceof ResetError && error.code !== "lost" && error.code !== "cancelled") {
      journal.linkRefused({ reason: error.code, address });
    } else {
      journal.hungUp(address);
    }
  }

  /** Waits until it has been told: so long it takes one of the places of those who have proven nothing. */
  async #refuse(
    { address }: Arrival,
    proven: ProvenDialler,
    known: Known | null,
    error: unknown,
  ): Promise<void> {
    const { journal } = this.#parts;
    if (!(error instanceof ResetError)) {
      journal.failed("link not made", error, { address });
      return await proven.refuse("internal", "the server failed, its log says why");
    }
    // Of a link that is contested there is a row already.
    if (known !== null && error.code !== "in_use") {
      journal.linkRefused({ reason: error.code, address, side: known });
    } else if (known === null) {
      journal.linkRefused({ reason: error.code, address, fingerprint: fingerprint(proven.key) });
    }
    await proven.refuse(error.code, error.message);
  }

  #nowMs(): number {
    return this.#parts.timers.monotonicMs();
  }
}

function refused(code: ResetCode, text: string): ResetError {
  return new ResetError(code, "here", text);
}
