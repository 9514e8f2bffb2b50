/** A real management server over real TLS, in this process, with scripted hosts and administrators that dial it. */
import assert from "node:assert/strict";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import type { ListenAddress } from "../../../src/server/knock/listen_address.ts";
import {
  type DialledLink,
  dialLink,
  type DialLinkOptions,
} from "../../../src/protocol/manage/link_handshake.ts";
import type { MemberRole } from "../../../src/server/manage/registry.ts";
import { tokenHash } from "../../../src/protocol/manage/join_token.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers, type Timers } from "../../../src/protocol/rpc/timers.ts";
import { dialPinned } from "../../../src/protocol/transport/pinned_tls.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import type { AuditRow } from "../../../src/server/manage/audit.ts";
import { dataFolder } from "../../../src/server/manage/data_folder.ts";
import { initServer } from "../../../src/server/manage/init.ts";
import { ManageServer } from "../../../src/server/manage/manage_server.ts";
import { Registry } from "../../../src/server/manage/registry.ts";
import { type Clock, systemClock } from "../../../src/system/clock.ts";
import { Log } from "../../../src/system/log.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { until } from "../../e2e/until.ts";

const HOUR_MS = 3_600_000;
const LOOPBACK: ListenAddress = { ip: parseIp("127.0.0.1"), port: 0 };

/** How a ground is laid. */
export interface GroundOptions {
  /** Text of policy.toml; without it everybody may do everything. */
  readonly policy?: string;
  readonly clock?: Clock;
  /** An empty folder in which the data folder is made; it stays. Without it a temporary one. */
  readonly parent?: string;
  /** Of the server. @default systemTimers */
  readonly timers?: Timers;
}

/** What a dial brings beside the defaults. */
export type GroundDial = Partial<DialLinkOptions> & { readonly key: SigningKey };

export class ServerGround implements AsyncDisposable {
  readonly folder: string;
  /** Opened beside the server, as another program would. */
  readonly registry: Registry;
  readonly serverKey: Uint8Array<ArrayBuffer>;
  readonly caCertificate: string;
  /** Lines of the log. */
  readonly lines: string[];
  readonly #clock: Clock;
  readonly #options: GroundOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #links = new Set<DialledLink>();
  #server: ManageServer;

  private constructor(
    folder: string,
    stack: AsyncDisposableStack,
    made: { registry: Registry; serverKey: Uint8Array<ArrayBuffer>; caCertificate: string },
    running: { server: ManageServer; lines: string[]; clock: Clock; options: GroundOptions },
  ) {
    this.folder = folder;
    this.registry = made.registry;
    this.serverKey = made.serverKey;
    this.caCertificate = made.caCertificate;
    this.lines = running.lines;
    this.#clock = running.clock;
    this.#options = running.options;
    this.#server = running.server;
    this.#stack = stack;
  }

  static async lay(options: GroundOptions = {}): Promise<ServerGround> {
    const { policy, clock = systemClock } = options;
    await using undo = new AsyncDisposableStack();
    const parent = options.parent ?? undo.use(await TempFolder.make("manage")).path;
    const folder = `${parent}/data`;
    const { serverKey } = await initServer({ folder, addresses: ["localhost:7022"] });
    const places = dataFolder(folder);
    if (policy !== undefined) await Deno.writeTextFile(places.policy, policy);
    const registry = undo.use(await Registry.open(places, { clock }));
    const caCertificate = await Deno.readTextFile(places.caCertificate);
    const lines: string[] = [];
    const server = await startServer(folder, lines, options);
    const made = { registry, serverKey, caCertificate };
    return new ServerGround(folder, undo.move(), made, { server, lines, clock, options });
  }

  get server(): ManageServer {
    return this.#server;
  }

  get address(): string {
    return this.#server.address;
  }

  /** Replaces policy.toml. */
  async writePolicy(text: string): Promise<void> {
    await Deno.writeTextFile(dataFolder(this.folder).policy, text);
  }

  /** Stops the server and starts another one, on another port. */
  async restart(): Promise<void> {
    await this.#server.stop();
    this.#server = await startServer(this.folder, this.lines, this.#options);
  }

  /** An invitation's secret. */
  invite(
    role: MemberRole,
    name: string,
    options: { tags?: readonly string[]; lifeMs?: number; replaces?: boolean } = {},
  ): Uint8Array<ArrayBuffer> {
    const { tags = [], lifeMs = HOUR_MS, replaces = false } = options;
    const secret = systemRandomBytes(32);
    const expiresMs = Math.floor(this.#clock.wallMs()) + lifeMs;
    this.registry.createInvite({ role, name, tags, replaces, expiresMs, secretHash: tokenHash(secret) });
    return secret;
  }

  /** A key that is let in under a name. */
  async member(role: MemberRole, name: string, tags: readonly string[] = []): Promise<SigningKey> {
    const key = await SigningKey.generate(systemRandomBytes);
    const secretHash = tokenHash(this.invite(role, name, { tags }));
    const bound = this.registry.bindToken({ secretHash, role, key: key.publicKey, address: "a test" });
    assert.ok(!("refused" in bound));
    return key;
  }

  /** TLS alone. */
  async connect(
    address: string = this.address,
  ): Promise<{ connection: Connection; certificate: Uint8Array }> {
    return await dialPinned({ address, caCertificates: [this.caCertificate] });
  }

  /** A link. */
  async dial(options: GroundDial): Promise<DialledLink> {
    const { connection, certificate } = await this.connect();
    const dialled = await dialLink(connection, {
      kind: "link",
      role: "host",
      serverKey: this.serverKey,
      serverCertificate: certificate,
      timers: systemTimers,
      random: systemRandomBytes,
      onOpen: (flow) => flow.refuse("internal", "not scripted"),
      ...options,
    });
    this.keep(dialled);
    return dialled;
  }

  /** Has a link closed with the ground. */
  keep(dialled: DialledLink): void {
    this.#links.add(dialled);
    void dialled.link.closed.then(() => this.#links.delete(dialled));
  }

  /** Rows of one event, the oldest first; as they are once there are that many. */
  async rows(event: string, least = 1): Promise<Record<string, unknown>[]> {
    return await until(`${least} rows ${event}`, () => {
      const rows = this.rowsNow(event);
      return rows.length >= least && rows;
    });
  }

  /** The same without waiting. */
  rowsNow(event: string): Record<string, unknown>[] {
    return this.registry.audit.rows({ limit: 10_000 })
      .filter((row: AuditRow) => row.event === event)
      .map(({ body }) => {
        assert.ok(typeof body === "object");
        return { ...body };
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { link } of this.#links) link.close("cancelled", "");
    await Promise.all([...this.#links].map(({ link }) => link.closed));
    await this.#server.stop();
    await this.#stack.disposeAsync();
  }
}

async function startServer(folder: string, lines: string[], options: GroundOptions): Promise<ManageServer> {
  const { clock = systemClock, timers = systemTimers } = options;
  const log = new Log({ role: "manage", format: "text", write: (line) => void lines.push(line) });
  return await ManageServer.start({ folder, address: LOOPBACK }, { log, clock, timers });
}
