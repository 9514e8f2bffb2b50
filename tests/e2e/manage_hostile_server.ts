/**
 * A management server in the hands of an attacker, who has its whole folder: it proves itself with the real keys, knows
 * the real registry, and does whatever a test tells it to. What it does not have is anybody else's private key.
 */
import { signHead } from "../../src/protocol/manage/audit_head.ts";
import type {
  adminForServer,
  EndedSession,
  hostForServer,
  HostRow,
  Prepared,
  SignedHead,
} from "../../src/protocol/manage/control_contract.ts";
import { controlPeer } from "../../src/protocol/manage/control_flow.ts";
import type { FlowConnection } from "../../src/protocol/manage/flow_connection.ts";
import { acceptLink, type ProvenDialler } from "../../src/protocol/manage/link_handshake.ts";
import { ResetError } from "../../src/protocol/manage/reset_code.ts";
import type { IncomingFlow, OpenedFlow, RunningLink } from "../../src/protocol/manage/running_link.ts";
import {
  answerForAdmin,
  decodeOpen,
  openForHost,
  type SessionOpen,
} from "../../src/protocol/manage/session_open.ts";
import { ApplicationError } from "../../src/protocol/rpc/errors.ts";
import type { Peer } from "../../src/protocol/rpc/peer.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import type { Connection, Listener } from "../../src/protocol/transport/transport.ts";
import { parseListenAddress } from "../../src/server/knock/listen_address.ts";
import { dataFolder } from "../../src/server/manage/data_folder.ts";
import { bindLinkListener } from "../../src/server/manage/listener.ts";
import { Registry } from "../../src/server/manage/registry.ts";
import { loadServerIdentity, type ServerIdentity } from "../../src/server/manage/server_identity.ts";
import { HostileWire, type Tamper } from "./manage_hostile_wire.ts";

const HASH_BYTES = 32;
const HANDSHAKE_MS = 5_000;
/** Above all that the real server has written. */
const FIRST_HEAD = 1_000_000;

/** A host as the attacker has it. */
export interface HostEnd {
  readonly name: string;
  /** 32 bytes. */
  readonly key: Uint8Array<ArrayBuffer>;
  /** 32 bytes, of this link. */
  readonly linkNonce: Uint8Array<ArrayBuffer>;
  readonly link: RunningLink;
  readonly peer: Peer<typeof hostForServer>;
  /** What it has told of the ends of sessions. */
  readonly ended: EndedSession[];
}

/** An administrator's program as the attacker has it. */
export interface AdminEnd {
  readonly name: string;
  readonly link: RunningLink;
  readonly peer: Peer<typeof adminForServer>;
}

/** What it does otherwise than an honest one. */
export interface Wiles {
  /** What administrators are told of the hosts there are. */
  readonly rows?: readonly HostRow[];
  /** What administrators are told to sign for. */
  readonly prepared?: (honest: Prepared) => Prepared;
  /** Takes an open itself, and does not pass it on. */
  readonly takeOpen?: (flow: IncomingFlow, open: SessionOpen) => Promise<void>;
  /** What the administrator gets in the place of the host's answer. */
  readonly answer?: (honest: Uint8Array<ArrayBuffer>, open: SessionOpen) => Promise<Uint8Array<ArrayBuffer>>;
  /** What both get as the head of the audit. */
  readonly head?: () => Promise<SignedHead>;
  /** What becomes of records on their way to the host, and back. */
  readonly toHost?: Tamper;
  readonly toAdmin?: Tamper;
  /** Whether a host is not told when the administrator has gone. */
  readonly keepsHost?: boolean;
}

/** The server. */
export class HostileServer implements AsyncDisposable {
  readonly identity: ServerIdentity;
  /** By name; the newest link of each. */
  readonly hosts = new Map<string, HostEnd>();
  readonly admins: AdminEnd[] = [];
  /** Every open that came, as it came. */
  readonly opens: Uint8Array<ArrayBuffer>[] = [];
  /** Every session that was passed on. */
  readonly wires: HostileWire[] = [];
  wiles: Wiles = {};
  readonly #registry: Registry;
  readonly #listener: Listener;
  readonly #work = new Set<Promise<unknown>>();
  #headNumber = FIRST_HEAD;

  private constructor(registry: Registry, identity: ServerIdentity) {
    this.#registry = registry;
    this.identity = identity;
    const tls = { certificate: identity.tlsCertificate, key: identity.tlsKey };
    const address = parseListenAddress("127.0.0.1:0");
    if (address === null) throw new TypeError("no address");
    this.#listener = bindLinkListener(address, tls, () => {});
    this.#track(this.#accept());
  }

  /** Of a stolen folder. */
  static async start(folder: string): Promise<HostileServer> {
    const stolen = dataFolder(folder);
    const registry = await Registry.open(stolen);
    return new HostileServer(registry, await loadServerIdentity(stolen, registry));
  }

