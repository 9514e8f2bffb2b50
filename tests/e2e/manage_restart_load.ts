/** What goes on all the time while a management server is restarted again and again: sessions, invitations, joins. */
import { exec } from "../../src/client/manage/exec.ts";
import { joinServer as joinAsAdmin } from "../../src/client/manage/join.ts";
import { type ManageFolder, manageFolder } from "../../src/client/manage/manage_folder.ts";
import { openSession } from "../../src/client/manage/open_session.ts";
import { connectServer, type ServerLink } from "../../src/client/manage/server_link.ts";
import { AgentFolder } from "../../src/commander/agent/agent_folder.ts";
import { joinServer as joinAsHost } from "../../src/commander/agent/join.ts";
import { systemRandomBytes as random, systemTimers as timers } from "../../src/protocol/rpc/timers.ts";
import { invite } from "../../src/server/manage/invite.ts";
import type { ManageLab } from "../../scripts/manage_lab.ts";
import { pause } from "./until.ts";

const CONNECT_MS = 3_000, EXEC_MS = 5_000, AGAIN_MS = 20;
const TOKEN_MS = 3_600_000;

/** Numbers from 0 to less than 1, the same ones for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What somebody was told "joined" for. */
export interface Enrolled {
  readonly role: "host" | "administrator";
  readonly name: string;
  /** Of an agent or of a client. */
  readonly dir: string;
}

/** The load. */
export class RestartLoad {
  /** Sessions that a client has seen open, 16 hexadecimal digits each. */
  readonly opened: string[] = [];
  /** How many of them ran to their end. */
  finished = 0;
  readonly enrolled: Enrolled[] = [];
  /** How often the same token had to be shown again. */
  repeatedJoins = 0;
  /** All that clients were told. */
  readonly notices: string[] = [];
  readonly #lab: ManageLab;
  readonly #random: () => number;
  readonly #work: Promise<void>[] = [];
  #isOver = false;

  /** Begins. */
  constructor(lab: ManageLab, hosts: readonly string[], admins: readonly string[], seed: number) {
    this.#lab = lab;
    this.#random = seeded(seed);
    // Two programs of each administrator at once.
    for (const admin of [...admins, ...admins]) {
      this.#work.push(this.#run(manageFolder(lab.adminDir(admin)), hosts));
    }
    this.#work.push(this.#enrol("host"), this.#enrol("administrator"));
  }

  /** Ends, when what was begun has come to its end. */
  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#work);
  }

  async #run(folder: ManageFolder, hosts: readonly string[]): Promise<void> {
    while (!this.#isOver) {
      let link: ServerLink | null = null;
      try {
        const onNotice = (line: string): void => void this.notices.push(line);
        link = await connectServer({ folder, timers, onNotice, timeoutMs: CONNECT_MS });
        while (!this.#isOver) {
          await this.#runOne(link, hosts[Math.floor(this.#random() * hosts.length)] ?? "");
        }
      } catch {
        // The server is away, or the host is not back yet.
        await pause(AGAIN_MS);
      } finally {
        await link?.leave();
      }
    }
  }

  async #runOne(link: ServerLink, host: string): Promise<void> {
    const onNotice = (line: string): void => void this.notices.push(line);
    const session = await openSession(link, {
      host,
      action: "exec",
      onNotice,
      signal: AbortSignal.timeout(EXEC_MS),
    });
    this.opened.push(session.session);
    try {
      await exec(session, {
        host,
        command: this.#random() < 0.5 ? ["true"] : ["sleep", (this.#random() * 0.3).toFixed(3)],
        stdin: null,
        onStdout: () => {},
        onStderr: () => {},
        signal: AbortSignal.timeout(EXEC_MS),
      });
      this.finished++;
    } finally {
      session.peer.close();
    }
  }

  async #enrol(role: "host" | "administrator"): Promise<void> {
    for (let number = 1; !this.#isOver; number++) {
      const name = `${role}-${number}`;
      const dir = `${this.#lab.folder}/late-${name}`;
      const { token } = await invite(this.#lab.serverDir, {
        role,
        name,
        tags: role === "host" ? ["late"] : null,
        lifeMs: TOKEN_MS,
        replaces: false,
      });
      while (!this.#isOver) {
        try {
          await this.#join(role, dir, token);
          this.enrolled.push({ role, name, dir });
          break;
        } catch {
          this.repeatedJoins++;
          await pause(AGAIN_MS);
        }
      }
      await pause(this.#random() * 1_000);
    }
  }

  async #join(role: "host" | "administrator", dir: string, token: string): Promise<void> {
    const signal = AbortSignal.timeout(CONNECT_MS);
    if (role === "host") {
      await joinAsHost({ folder: new AgentFolder(dir), token, timers, random, signal });
    } else {
      const onNotice = (line: string): void => void this.notices.push(line);
      await joinAsAdmin({ folder: manageFolder(dir), token, timers, onNotice, signal });
    }
  }
}
