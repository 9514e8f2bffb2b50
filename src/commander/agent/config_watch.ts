/**
 * agent.toml as it is now. The file is looked at twice a second, so that a stricter one counts within a second, however
 * it was written; a watch of the system would miss a folder that was moved, and cost another permission.
 */
import type { Timers } from "../../protocol/rpc/timers.ts";
import { describeError } from "../../system/failure.ts";
import type { Log } from "../../system/log.ts";
import { type AgentConfig, configGround, readAgentConfig } from "./agent_config.ts";

/** Pause between two looks. */
export const POLL_MS = 500;

/** What the watch works with. */
export interface ConfigWatchOptions {
  readonly path: string;
  /** What was read when the agent started. */
  readonly first: AgentConfig;
  /** Told whenever another one counts, or none. */
  readonly onChange: (config: AgentConfig | null) => void;
  readonly timers: Timers;
  readonly log: Log;
  /** Reads the file. @default readAgentConfig of the path */
  readonly read?: () => Promise<AgentConfig>;
}

/** The watch. */
export class ConfigWatch implements Disposable {
  readonly #options: ConfigWatchOptions;
  #current: AgentConfig | null;
  #seen: string | null = null;
  /** What was last told of a file that cannot be read. */
  #trouble: string | null = null;
  #isOver = false;
  #callOff = (): void => {};

  /** Begins to look. */
  constructor(options: ConfigWatchOptions) {
    this.#options = options;
    this.#current = options.first;
    this.#next();
  }

  /** What counts; null while the file cannot be read: then nothing new may begin. */
  get current(): AgentConfig | null {
    return this.#current;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#callOff();
  }

  #next(): void {
    this.#callOff = this.#options.timers.after(POLL_MS, () => {
      void this.look().then(() => {
        if (!this.#isOver) this.#next();
      });
    });
  }

  /** Looks once. Never rejects. */
  async look(): Promise<void> {
    // Before it is read: what is written meanwhile is seen the next time.
    const mark = await markOf(this.#options.path);
    if (mark === this.#seen) return;
    this.#seen = mark;
    let config: AgentConfig | null = null;
    try {
      config = await (this.#options.read ?? (async () =>
        await readAgentConfig(this.#options.path, await configGround())))();
      this.#trouble = null;
    } catch (error) {
      // Not all of it is in the file: too many files were open, or the user of run_as is just being made. So it is read
      // again at the next look, or nobody could ever come in again.
      this.#seen = null;
      this.#tellTrouble(describeError(error));
    }
    if (this.#isOver) return;
    if (sameSettings(config, this.#current)) return;
    this.#current = config;
    if (config !== null) this.#options.log.info("agent.toml read again");
    this.#options.onChange(config);
  }

  /** Once, not twice a second. */
  #tellTrouble(error: string): void {
    if (error === this.#trouble) return;
    this.#trouble = error;
    this.#options.log.error("agent.toml cannot be read: no session may begin", { error });
  }
}

/** Two files with one mark are one file that nobody has written. */
async function markOf(path: string): Promise<string> {
  try {
    const { ino, size, mtime, ctime, mode, uid } = await Deno.stat(path);
    return [ino, size, mtime?.getTime(), ctime?.getTime(), mode, uid].join(" ");
  } catch (error) {
    return describeError(error);
  }
}

function sameSettings(a: AgentConfig | null, b: AgentConfig | null): boolean {
  const text = (config: AgentConfig | null): string =>
    JSON.stringify(config, (_key, value) => value instanceof Uint8Array ? value.toHex() : value);
  return text(a) === text(b);
}
