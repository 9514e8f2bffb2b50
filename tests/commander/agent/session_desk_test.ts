import assert from "node:assert/strict";
import type { AgentConfig } from "../../../src/commander/agent/agent_config.ts";
import { EndedSpool } from "../../../src/commander/agent/ended_spool.ts";
import { Challenges, type LinkGround } from "../../../src/commander/agent/open_check.ts";
import { SessionDesk } from "../../../src/commander/agent/session_desk.ts";
import type { SignedHead } from "../../../src/protocol/manage/control_contract.ts";
import type { FlowConnection } from "../../../src/protocol/manage/flow_connection.ts";
import type { IncomingFlow } from "../../../src/protocol/manage/running_link.ts";
import { SessionExchange } from "../../../src/protocol/manage/session_keys.ts";
import { type OpenFields, openForHost, signOpen } from "../../../src/protocol/manage/session_open.ts";
import { SigningKey } from "../../../src/protocol/manage/signing_key.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { Log } from "../../../src/system/log.ts";
import { until } from "../../e2e/until.ts";
import { configOf, ScriptedStarters } from "./agent_under_test.ts";

const host = await SigningKey.generate(systemRandomBytes);
const alice = await SigningKey.generate(systemRandomBytes);
const HEAD: SignedHead = { number: 1, hash: new Uint8Array(32), signature: new Uint8Array(64) };

/** A flow of nobody: what becomes of it is kept. */
class KeptFlow implements IncomingFlow {
  readonly purpose = "session";
  readonly parameters: Uint8Array<ArrayBuffer>;
  readonly closed = new Promise<null>(() => {});
  readonly refusals: string[] = [];
  /** The administrator's end, once it was accepted. */
  far: Connection | null = null;
  /** Whether there is nobody left to accept it. */
  isGone = false;

  constructor(parameters: Uint8Array<ArrayBuffer>) {
    this.parameters = parameters;
  }

  accept(): FlowConnection {
    if (this.isGone) throw new Error("the flow is over");
    const [near, far] = memoryPair();
    this.far = far;
    return near as unknown as FlowConnection;
  }

  refuse(code: string): void {
    this.refusals.push(code);
  }
}

/** A desk with a scripted agent.toml. */
class Stage implements AsyncDisposable {
  readonly starters = new ScriptedStarters();
  readonly spool: EndedSpool;
  readonly desk: SessionDesk;
  readonly link: LinkGround;
  readonly flows: KeptFlow[] = [];
  /** What was logged. */
  readonly lines: string[] = [];
  readonly #folder: string;
  /** Called at each question for agent.toml. */
  policy: () => AgentConfig | null = () => configOf("");
  /** Called before an answer is signed. */
  beforeSigning: () => Promise<void> = () => Promise.resolve();

  private constructor(folder: string, spool: EndedSpool) {
    this.#folder = folder;
    this.spool = spool;
    this.link = {
      linkNonce: new Uint8Array(32).fill(1),
      challenges: new Challenges(systemTimers, systemRandomBytes),
    };
    this.desk = new SessionDesk({
      hostName: "web1",
      key: this.#slowKey(),
      policy: () => this.policy(),
      spool,
      starters: this.starters,
      onSigned: () => Promise.resolve(),
      onEnded: () => {},
      timers: systemTimers,
      random: systemRandomBytes,
      log: new Log({ role: "agent", format: "text", write: (line) => void this.lines.push(line) }),
    });
  }

  #slowKey(): SigningKey {
    const sign = async (bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> => {
      await this.beforeSigning();
      return await host.sign(bytes);
    };
    return { publicKey: host.publicKey, sign } as unknown as SigningKey;
  }

  static async open(): Promise<Stage> {
    const folder = await Deno.makeTempDir();
    await Deno.mkdir(`${folder}/ended`);
    const log = new Log({ role: "agent", format: "text", write: () => {} });
    const places = { endedFolder: `${folder}/ended`, sessionsPath: `${folder}/sessions.json` };
    return new Stage(folder, await EndedSpool.open(places, log));
  }

