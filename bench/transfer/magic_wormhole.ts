/** Magic Wormhole's servers, and two programs that speak its protocol: its own in Python, and wormhole-william in Go. */
import { randomWords } from "./code_words.ts";
import { listensWithin, missingProgram } from "./programs.ts";
import type { Attempt, MissingSubject, TransferSubject } from "./subject.ts";

const HOST = "127.0.0.1";
const MAILBOX_PORT = 4000;
/** wormhole-william knows no other one than this port of this host. */
const TRANSIT_PORT = 4001;
const TRANSIT_HOST = "transit.magic-wormhole.io";
const MAILBOX_URL = `ws://${HOST}:${MAILBOX_PORT}/v1`;
const SERVERS = "apt-get install python3-magic-wormhole-mailbox-server magic-wormhole-transit-relay";
const START_MS = 20_000;
/** In a mount namespace of its own the relay's name means this host; then becomes the program. */
const WITH_HOSTS = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';

/** The mailbox server and the transit relay, for both programs. */
export class WormholeServers implements AsyncDisposable {
  readonly subjects: readonly (TransferSubject | MissingSubject)[];
  readonly #children: readonly Deno.ChildProcess[];

  private constructor(
    children: readonly Deno.ChildProcess[],
    subjects: readonly (TransferSubject | MissingSubject)[],
  ) {
    this.#children = children;
    this.subjects = subjects;
  }

  /** @param folder where the servers' databases lie */
  static async start(folder: string): Promise<WormholeServers> {
    const children: Deno.ChildProcess[] = [];
    const missing = missingProgram("twist3", SERVERS) ?? await startServers(folder, children);
    const subject = (
      program: string,
      { name, attempt }: TransferSubject,
      why: string | null,
    ): TransferSubject | MissingSubject => {
      const found = missing ?? missingProgram(program, `apt-get install ${name}`) ?? why;
      return found === null ? { name, attempt } : { name, missing: found };
    };
    return new WormholeServers(children, [
      subject("wormhole", { name: "magic-wormhole", attempt: wormhole }, null),
      subject(
        "wormhole-william",
        { name: "wormhole-william", attempt: (path, into) => william(path, into, folder) },
        whyNotThroughRelay(),
      ),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended already.
      }
    }
    await Promise.all(this.#children.map((child) => child.status));
  }
}

/** wormhole-william always tries to reach the other side at its addresses, of which it leaves out loopback alone. */
function whyNotThroughRelay(): string | null {
  const isAlone = Deno.networkInterfaces().every(({ name }) => name === "lo");
  return isAlone ? null : "outside of a network namespace it leaves out the relay";
}

/** Why they do not run, or null. */
async function startServers(folder: string, children: Deno.ChildProcess[]): Promise<string | null> {
  const databases = [`--channel-db=${folder}/mailbox.sqlite`, `--usage-db=${folder}/usage.sqlite`];
  const mailbox = ["wormhole-mailbox", `--port=tcp:${MAILBOX_PORT}:interface=${HOST}`, ...databases];
  const transit = ["transitrelay", `--port=tcp:${TRANSIT_PORT}:interface=${HOST}`];
  for (const args of [mailbox, transit]) {
    const options = { args, cwd: folder, stdin: "null", stdout: "null", stderr: "null" } as const;
    children.push(new Deno.Command("twist3", options).spawn());
  }
  await Deno.writeTextFile(`${folder}/hosts`, `127.0.0.1 localhost\n127.0.0.1 ${TRANSIT_HOST}\n`);
  for (const port of [MAILBOX_PORT, TRANSIT_PORT]) {
    if (!await listensWithin(START_MS, port)) {
      return `its server does not listen on port ${port}: ${SERVERS}`;
    }
  }
  return null;
}

function wormhole(path: string, folder: string): Promise<Attempt> {
  const code = freshCode();
  const servers = ["--relay-url", MAILBOX_URL, "--transit-helper", `tcp:${HOST}:${TRANSIT_PORT}`];
  // Without --no-listen the two would find each other and leave out the relay.
  const through = ["--no-listen", "--hide-progress"];
  const receivedPath = `${folder}/received`;
  return Promise.resolve({
    sender: { program: "wormhole", args: [...servers, "send", ...through, "--code", code, path] },
    receiver: {
      program: "wormhole",
      args: [...servers, "receive", ...through, "--accept-file", "-o", receivedPath, code],
    },
    receivedPath,
  });
}

function william(path: string, folder: string, serversFolder: string): Promise<Attempt> {
  const code = freshCode();
  const shell = ["--mount", "sh", "-c", WITH_HOSTS, "sh", `${serversFolder}/hosts`];
  const program = [...shell, "wormhole-william", "--relay-url", MAILBOX_URL];
  return Promise.resolve({
    sender: { program: "unshare", args: [...program, "send", "--hide-progress", "--code", code, path] },
    receiver: {
      program: "unshare",
      args: [...program, "receive", "--hide-progress", code],
      cwd: folder,
      input: "y\n",
    },
    receivedPath: `${folder}/${path.slice(path.lastIndexOf("/") + 1)}`,
  });
}

/** A mailbox of its own for each transfer. */
function freshCode(): string {
  return randomWords("-");
}
