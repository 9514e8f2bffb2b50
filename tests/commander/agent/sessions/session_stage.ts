/** A session on this machine and an administrator who calls it, joined in memory. */
import type { SessionEnding } from "../../../../src/protocol/manage/control_contract.ts";
import {
  type ExecOutput,
  hostForAdmin,
  SESSION_LIMITS,
  type ShellInput,
  type ShellOutput,
  type ShellStart,
} from "../../../../src/protocol/manage/session_contract.ts";
import { implement } from "../../../../src/protocol/rpc/implement.ts";
import type { Limits } from "../../../../src/protocol/rpc/limits.ts";
import { messagePackCodec } from "../../../../src/protocol/rpc/messagepack_codec.ts";
import { systemTimers, type Timers } from "../../../../src/protocol/rpc/timers.ts";
import { Log } from "../../../../src/system/log.ts";
import type {
  SessionConfig,
  SessionGround,
  SessionHandlers,
} from "../../../../src/commander/agent/sessions/hosted_session.ts";
import { type PeerPair, peerPair } from "../../../protocol/rpc/peer_pair.ts";
import { until } from "../../../e2e/until.ts";

const encoder = new TextEncoder();

/** A ground of which all can be changed, and what is needed to look at it. */
export interface Stage extends Disposable {
  readonly ground: SessionGround;
  /** Home of the user, and all that a test writes. */
  readonly folder: string;
  /** Lines of the log. */
  readonly logged: string[];
  /** What the ground's signal says. */
  signal(ending: SessionEnding): void;
}

/** Makes a ground on which everything is allowed, for whoever runs the test. */
export function stage(
  changes: Partial<SessionConfig> = {},
  options: { timers?: Timers } & Partial<Pick<SessionGround, "mayRun" | "mayConnect">> = {},
): Stage {
  const folder = Deno.makeTempDirSync({ prefix: "postern-session-" });
  const controller = new AbortController();
  const logged: string[] = [];
  const uid = Deno.uid() ?? 0, gid = Deno.gid() ?? 0;
  return {
    folder,
    logged,
    signal: (ending) => controller.abort(ending),
    ground: {
      session: "0123456789abcdef",
      hostName: "web1",
      adminName: "anna",
      config: {
        runAs: null,
        account: { name: "tester", uid, gid, home: folder, shell: "/bin/sh" },
        shellProgram: null,
        record: null,
        scrollbackBytes: 256 * 1024,
        detachGraceMs: 60_000,
        ...changes,
      },
      mayRun: () => null,
      mayConnect: () => null,
      ...options,
      timers: options.timers ?? systemTimers,
      log: new Log({ role: "agent", format: "text", write: (line) => logged.push(line) }),
      signal: controller.signal,
    },
    [Symbol.dispose](): void {
      Deno.removeSync(folder, { recursive: true });
    },
  };
}

/** The two ends of a session's flow. */
export type SessionPair = PeerPair<typeof hostForAdmin, never>;

/** Joins an administrator to handlers. */
export function join(handlers: SessionHandlers, limits: Partial<Limits> = {}): SessionPair {
  return peerPair<typeof hostForAdmin, never>({
    codec: messagePackCodec(),
    dialler: { calls: hostForAdmin, limits: { ...SESSION_LIMITS, ...limits } },
    listener: { serves: implement(hostForAdmin, handlers), limits: SESSION_LIMITS },
  });
}

/** Items that are sent when a test says so. */
export class ItemQueue<T> implements AsyncIterableIterator<T> {
  readonly #items: T[] = [];
  #ended = false;
  /** Whether the reader wanted no more. */
  wasStopped = false;
  #waiting: ((result: IteratorResult<T, undefined>) => void) | null = null;

  push(item: T): void {
    this.#items.push(item);
    this.#serve();
  }