  async flow(fields: Partial<OpenFields> & Pick<OpenFields, "action">): Promise<KeptFlow> {
    const bytes = await signOpen({
      outlivesLink: false,
      session: systemRandomBytes(8).toHex(),
      hostKey: host.publicKey,
      linkNonce: new Uint8Array(32).fill(1),
      challenge: this.link.challenges.give(),
      expiresMs: 30_000,
      ephemeral: (await SessionExchange.create(systemRandomBytes)).publicKey,
      targets: [],
      ...fields,
    }, alice);
    const flow = new KeptFlow(openForHost("alice", HEAD, bytes));
    this.flows.push(flow);
    return flow;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { far } of this.flows) far?.close();
    await this.desk.stop();
    await Deno.remove(this.#folder, { recursive: true });
  }
}

Deno.test("SessionDesk ends a session at once when agent.toml has changed while it began", async () => {
  await using stage = await Stage.open();
  const [lax, strict] = [configOf(""), configOf("exec = false")];
  let asked = 0;
  stage.policy = () => asked++ === 0 ? lax : strict;
  await stage.desk.take(await stage.flow({ action: "exec" }), stage.link);
  assert.deepEqual(stage.starters.begun[0]?.endings, ["revoked"]);
  await until("its row is written", () => stage.spool.pending().length === 1);
});

Deno.test("SessionDesk logs that a session was tampered with on its way, and ends it as lost", async () => {
  await using stage = await Stage.open();
  const flow = await stage.flow({ action: "exec" });
  await stage.desk.take(flow, stage.link);
  // A record of its proper length, which nobody with the key has written.
  await flow.far?.write(new Uint8Array([0, 0, 0, 20, ...new Uint8Array(20)]));
  await until("it is over", () => stage.starters.begun[0]?.viewersLost === 1);
  const line = stage.lines.find((line) => line.includes("session tampered with"));
  assert.match(
    line ?? "",
    / WARN agent: session tampered with session=[0-9a-f]{16} administrator=alice error=/,
  );
  assert.deepEqual(stage.starters.begun[0]?.endings, ["lost"]);
});

Deno.test("SessionDesk logs nothing of the kind when the flow is only lost", async () => {
  await using stage = await Stage.open();
  const flow = await stage.flow({ action: "exec" });
  await stage.desk.take(flow, stage.link);
  flow.far?.close();
  await until("it is over", () => stage.starters.begun[0]?.viewersLost === 1);
  assert.equal(stage.lines.some((line) => line.includes("tampered")), false);
});

Deno.test("SessionDesk ends a session that nobody is left to see", async () => {
  await using stage = await Stage.open();
  const flow = await stage.flow({ action: "shell", outlivesLink: true });
  flow.isGone = true;
  await stage.desk.take(flow, stage.link);
  assert.deepEqual(stage.starters.begun[0]?.endings, ["closed"]);
  assert.deepEqual(flow.refusals, ["internal"]);
  await until("its row is written", () => stage.spool.pending()[0]?.ending === "closed");
});

Deno.test("SessionDesk forgets a session that could not be started", async () => {
  await using stage = await Stage.open();
  const flow = await stage.flow({ action: "exec" });
  Object.assign(stage.starters, {
    exec: () => {
      throw new Error("no more processes");
    },
  });
  await stage.desk.take(flow, stage.link);
  assert.deepEqual(flow.refusals, ["internal"]);
  assert.equal(stage.desk.count, 0);
  assert.deepEqual(stage.spool.pending(), []);
});

Deno.test("SessionDesk attaches nobody to a shell that ends meanwhile", async () => {
  await using stage = await Stage.open();
  const session = "0123456789abcdef";
  await stage.desk.take(await stage.flow({ action: "shell", outlivesLink: true, session }), stage.link);
  const [shell] = stage.starters.begun;
  const flow = await stage.flow({ action: "attach", session });
  // It is over when everything was looked at, and before the answer goes out.
  stage.beforeSigning = async () => {
    shell?.finish("done", 0);
    await until("it is over", () => stage.desk.count === 0);
  };
  await stage.desk.take(flow, stage.link);
  assert.equal(shell?.attached, 0);
  assert.deepEqual(flow.refusals, ["refused_by_host"]);
});

Deno.test("SessionDesk refuses what is no open", async () => {
  await using stage = await Stage.open();
  for (
    const bytes of [
      new Uint8Array(0),
      new Uint8Array(300),
      (await stage.flow({ action: "exec" })).parameters.slice(0, -1),
    ]
  ) {
    const flow = new KeptFlow(bytes);
    await stage.desk.take(flow, stage.link);
    assert.deepEqual(flow.refusals, ["malformed"]);
  }
  assert.equal(stage.starters.begun.length, 0);
});
