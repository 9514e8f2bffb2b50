/** Debian's OpenSSH on loopback: a server with keys of its own on a free port, for as long as a group of rows takes. */
import { userInfo } from "node:os";
import { holdsWithin } from "../sleep.ts";
import { freeTcpPort, isTcpPortTaken } from "../tcp_port.ts";

const HOST = "127.0.0.1";
const SSHD = "/usr/sbin/sshd";
/** Without it, an sshd of root does not start. */
const PRIVILEGE_FOLDER = "/run/sshd";
const START_MS = 5000;
const ROOT_UID = 0;

/** Why it cannot be measured here, or null. */
export async function missingOpenSsh(): Promise<string | null> {
  const isThere = async (path: string): Promise<boolean> =>
    await Deno.stat(path).then(() => true, () => false);
  if (!await isThere(SSHD)) return "sshd is not installed: apt-get install openssh-server";
  if (Deno.uid() === ROOT_UID && !await isThere(PRIVILEGE_FOLDER)) {
    return `sshd needs ${PRIVILEGE_FOLDER}: install -d ${PRIVILEGE_FOLDER}`;
  }
  try {
    await new Deno.Command("ssh", { args: ["-V"], stdin: "null", stdout: "null", stderr: "null" }).output();
    return null;
  } catch {
    return "ssh is not installed: apt-get install openssh-client";
  }
}

/** The server, and how it is reached. */
export class OpenSsh implements AsyncDisposable {
  readonly #folder: string;
  readonly #port: number;
  readonly #server: Deno.ChildProcess;

  private constructor(folder: string, port: number, server: Deno.ChildProcess) {
    this.#folder = folder;
    this.#port = port;
    this.#server = server;
  }

  /** @param parent where its folder comes, whose maker removes it */
  static async start(parent: string): Promise<OpenSsh> {
    const folder = await Deno.makeTempDir({ dir: parent, prefix: "ssh-" });
    const port = freeTcpPort();
    await Promise.all([makeKey(`${folder}/host`), makeKey(`${folder}/user`)]);
    const hostKey = await Deno.readTextFile(`${folder}/host.pub`);
    await Deno.writeTextFile(`${folder}/known_hosts`, `[${HOST}]:${port} ${hostKey}`);
    await Deno.writeTextFile(`${folder}/sshd_config`, serverConfig(folder, port));
    const server = new Deno.Command(SSHD, {
      args: ["-D", "-f", `${folder}/sshd_config`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const ssh = new OpenSsh(folder, port, server);
    if (await holdsWithin(START_MS, () => isTcpPortTaken(port))) return ssh;
    await ssh[Symbol.asyncDispose]();
    throw new Error("sshd does not listen");
  }

  get serverPid(): number {
    return this.#server.pid;
  }

  /** `ssh OPTIONS host COMMAND`, with the key and without anything that a configuration of this machine says. */
  words(options: readonly string[], ...command: readonly string[]): [string, ...string[]] {
    return [
      ...["ssh", "-F", "none", "-p", `${this.#port}`, "-i", `${this.#folder}/user`, "-o", "BatchMode=yes"],
      ...["-o", "IdentitiesOnly=yes", "-o", `UserKnownHostsFile=${this.#folder}/known_hosts`],
      // From version 9.5 on it sends keystrokes at fixed moments, which would be all that was measured.
      ...["-o", "IgnoreUnknown=ObscureKeystrokeTiming", "-o", "ObscureKeystrokeTiming=no"],
      ...options,
      `${userInfo().username}@${HOST}`,
      ...command,
    ] as [string, ...string[]];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#server.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#server.status;
  }
}

async function makeKey(path: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("ssh-keygen", {
    args: ["-q", "-t", "ed25519", "-N", "", "-f", path],
    stdin: "null",
  }).output();
  if (!success) throw new Error(`ssh-keygen failed: ${new TextDecoder().decode(stderr)}`);
}

function serverConfig(folder: string, port: number): string {
  return `ListenAddress ${HOST}:${port}
HostKey ${folder}/host
AuthorizedKeysFile ${folder}/user.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
PrintMotd no
PrintLastLog no
UseDNS no
LogLevel ERROR
`;
}