  get port(): number {
    return Number(this.#listener.address.split(":").at(-1));
  }

  /** Names and public keys of all hosts, out of the registry. */
  keysOfHosts(): (readonly [name: string, key: Uint8Array<ArrayBuffer>])[] {
    return this.#registry.hosts().map(({ name, key }) => [name, key]);
  }

  /** A host that is linked. */
  host(name: string): HostEnd {
    const host = this.hosts.get(name);
    if (host === undefined) throw new Error(`${name} is not linked`);
    return host;
  }

  /** A head as the server's own key signs it, of the next number or any other. */
  async head(number = ++this.#headNumber): Promise<SignedHead> {
    return await signHead({ number, hash: random(HASH_BYTES) }, this.identity.serverKey);
  }

  /** Sends an open to a host, in the name of whom it likes. */
  async sendOpen(hostName: string, open: Uint8Array, adminName = "alice"): Promise<OpenedFlow> {
    const head = await (this.wiles.head?.() ?? this.head());
    return await this.host(hostName).link.open("session", openForHost(adminName, head, open));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const { link } of [...this.hosts.values(), ...this.admins]) {
      link.close("shutting_down", "it is over");
    }
    while (this.#work.size > 0) await Promise.all(this.#work);
    this.#registry.close();
  }

  #track(work: Promise<unknown>): void {
    const quiet = work.catch(() => {}).finally(() => this.#work.delete(quiet));
    this.#work.add(quiet);
  }

  async #accept(): Promise<void> {
    for (;;) {
      const connection = await this.#listener.accept();
      if (connection === null) return;
      this.#track(this.#serve(connection));
    }
  }

  async #serve(connection: Connection): Promise<void> {
    const proven = await acceptLink(connection, {
      serverKey: this.identity.serverKey,
      serverCertificate: this.identity.tlsCertificateDer,
      timers,
      random,
      timeoutMs: HANDSHAKE_MS,
    });
    const { role, key } = proven;
    const member = role === "host" ? this.#registry.hostByKey(key) : this.#registry.adminByKey(key);
    // An attacker lets in whom he likes.
    const name = member?.name ?? "mallory";
    if (role === "host") await this.#serveHost(proven, name);
    else await this.#serveAdmin(proven, name);
  }

  async #serveHost(proven: ProvenDialler, name: string): Promise<void> {
    const { link, control } = await proven.accept({ name, onOpen: (flow) => flow.refuse("malformed", "") });
    const ended: EndedSession[] = [];
    const registered = Promise.withResolvers<void>();
    const peer = controlPeer(control, {
      role: "listener",
      side: "host",
      handlers: {
        register: () => {
          registered.resolve();
          return { end: [] };
        },
        ended: async (session) => {
          ended.push(session);
          return await this.head();
        },
        pinned: () => null,
      },
      timers,
    });
    await Promise.race([registered.promise, link.closed]);
    this.hosts.set(name, { name, key: proven.key, linkNonce: proven.linkNonce, link, peer, ended });
    await peer.closed;
  }

  async #serveAdmin(proven: ProvenDialler, name: string): Promise<void> {
    const { link, control } = await proven.accept({
      name,
      onOpen: (flow) => this.#track(this.#route(flow, name)),
    });
    const peer = controlPeer(control, {
      role: "listener",
      side: "administrator",
      handlers: {
        hosts: () => this.wiles.rows ?? [],
        watchHosts: () => nothing(),
        prepare: (host) => this.#prepare(host),
        sessions: () => [],
      },
      timers,
    });
    this.admins.push({ name, link, peer });
    await peer.closed;
  }

  async #prepare(name: string): Promise<Prepared> {
    const host = this.hosts.get(name);
    if (host === undefined) throw new ApplicationError("unknown_host", "no such host");
    const challenge = await host.peer.client.challenge(null);
    const honest = { hostKey: host.key, linkNonce: host.linkNonce, challenge };
    return this.wiles.prepared?.(honest) ?? honest;
  }

  async #route(flow: IncomingFlow, adminName: string): Promise<void> {
    this.opens.push(flow.parameters);
    const open = decodeOpen(flow.parameters);
    if (this.wiles.takeOpen !== undefined) return await this.wiles.takeOpen(flow, open);
    const [host] = [...this.hosts.values()].filter(({ key }) => key.toHex() === open.hostKey.toHex());
    if (host === undefined) return flow.refuse("unknown_host", "no host has this key");
    try {
      const opened = await this.sendOpen(host.name, open.bytes, adminName);
      await this.#join(opened, await this.#answered(flow, opened.parameters, open));
    } catch (error) {
      if (error instanceof ResetError) flow.refuse(error.code, error.message);
      else throw error;
    }
  }

  async #answered(
    flow: IncomingFlow,
    honest: Uint8Array<ArrayBuffer>,
    open: SessionOpen,
  ): Promise<FlowConnection> {
    const answer = await (this.wiles.answer?.(honest, open) ?? honest);
    return flow.accept(answerForAdmin(answer, await (this.wiles.head?.() ?? this.head())));
  }

  async #join({ connection: host, parameters: answer }: OpenedFlow, admin: FlowConnection): Promise<void> {
    const { toHost, toAdmin, keepsHost = false } = this.wiles;
    const wire = new HostileWire({ host, admin, answer, toHost, toAdmin, keepsHost });
    this.wires.push(wire);
    await wire.carry();
  }
}

async function* nothing(): AsyncGenerator<never> {}
