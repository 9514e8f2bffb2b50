/**
 * A management server as it ships, in a process of its own, and thousands of hosts that are linked to it and idle, in a
 * few other processes, each with some attempts at once. All hosts come from one address.
 */
import { repositoryFolder } from "../../scripts/lab.ts";
import { ManageLab } from "../../scripts/manage_lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { tokenHash } from "../../src/protocol/manage/join_token.ts";
import { dataFolder } from "../../src/server/manage/data_folder.ts";
import { Registry } from "../../src/server/manage/registry.ts";
import { loadServerIdentity } from "../../src/server/manage/server_identity.ts";
import type { Share, Told } from "./crowd_process.ts";
import { hostKey, hostName } from "./simulated_hosts.ts";

const HOST = "127.0.0.1";
const PROCESS_PATH = new URL("./crowd_process.ts", import.meta.url).pathname;
/** Registered in one transaction. */
const BATCH = 250;
const SECRET_BYTES = 32;
const INVITATION_MS = 3_600_000;

/** How many, and in how many processes. */
export interface CrowdSize {
  readonly hosts: number;
  readonly processes: number;
}

/** The server, and the processes of the hosts; disposing of it ends all of them. */
export class HostCrowd implements AsyncDisposable {
  readonly lab: ManageLab;
  readonly size: CrowdSize;
  readonly #processes: LoggedProcess[] = [];

  private constructor(lab: ManageLab, size: CrowdSize) {
    this.lab = lab;
    this.size = size;
  }

  /** Starts a server and registers the hosts; none of them comes yet. */
  static async make(size: CrowdSize): Promise<HostCrowd> {
    // One that stays over restarts: without a cable in between, which would carry thousands of connections.
    const address = `${HOST}:${freePort()}`;
    const lab = await ManageLab.make({ address, bind: address });
    try {
      await register(lab.serverDir, size.hosts);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return new HostCrowd(lab, size);
  }

  /** The server's process at the moment. */
  get serverPid(): number {
    return this.lab.server.pid;
  }

  /** Hosts whose links stand, as they see it. */
  get linked(): number {
    return this.#told().reduce((sum, { linked }) => sum + linked, 0);
  }

  /** Attempts that have failed so far, by reason. */
  get failures(): ReadonlyMap<string, number> {
    const all = new Map<string, number>();
    for (const { failures } of this.#told()) {
      for (const [reason, count] of Object.entries(failures)) all.set(reason, (all.get(reason) ?? 0) + count);
    }
    return all;
  }

  /** Starts the hosts. */
  async come(): Promise<void> {
    const { hosts, processes } = this.size;
    const crowd = await crowdOf(this.lab);
    for (let at = 0; at < processes; at++) {
      const first = Math.floor(hosts * at / processes), next = Math.floor(hosts * (at + 1) / processes);
      const share: Share = { ...crowd, first, count: next - first };
      this.#processes.push(
        new LoggedProcess(["run", "-A", PROCESS_PATH, JSON.stringify(share)], {
          cwd: repositoryFolder,
          reads: "stdout",
        }),
      );
    }
  }

  /** Restarts the server; resolves when it listens again. */
  async restartServer(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    await this.lab.stopServer(signal);
    await this.lab.startServer();
  }

  #told(): Told[] {
    return this.#processes.map(({ lines }) =>
      (lines.at(-1)?.fields ?? { linked: 0, failures: {} }) as unknown as Told
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop("SIGKILL")));
    await this.lab[Symbol.asyncDispose]();
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: HOST, port: 0 });
  return listener.addr.port;
}

/** As if each had joined by a token of its own. */
async function register(folder: string, count: number): Promise<void> {
  using registry = await Registry.open(dataFolder(folder));
  const keys = await Promise.all(
    Array.from({ length: count }, async (_, number) => (await hostKey(number)).publicKey),
  );
  const expiresMs = Date.now() + INVITATION_MS;
  for (let at = 0; at < count; at += BATCH) {
    registry.batch(() => {
      for (const [index, key] of keys.slice(at, at + BATCH).entries()) {
        const secretHash = tokenHash(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
        const name = hostName(at + index);
        registry.createInvite({ role: "host", name, tags: [], replaces: false, expiresMs, secretHash });
        const bound = registry.bindToken({ secretHash, role: "host", key, address: HOST });
        if ("refused" in bound) throw new Error(`${name} could not be registered: ${bound.text}`);
      }
    });
  }
}

async function crowdOf(lab: ManageLab): Promise<Omit<Share, "first" | "count">> {
  const folder = dataFolder(lab.serverDir);
  using registry = await Registry.open(folder);
  const { serverKey, tlsCertificateDer, addresses } = await loadServerIdentity(folder, registry);
  return {
    port: Number(addresses[0]?.split(":").at(-1)),
    serverKey: serverKey.publicKey.toHex(),
    serverCertificate: tlsCertificateDer.toHex(),
    caCertificate: await Deno.readTextFile(folder.caCertificate),
  };
}