  end(): void {
    this.#ended = true;
    this.#serve();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.wasStopped = true;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    const item = this.#items.shift();
    if (item !== undefined) {
      this.#waiting = null;
      waiting({ done: false, value: item });
    } else if (this.#ended) {
      this.#waiting = null;
      waiting({ done: true, value: undefined });
    }
  }
}

/** An administrator who looks at a shell. */
export class Viewer implements AsyncDisposable {
  /** All output, one character for each byte. */
  text = "";
  /** All other items. */
  readonly facts: Exclude<ShellOutput, Uint8Array>[] = [];
  /** Settles when the call has ended, with what it failed with. */
  readonly over: Promise<unknown>;
  readonly pair: SessionPair;
  readonly #items = new ItemQueue<ShellInput>();
  readonly #cancel = new AbortController();

  readonly #going = Promise.withResolvers<void>();

  constructor(
    handlers: SessionHandlers,
    start: Partial<ShellStart> = {},
    { paused = false, limits = {} }: { paused?: boolean; limits?: Partial<Limits> } = {},
  ) {
    if (!paused) this.go();
    this.pair = join(handlers, limits);
    const complete = { rows: 24, columns: 80, term: "xterm", seenBytes: 0, ...start };
    const output = this.pair.dialler.client.shell(complete, this.#items, { signal: this.#cancel.signal });
    this.over = this.#read(output);
  }

  type(text: string): void {
    this.#items.push(encoder.encode(text));
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#items.push(bytes);
  }

  /** Takes output, after having been paused. */
  go(): void {
    this.#going.resolve();
  }

  resize(rows: number, columns: number): void {
    this.#items.push({ rows, columns });
  }

  /** Leaves for good. */
  leave(): void {
    this.#items.end();
  }

  /** Gives the call up. */
  cancel(): void {
    this.#cancel.abort();
  }

  /** Waits for output that has this in it, and gives it. */
  async shows(wanted: string | RegExp): Promise<string> {
    const search = (): string | false => {
      const found = typeof wanted === "string"
        ? (this.text.includes(wanted) ? [wanted] : null)
        : wanted.exec(this.text);
      return found?.[1] ?? found?.[0] ?? false;
    };
    try {
      return await until(`${wanted} is shown`, search);
    } catch (error) {
      throw new Error(`shown was ${JSON.stringify(this.text.slice(-1000))}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair[Symbol.asyncDispose]();
    await this.over;
  }

  async #read(output: AsyncIterable<ShellOutput>): Promise<unknown> {
    try {
      for await (const item of output) {
        await this.#going.promise;
        if (item instanceof Uint8Array) {
          this.text += latin1(item);
        } else {
          this.facts.push(item);
        }
      }
      return null;
    } catch (error) {
      return error;
    }
  }
}

const PIECE_BYTES = 8192;

/** One character for each byte; the runtime's "latin1" is another encoding. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    text += String.fromCharCode(...bytes.subarray(at, at + PIECE_BYTES));
  }
  return text;
}

/** What a program printed. */
export interface Printed {
  readonly stdout: string;
  readonly stderr: string;
  /** All other items. */
  readonly facts: Exclude<ExecOutput, { stdout: unknown } | { stderr: unknown }>[];
}

/** Takes everything that a program prints. */
export async function printed(output: AsyncIterable<ExecOutput>): Promise<Printed> {
  let stdout = "", stderr = "";
  const facts: Printed["facts"] = [];
  for await (const item of output) {
    if ("stdout" in item) {
      stdout += latin1(item.stdout);
    } else if ("stderr" in item) {
      stderr += latin1(item.stderr);
    } else {
      facts.push(item);
    }
  }
  return { stdout, stderr, facts };
}

/** Whether a process that was told to end is gone; one that waits to be reaped is. */
export async function isGone(pid: number | string): Promise<boolean> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", 'grep -lsE -- "\\) [^ZX] " "/proc/$1/stat"', "sh", String(pid)],
    stderr: "null",
  }).output();
  return stdout.length === 0;
}
