/**
 * A management server with its hosts, for tests of what administrators run: the real link protocol over real TLS, and
 * behind it no registry, no policy and no other machine. Each host answers opens with its own key.
 */
import type { ManageFolder } from "../../../src/client/manage/manage_folder.ts";
import { type SignedHead } from "../../../src/protocol/manage/control_contract.ts";
import { signHead } from "../../../src/protocol/manage/audit_head.ts";
import type { adminForServer, HostRow, SessionRow } from "../../../src/protocol/manage/control_contract.ts";
import { controlPeer } from "../../../src/protocol/manage/control_flow.ts";
import { formatJoinToken, tokenHash } from "../../../src/protocol/manage/join_token.ts";
import { acceptLink, type ProvenDialler } from "../../../src/protocol/manage/link_handshake.ts";
import type { ResetCode } from "../../../src/protocol/manage/reset_code.ts";
import type { IncomingFlow, RunningLink } from "../../../src/protocol/manage/running_link.ts";
import type { hostForAdmin } from "../../../src/protocol/manage/session_contract.ts";
import { sessionPeer } from "../../../src/protocol/manage/session_flow.ts";
import { SessionExchange, sessionKeys } from "../../../src/protocol/manage/session_keys.ts";
import {
  answerForAdmin,
  answerOpen,
  decodeOpen,
  type SessionOpen,
  verifyOpen,
} from "../../../src/protocol/manage/session_open.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import type { Handlers } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError } from "../../../src/protocol/rpc/errors.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../../src/protocol/rpc/timers.ts";
import { tls } from "../../../src/protocol/transport/tls.ts";
import type { Connection, Listener } from "../../../src/protocol/transport/transport.ts";
import { type PinnedCertificates, pinnedCertificates } from "../../protocol/transport/pinned_certificates.ts";

/** What a host does with a session; a method that is missing is refused. */
export type HostHandlers = Partial<Handlers<typeof hostForAdmin>>;

/** One host. */
export interface StandInHost {
  key: SigningKey;
  row: HostRow;
  handlers: HostHandlers;
  /** Refuses every open so. */
  refusal: readonly [code: ResetCode, text: string] | null;
  /** Refuses the next open so. */
  nextRefusal: readonly [code: ResetCode, text: string] | null;
  /** Never answers the question for a challenge. */
  isMute: boolean;
  /** Answers opens with this key instead. */
  answersWith: SigningKey | null;
}

/** A session that was opened, as the host has it. */
export interface StandInSession {
  readonly host: string;
  readonly open: SessionOpen;
  readonly peer: Peer;
}

const certificates: PinnedCertificates = await pinnedCertificates();

/** What belongs to one server. */
export class StandInServer {
  /** Those there are, by name. */
  readonly hosts = new Map<string, StandInHost>();
  /** Opened so far. */
  readonly sessions: StandInSession[] = [];
  /** Links that stand, with the server's side of their control flows. */
  readonly links: { readonly link: RunningLink; readonly control: Peer<typeof adminForServer> }[] = [];
  /** Who has tried to join. */
  readonly joins: ProvenDialler[] = [];
  /** Refuses every link so. */
  refusal: readonly [code: ResetCode, text: string] | null = null;
  /** Never answers for its hosts. */
  isMute = false;
  /** The row that heads are of. */
  headNumber = 1;
  /** Signs heads. */
  headKey: SigningKey;
  /** Answers `sessions`. */
  sessionRows: readonly SessionRow[] = [];
  /** Called when the hosts may have changed. */
  #changed: (() => void)[] = [];
  readonly #listener: Listener;
  readonly #certificates: PinnedCertificates;
  readonly #work = new Set<Promise<unknown>>();
  readonly key: SigningKey;

  private constructor(key: SigningKey, certificates: PinnedCertificates, listener: Listener) {
    this.key = key;
    this.headKey = key;
    this.#certificates = certificates;
    this.#listener = listener;
    this.#track(this.#accept());
  }

  /** Listens on a free port of this machine. */
  static async start(key?: SigningKey): Promise<StandInServer> {
    const pem = certificates;
    const listener = await tls("127.0.0.1:0", { cert: pem.cert, key: pem.key }).listen();
    return new StandInServer(key ?? await SigningKey.generate(random), pem, listener);
  }

  /** Where it is reached. */
  get address(): string {
    return this.#listener.address;
  }

