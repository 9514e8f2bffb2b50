/** A management server for tests of the agent: one process, connections over memory, no files, everything scriptable. */
import { signHead } from "../../../src/protocol/manage/audit_head.ts";
import type {
  EndedSession,
  Pins,
  Registration,
  serverForHost,
  SignedHead,
} from "../../../src/protocol/manage/control_contract.ts";
import { hostForServer } from "../../../src/protocol/manage/control_contract.ts";
import { controlPeer } from "../../../src/protocol/manage/control_flow.ts";
import { acceptLink, type ProvenDialler } from "../../../src/protocol/manage/link_handshake.ts";
import type { ResetCode } from "../../../src/protocol/manage/reset_code.ts";
import type { RunningLink } from "../../../src/protocol/manage/running_link.ts";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import type { hostForAdmin } from "../../../src/protocol/manage/session_contract.ts";
import { sessionPeer } from "../../../src/protocol/manage/session_flow.ts";
import { SessionExchange, sessionKeys } from "../../../src/protocol/manage/session_keys.ts";
import {
  decodeOpen,
  type OpenFields,
  openForHost,
  signOpen,
  verifyAnswer,
} from "../../../src/protocol/manage/session_open.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import type { Handlers } from "../../../src/protocol/rpc/contract.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { PinnedConnection, PinnedDial } from "../../../src/protocol/transport/pinned_tls.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { until } from "../../e2e/until.ts";

/** A session as its administrator has it. */
export interface StandInSession {
  readonly session: string;
  readonly peer: Peer<typeof hostForAdmin>;
  readonly flow: FlowConnection;
}

/** One link of a host. */
export interface StandInLink {
  readonly dialler: ProvenDialler;
  readonly link: RunningLink;
  readonly control: Peer<typeof hostForServer>;
}

/** The server. */
export class StandInServer {
  readonly key: SigningKey;
  readonly certificate: Uint8Array<ArrayBuffer> = new TextEncoder().encode("a certificate");
  readonly registrations: Registration[] = [];
  readonly ended: EndedSession[] = [];
  readonly pinned: number[] = [];
  readonly dialled: PinnedDial[] = [];
  /** Links that stand or stood. */
  readonly links: StandInLink[] = [];
  /** What a dialler is refused with. */
  refusal: { code: ResetCode; text: string } | null = null;
  /** Sessions to be ended, told at `register`. */
  endAtRegister: string[] = [];
  /** Whether `ended` fails. */
  takesRows = true;
  /** Whether nobody can connect. */
  isDown = false;
  hostName = "web1";
  headNumber = 0;
  readonly #connections: Connection[] = [];

  private constructor(key: SigningKey) {
    this.key = key;
  }

  static async create(): Promise<StandInServer> {
    return new StandInServer(await SigningKey.generate(systemRandomBytes));
  }

  /** What the agent dials with. */
  readonly dialTls = (dial: PinnedDial): Promise<PinnedConnection> => {
    this.dialled.push(dial);
    if (this.isDown) return Promise.reject(new Error("nobody is there"));
    const [near, far] = memoryPair();
    this.#connections.push(far);
    void this.#accept(far);
    return Promise.resolve({ connection: near, certificate: this.certificate });
  };

  async #accept(connection: Connection): Promise<void> {
    try {
      const dialler = await acceptLink(connection, {
        serverKey: this.key,
        serverCertificate: this.certificate,
        timers: systemTimers,
        random: systemRandomBytes,
        timeoutMs: 5000,
      });
      if (this.refusal !== null) return await dialler.refuse(this.refusal.code, this.refusal.text);
      const { link, control } = await dialler.accept({
        name: this.hostName,
        onOpen: (flow) => flow.refuse("malformed", "hosts open no sessions"),
      });
      const peer = controlPeer(control, {
        role: "listener",
        side: "host",
        handlers: this.#handlers(),
        timers: systemTimers,
      });
      this.links.push({ dialler, link, control: peer });
    } catch {
      connection.close();
    }
  }

  #handlers(): Handlers<typeof serverForHost> {
    return {
      register: (registration) => {
        this.registrations.push(registration);
        return { end: this.endAtRegister };
      },
      ended: async (row) => {
        if (!this.takesRows) throw new Error("the disk is full");
        this.ended.push(row);
        return await this.head();
      },
      pinned: (generation) => {
        this.pinned.push(generation);
        return null;
      },
    };
  }

  /** The next head of the audit, signed. */
  async head(number: number = ++this.headNumber, fill = number): Promise<SignedHead> {
    return await signHead({ number, hash: new Uint8Array(32).fill(fill) }, this.key);
  }

  /** The link that stands, once it does and is registered. */
  linked(count = 1): Promise<StandInLink> {
    return until(
      `${count} links stand`,
      () => this.registrations.length >= count ? this.links[count - 1] : undefined,
    );
  }

  /** Hands new pins to a host. */
  pin(pins: Pins, link: StandInLink): Promise<null> {
    return link.control.client.pin(pins);
  }

  /** Opens a session as an administrator would by way of this server; `change` makes it a wrong one. */
  async open(
    link: StandInLink,
    admin: SigningKey,
    fields: Partial<OpenFields> & Pick<OpenFields, "action">,
    options: {
      adminName?: string;
      head?: SignedHead;
      signal?: AbortSignal;
      change?: (open: Uint8Array<ArrayBuffer>) => void;
    } = {},
  ): Promise<StandInSession> {
    const exchange = await SessionExchange.create(systemRandomBytes);
    const bytes = await signOpen({
      outlivesLink: false,
      session: systemRandomBytes(8).toHex(),
      hostKey: link.dialler.key,
      linkNonce: link.dialler.linkNonce,
      challenge: fields.challenge ?? await link.control.client.challenge(null),
      expiresMs: 30_000,
      ephemeral: exchange.publicKey,
      targets: fields.action === "forward" ? ["localhost:*"] : [],
      ...fields,
    }, admin);
    const open = decodeOpen(bytes);
    options.change?.(bytes);
    const { adminName = "alice", head = await this.head() } = options;
    const opened = await link.link.open("session", openForHost(adminName, head, bytes), {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    const theirs = await verifyAnswer(open, opened.parameters);
    const keys = sessionKeys(await exchange.agree(theirs), open.bytes, opened.parameters);
    const peer = sessionPeer(opened.connection, keys, { side: "administrator", timers: systemTimers });
    return { session: open.session, peer, flow: opened.connection };
  }

  /** Cuts every connection, as a power cut of the server would. */
  cut(): void {
    for (const connection of this.#connections.splice(0)) connection.close();
  }
}
