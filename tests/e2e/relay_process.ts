/** A relay as a process of its own, with exactly its permissions. */
import { LoggedProcess } from "../../scripts/process.ts";
import { parseListenAddress } from "../../src/server/knock/listen_address.ts";
import { relayPermissions } from "../../src/server/relay/permissions.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const BYTES_PER_KB = 1024;
const BYTES_PER_MB = 1e6;

/** How it is started. */
export interface RelayProcessOptions {
  /** @default "127.0.0.1:0" */
  readonly bind?: string;
  readonly statusPath?: string;
  /** More words of its command line. */
  readonly words?: readonly string[];
  /** Words before `deno`. */
  readonly launcher?: readonly string[];
  /** The module that is run instead of the program. */
  readonly entryPath?: string;
  /** Flags of the runtime instead of the ones that are needed. */
  readonly flags?: readonly string[];
}

export class RelayProcess implements AsyncDisposable {
  readonly process: LoggedProcess;
  /** Where it listens. */
  readonly address: string;

  private constructor(process: LoggedProcess, address: string) {
    this.process = process;
    this.address = address;
  }

  /** Resolves when it listens. */
  static async start(options: RelayProcessOptions = {}): Promise<RelayProcess> {
    const { bind = "127.0.0.1:0", statusPath, words = [], launcher = [], entryPath = mainPath } = options;
    const process = new LoggedProcess([
      ...["run", "--no-prompt", "--cached-only", ...options.flags ?? relayFlags(bind, statusPath), entryPath],
      ...["server", "relay", "--bind", bind, "--log", "json", ...words],
      ...statusPath === undefined ? [] : ["--status", statusPath],
    ], { launcher });
    try {
      const { fields } = await process.line(({ fields }) => fields["message"] === "relay ready");
      return new RelayProcess(process, String(fields["address"]));
    } catch (error) {
      await process.stop("SIGKILL");
      throw error;
    }
  }

  /** Resident memory in megabytes. */
  get residentMb(): number {
    const status = Deno.readTextFileSync(`/proc/${this.process.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * BYTES_PER_KB / BYTES_PER_MB;
  }

  /** Lines with this message so far. */
  lines(message: string): readonly Readonly<Record<string, unknown>>[] {
    return this.process.lines.filter(({ fields }) => fields["message"] === message).map(({ fields }) =>
      fields
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop("SIGKILL");
  }
}

/** The flags of `deno run` that a relay needs, and no others. */
export function relayFlags(bind: string, statusPath: string | null = null): string[] {
  const address = parseListenAddress(bind);
  if (address === null) throw new TypeError(`no address: ${bind}`);
  return permissionFlags(permissionSet(relayPermissions({ address, statusPath })));
}
