/**
 * The stage of the tests of a server that was broken into: hosts that were set up by an honest server and an
 * administrator who joined it and knows their keys; then the attacker has the server's folder and its place on the network.
 */
import assert from "node:assert/strict";
import { type ManageFolder, manageFolder } from "../../src/client/manage/manage_folder.ts";
import { type OpenSession, openSession, type SessionWish } from "../../src/client/manage/open_session.ts";
import { connectServer, type ServerLink } from "../../src/client/manage/server_link.ts";
import { ResetError } from "../../src/protocol/manage/reset_code.ts";
import { SessionExchange } from "../../src/protocol/manage/session_keys.ts";
import { type OpenFields, signOpen } from "../../src/protocol/manage/session_open.ts";
import { formatPublicKey, SigningKey } from "../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import { ManageLab, runShipped, textOf } from "../../scripts/manage_lab.ts";
import type { LogLine } from "../../scripts/process.ts";
import { HostileServer } from "./manage_hostile_server.ts";
import { until } from "./until.ts";

/** Hosts that pin alice's key, and one that pins nobody. */
export const PINNING = ["web1", "web2"] as const, CAREFREE = "web3";
const SESSION_BYTES = 8;
const OPEN_MS = 30_000;
const TEST_MS = 180_000;

/** The attacker has taken over; alice has met all hosts before. */
export class HostileWorld implements AsyncDisposable {
  readonly lab: ManageLab;
  readonly server: HostileServer;
  /** The real administrator's, which is on her machine only. */
  readonly alice: SigningKey;
  readonly mallory: SigningKey;
  /** What alice's program has told her. */
  readonly notices: string[] = [];
  readonly #links: ServerLink[] = [];

  private constructor(lab: ManageLab, server: HostileServer, alice: SigningKey, mallory: SigningKey) {
    this.lab = lab;
    this.server = server;
    this.alice = alice;
    this.mallory = mallory;
  }

  static async make(): Promise<HostileWorld> {
    await using owned = new AsyncDisposableStack();
    const lab = owned.use(await ManageLab.make());
    const hosts = [...PINNING, CAREFREE];
    await Promise.all([lab.joinAdmin("alice"), ...hosts.map((name) => lab.joinHost(name))]);
    const identity = textOf(await lab.client("alice", ["identity"])).trim();
    await Promise.all(PINNING.map((name) => trust(lab, name, identity)));
    await lab.stopServer();
    const server = owned.use(await HostileServer.start(lab.serverDir));
    lab.cable.leadTo(server.port);
    const known = server.keysOfHosts().map(([name, key]) => `${name} ${formatPublicKey(key)}\n`).join("");
    await Deno.writeTextFile(manageFolder(lab.adminDir("alice")).knownHostsPath, known, { mode: 0o600 });
    await Promise.all(hosts.map((name) => lab.startAgent(name)));
    await until("all hosts are linked to the attacker", () => hosts.every((name) => server.hosts.has(name)));
    const seed = (await Deno.readTextFile(manageFolder(lab.adminDir("alice")).identityPath)).trim();
    const alice = await SigningKey.fromSeed(Uint8Array.fromBase64(seed, { alphabet: "base64url" }));
    const world = new HostileWorld(lab, server, alice, await SigningKey.generate(random));
    owned.move();
    return world;
  }

  get folder(): ManageFolder {
    return manageFolder(this.lab.adminDir("alice"));
  }

  /** Links alice's program. */
  async connect(folder = this.folder, randomBytes = random): Promise<ServerLink> {
    const onNotice = (line: string): void => void this.notices.push(line);
    const link = await connectServer({ folder, timers, onNotice, random: randomBytes });
    this.#links.push(link);
    return link;
  }

  /** Opens a session as alice's program does. */
  async open(link: ServerLink, wish: Partial<SessionWish> = {}): Promise<OpenSession> {
    const onNotice = (line: string): void => void this.notices.push(line);
    return await openSession(link, { host: "web1", action: "exec", onNotice, ...wish });
  }

  /** What anybody puts into an open for a host, with a fresh challenge of its present link. */
  async fields(hostName = "web1", more: Partial<OpenFields> = {}): Promise<OpenFields> {
    const { key: hostKey, linkNonce, peer } = this.server.host(hostName);
    return {
      action: "exec",
      outlivesLink: false,
      session: random(SESSION_BYTES).toHex(),
      hostKey,
      linkNonce,
      challenge: await peer.client.challenge(null),
      expiresMs: OPEN_MS,
      ephemeral: (await SessionExchange.create(random)).publicKey,
      targets: [],
      ...more,
    };
  }

  /** An open that alice has written and signed just now, in the attacker's hands. */
  async fromAlice(hostName = "web1", more: Partial<OpenFields> = {}): Promise<Uint8Array<ArrayBuffer>> {
    return await signOpen(await this.fields(hostName, more), this.alice);
  }

  /**
   * Sends an open to a host, which must refuse it with that code and those words, and log that.
   *
   * @param isLogged false where so many were refused before that lines are left out
   */
  async refused(
    open: Uint8Array,
    code: string,
    words: RegExp,
    { host = "web1", admin = "alice", isLogged = true } = {},
  ): Promise<void> {
    const from = this.lab.agent(host).lines.length;
    const error = await this.server.sendOpen(host, open, admin).then(
      () => new Error("the host has taken it"),
      (error: unknown) => error,
    );
    assert(error instanceof ResetError, String(error));
    assert.deepEqual([error.code, error.by], [code, "there"], error.message);
    assert.match(error.message, words);
    if (isLogged) await this.logged(host, "session refused", words, from);
  }

  /** Waits until a host has logged something. */
  async logged(host: string, message: string, words: RegExp, from = 0): Promise<LogLine> {
    return await this.lab.agent(host).line(
      ({ text, fields }) => fields["message"] === message && words.test(text),
      { from },
    );
  }

  /** Another folder of alice's, as on a machine that has met no host yet. */
  async newMachine(name: string): Promise<ManageFolder> {
    const folder = manageFolder(this.lab.adminDir(name));
    folder.make();
    for (const path of [this.folder.identityPath, this.folder.serverPath]) {
      await Deno.copyFile(path, `${folder.path}/${path.split("/").at(-1)}`);
    }
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const link of this.#links) await link.leave();
    await this.server[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}

/** Pins NAME:KEY on a host. */
async function trust(lab: ManageLab, host: string, identity: string): Promise<void> {
  textOf(await runShipped(["commander", "agent", "trust", identity, "--dir", lab.agentDir(host)]));
}

/** One part of a test, with its name. */
export type HostileStep = readonly [name: string, act: (world: HostileWorld) => Promise<void>];

/** A test of one world with several parts: its half a dozen processes take a while to start. */
export function onHostileStage(name: string, ...steps: readonly HostileStep[]): void {
  Deno.test({
    name,
    timeout: TEST_MS,
    async fn(test): Promise<void> {
      await using world = await HostileWorld.make();
      for (const [name, act] of steps) {
        await test.step({
          name,
          fn: () => act(world),
          // What a step begins ends with the world, and the whole test is looked at.
          sanitizeOps: false,
          sanitizeResources: false,
        });
        world.server.wiles = {};
      }
    },
  });
}
