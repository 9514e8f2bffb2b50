/** An agent over memory, in a folder of its own. */
import { Agent } from "../../../src/commander/agent/agent.ts";
import {
  type AgentConfig,
  DEFAULT_AGENT_TOML,
  parseAgentConfig,
  readAgentConfig,
} from "../../../src/commander/agent/agent_config.ts";
import { AgentFolder, type AgentServer } from "../../../src/commander/agent/agent_folder.ts";
import type { SessionStarters } from "../../../src/commander/agent/desk_session.ts";
import type {
  HostedSession,
  SessionHandlers,
  SessionResult,
} from "../../../src/commander/agent/sessions/hosted_session.ts";
import type { Action, SessionEnding } from "../../../src/protocol/manage/control_contract.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { Log } from "../../../src/system/log.ts";
import { parseTomlSource } from "../../../src/system/toml_file.ts";
import type { StandInServer } from "./stand_in_server.ts";

/** Users of no real machine. */
export const PASSWD = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/zsh\n";

/** A configuration as agent.toml gives it. */
export function configOf(toml: string, ownUid = 0): AgentConfig {
  return parseAgentConfig(parseTomlSource("/agent/agent.toml", toml), { passwd: PASSWD, ownUid });
}

/** agent.toml with these lines, and the default of whatever they do not say. */
export function wholeToml(lines: string): string {
  const said = new Set(lines.split("\n").map((line) => line.split(" = ", 1)[0]));
  const rest = DEFAULT_AGENT_TOML.split("\n").filter((line) => !line.startsWith("#") && line !== "");
  return `${lines}${rest.filter((line) => !said.has(line.split(" = ", 1)[0])).join("\n")}\n`;
}

function refusingHandlers(): SessionHandlers {
  const refuse = (): never => {
    throw new Error("nobody calls this in these tests");
  };
  return { shell: refuse, exec: refuse, connect: refuse };
}

/** A session that does nothing until a test says so. */
export class ScriptedSession implements HostedSession {
  readonly action: Action;
  readonly handlers = refusingHandlers();
  readonly ended: Promise<SessionResult>;
  isDetached = false;
  /** How it was told to end. */
  readonly endings: SessionEnding[] = [];
  viewersLost = 0;
  attached = 0;
  /** Whether it ends when it is told to. */
  obeys = true;
  readonly outlivesLink: boolean;
  #resolve: (result: SessionResult) => void = () => {};

  constructor(action: Action, outlivesLink = false) {
    this.action = action;
    this.outlivesLink = outlivesLink;
    this.ended = new Promise((resolve) => this.#resolve = resolve);
  }

  /** It is over. */
  finish(ending: SessionEnding, exitCode: number | null = null): void {
    this.#resolve({ ending, exitCode, bytesIn: 3, bytesOut: 5 });
  }

  viewerLost(): void {
    this.viewersLost++;
    if (this.outlivesLink) this.isDetached = true;
    else this.end("lost");
  }

  attach(): SessionHandlers {
    this.attached++;
    this.isDetached = false;
    return refusingHandlers();
  }

  end(ending: SessionEnding): void {
    this.endings.push(ending);
    if (this.obeys) this.finish(ending);
  }
}

/** Starters that keep what they have begun. */
export class ScriptedStarters implements SessionStarters {
  readonly begun: ScriptedSession[] = [];
  readonly shell = (_ground: unknown, { outlivesLink }: { outlivesLink: boolean }): ScriptedSession =>
    this.#begin("shell", outlivesLink);
  readonly exec = (): ScriptedSession => this.#begin("exec");
  readonly forward = (): ScriptedSession => this.#begin("forward");

  #begin(action: Action, outlivesLink = false): ScriptedSession {
    const session = new ScriptedSession(action, outlivesLink);
    this.begun.push(session);
    return session;
  }
}

/** An agent that runs. */
export interface AgentUnderTest extends AsyncDisposable {
  readonly agent: Agent;
  readonly folder: AgentFolder;
  readonly lines: string[];
  readonly starters: ScriptedStarters;
  /** Ends it without a word, as a kill would: what is on the disk is what the next one finds. */
  restart(): Promise<AgentUnderTest>;
}

/** A folder that has joined the server. */
export async function joinedFolder(server: StandInServer, toml = ""): Promise<AgentFolder> {
  const folder = new AgentFolder(await Deno.makeTempDir());
  await folder.create();
  await folder.readOrMakeKey(systemRandomBytes);
  await folder.writeServer(serverOf(server));
  await Deno.writeTextFile(folder.configPath, wholeToml(toml));
  return folder;
}

/** What an agent knows of the server. */
export function serverOf(server: StandInServer): AgentServer {
  return {
    name: "web1",
    addresses: ["manage.test:7022"],
    caCertificates: ["-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n"],
    generation: 0,
    serverKey: server.key.publicKey,
  };
}

/** Starts an agent in the folder, a fresh one if none is given. */
export async function startAgent(
  server: StandInServer,
  options: { toml?: string; folder?: AgentFolder; starters?: SessionStarters } = {},
): Promise<AgentUnderTest> {
  const folder = options.folder ?? await joinedFolder(server, options.toml);
  const ground = { passwd: PASSWD, ownUid: 0 };
  const lines: string[] = [];
  const starters = new ScriptedStarters();
  const agent = await Agent.start({
    folder,
    server: await folder.readServer(),
    config: await readAgentConfig(folder.configPath, ground),
    key: await folder.readKey(),
    version: "1.2.3",
    starters: options.starters ?? starters,
    timers: systemTimers,
    random: systemRandomBytes,
    log: new Log({ role: "agent", format: "text", write: (line) => void lines.push(line) }),
    dialTls: server.dialTls,
    readConfig: () => readAgentConfig(folder.configPath, ground),
  });
  return {
    agent,
    folder,
    lines,
    starters,
    async restart(): Promise<AgentUnderTest> {
      await agent.stop();
      return await startAgent(server, { folder });
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await agent.stop();
      await Deno.remove(folder.path, { recursive: true });
    },
  };
}