  /** The token of an invitation. */
  token(kind: "administrator" | "host" = "administrator", addresses = [this.address]): string {
    return formatJoinToken({
      kind,
      secret: new Uint8Array(32).fill(7),
      serverKey: this.key.publicKey,
      addresses,
      caCertificate: caBytes(this.#certificates.ca),
    });
  }

  /** Hash of the secret in every token. */
  get secretHash(): Uint8Array<ArrayBuffer> {
    return tokenHash(new Uint8Array(32).fill(7));
  }

  /** Makes a folder one of an administrator who has joined. */
  async joined(folder: ManageFolder, addresses: readonly string[] = [this.address]): Promise<void> {
    folder.make();
    const seed = (await SigningKey.generate(random)).seed;
    const text = seed.toBase64({ alphabet: "base64url", omitPadding: true });
    await Deno.writeTextFile(folder.identityPath, `${text}\n`, { mode: 0o600 });
    folder.keepServer({
      name: "alice",
      addresses,
      caCertificates: [this.#certificates.ca],
      generation: 0,
      serverKey: this.key.publicKey,
    });
  }

  /** Adds a host that is online. */
  async host(name: string, handlers: HostHandlers = {}, row: Partial<HostRow> = {}): Promise<StandInHost> {
    const host: StandInHost = {
      key: await SigningKey.generate(random),
      row: {
        name,
        tags: [],
        sinceMs: 1_700_000_000_000,
        online: true,
        latencyMs: 1.25,
        version: "1.2.3",
        system: "linux x86_64",
        sessions: 0,
        ...row,
      },
      handlers,
      refusal: null,
      nextRefusal: null,
      isMute: false,
      answersWith: null,
    };
    this.hosts.set(name, host);
    return host;
  }

  /** Tells those who watch. */
  hostsChanged(): void {
    for (const changed of this.#changed.splice(0)) changed();
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const { link } of this.links) link.close("shutting_down", "the test is over");
    this.hostsChanged();
    while (this.#work.size > 0) await Promise.all(this.#work);
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
      serverKey: this.key,
      serverCertificate: this.#certificates.der,
      timers,
      random,
      timeoutMs: 5_000,
    });
    if (proven.kind === "join") this.joins.push(proven);
    if (this.refusal !== null) return await proven.refuse(...this.refusal);
    const { link, control: flow } = await proven.accept({
      name: "alice",
      onOpen: (incoming) => this.#track(this.#open(incoming)),
    });
    const control = controlPeer(flow, {
      role: "listener",
      side: "administrator",
      handlers: {
        hosts: (_, { signal }) => this.isMute ? never(signal) : this.#rows(),
        watchHosts: (_, { signal }) => this.isMute ? never(signal) : this.#watch(signal),
        prepare: (name) => this.#prepare(name),
        sessions: () => this.sessionRows,
      },
      timers,
    });
    this.links.push({ link, control });
    await link.closed;
    await control.closed;
  }

  #rows(): HostRow[] {
    return [...this.hosts.values()].map(({ row }) => row);
  }

  async *#watch(signal: AbortSignal): AsyncIterableIterator<readonly HostRow[]> {
    while (!signal.aborted) {
      yield this.#rows();
      await new Promise<void>((resolve) => {
        this.#changed.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }

  async #prepare(
    name: string,
  ): Promise<
    {
      hostKey: Uint8Array<ArrayBuffer>;
      linkNonce: Uint8Array<ArrayBuffer>;
      challenge: Uint8Array<ArrayBuffer>;
    }
  > {
    const host = this.hosts.get(name);
    if (host === undefined) throw new ApplicationError("unknown_host", "no such host");
    if (!host.row.online) throw new ApplicationError("offline", "it has no link");
    if (host.isMute) await new Promise<never>(() => {});
    return { hostKey: host.key.publicKey, linkNonce: random(32), challenge: random(16) };
  }

  async #open(incoming: IncomingFlow): Promise<void> {
    const open = decodeOpen(incoming.parameters);
    const [name, host] =
      [...this.hosts].find(([, { key }]) => key.publicKey.toHex() === open.hostKey.toHex()) ?? [];
    if (name === undefined || host === undefined || !await verifyOpen(open)) {
      return incoming.refuse("unknown_host", "no host has this key");
    }
    const refusal = host.nextRefusal ?? host.refusal;
    host.nextRefusal = null;
    if (refusal !== null) return incoming.refuse(...refusal);
    const exchange = await SessionExchange.create(random);
    const answer = await answerOpen(open.bytes, exchange.publicKey, host.answersWith ?? host.key);
    const keys = sessionKeys(await exchange.agree(open.ephemeral), open.bytes, answer);
    const flow = incoming.accept(answerForAdmin(answer, await this.#head()));
    const peer = sessionPeer(flow, keys, {
      side: "host",
      handlers: { ...REFUSING, ...host.handlers },
      timers,
    });
    this.sessions.push({ host: name, open, peer });
    await peer.closed;
  }

  #head(): Promise<SignedHead> {
    return signHead(
      { number: this.headNumber, hash: new Uint8Array(32).fill(this.headNumber) },
      this.headKey,
    );
  }
}

/** No answer before the caller has given up. */
function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("given up")), { once: true });
  });
}

const REFUSING: Handlers<typeof hostForAdmin> = {
  shell: () => refused("shell"),
  exec: () => refused("exec"),
  connect: () => refused("connect"),
};

function refused(what: string): never {
  throw new ApplicationError("refused_by_host", `${what} is not what this session was opened for`);
}

function caBytes(pem: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(pem.split("\n").filter((line) => !line.startsWith("-")).join(""));
}
