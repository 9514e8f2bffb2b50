/**
 * What somebody would try who runs code of his own inside of a server or a commander. Each attempt is made in the
 * process itself; the runtime must refuse it. A test starts this as a program of its own, too, with every permission,
 * and sees that there the runtime refuses none of them: so what is refused is refused by the flags.
 */

/** Places of one installation, and of the machine around it. */
export interface Places {
  readonly configDir: string;
  readonly configPath: string;
  readonly commandsPath: string;
  readonly keyPath: string;
  /** Folder of the replay floors. */
  readonly serverStateDir: string;
  readonly floorsPath: string;
  readonly statusPath: string;
  /** Folder of the leases. */
  readonly commanderStateDir: string;
  readonly socketDir: string;
  /** A folder that has nothing to do with it. */
  readonly elsewhere: string;
  /** A script in that folder. */
  readonly scriptPath: string;
  /** The runtime, which would start anew with whatever flags it is given. */
  readonly runtimePath: string;
  /** Somebody listens there by TCP. */
  readonly tcpPort: number;
  /** A UDP peer that sent a knock; where answers would go. */
  readonly peerPort: number;
  /** Somebody else listens on this Unix socket. */
  readonly otherSocketPath: string;
}

export type Outcome = "refused" | "permitted" | `another error: ${string}`;

type Attempt = readonly [what: string, act: (places: Places) => unknown];

import process from "node:process";

const bytes = new Uint8Array([1]);

function nextFloors(floorsPath: string): string {
  return floorsPath.replace(/[^/]+$/, ".$&.tmp");
}

const RUN: readonly Attempt[] = [
  ["run a program", () => new Deno.Command("/bin/true").output()],
  ["run a program by its name", () => new Deno.Command("true").output()],
  ["run another shell", () => new Deno.Command("/bin/bash", { args: ["-c", "true"] }).output()],
  ["run the runtime", ({ runtimePath }) => new Deno.Command(runtimePath, { args: ["--version"] }).output()],
  ["run a program by node:child_process", async () => {
    const { execFileSync } = await import("node:child_process");
    execFileSync("/bin/true");
  }],
  ["fork the runtime by node:child_process", async ({ scriptPath }) => {
    const { fork } = await import("node:child_process");
    fork(scriptPath).kill();
  }],
  ["signal another process", () => Deno.kill(Deno.ppid, "SIGCONT")],
  ["signal every process of its group", () => Deno.kill(0, "SIGCONT")],
  ["ask for more", async () => {
    const { state } = await Deno.permissions.request({ name: "run" });
    if (state !== "granted") throw new Deno.errors.NotCapable(state);
  }],
];

const SHELL: readonly Attempt[] = [
  ["run the shell", () => new Deno.Command("/bin/sh", { args: ["-c", "true"] }).output()],
];

const MACHINE: readonly Attempt[] = [
  ["load a library (ffi)", () => Deno.dlopen("/lib/x86_64-linux-gnu/libc.so.6", {}).close()],
  ["load a module in machine code", () => process.dlopen({ exports: {} }, "/lib/x86_64-linux-gnu/libc.so.6")],
  ["become another user", () => process.setuid?.(0)],
  ["open the inspector", async () => {
    const inspector = await import("node:inspector");
    inspector.open(0, "127.0.0.1");
    inspector.close();
  }],
  ["read the environment", () => Deno.env.toObject()],
  ["read a variable", () => Deno.env.get("HOME")],
  ["set a variable", () => Deno.env.set("POSTERN_INSIDE", "1")],
  ["ask for the host's name (sys)", () => Deno.hostname()],
  ["ask for the user (sys)", () => Deno.uid()],
  ["ask for network interfaces (sys)", () => Deno.networkInterfaces()],
  ["import a computed path", ({ scriptPath }) => import(`file://${scriptPath}`)],
  [
    "import from the network",
    ({ tcpPort }) => import(`http://127.0.0.1:${tcpPort}/module.js`),
  ],
  ["load by require()", async ({ elsewhere, scriptPath }) => {
    const { createRequire } = await import("node:module");
    createRequire(`file://${elsewhere}/`)(scriptPath);
  }],
  ["read in a worker", ({ scriptPath }) => inWorker(`Deno.readTextFileSync(${JSON.stringify(scriptPath)})`)],
  ["run a program in a worker", () => inWorker(`new Deno.Command("/bin/true").outputSync()`)],
  ["go elsewhere", () => Deno.chdir("/")],
  ["make a database elsewhere", async ({ elsewhere }) => {
    const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(`${elsewhere}/planted.db`).close();
  }],
  ["attach a database elsewhere", async ({ elsewhere }) => {
    const { DatabaseSync } = await import("node:sqlite");
    new DatabaseSync(":memory:").exec(`ATTACH '${elsewhere}/attached.db' AS other`);
  }],
  ["read /etc/shadow", () => Deno.readTextFile("/etc/shadow")],
  ["read /proc/self/environ", () => Deno.readTextFile("/proc/self/environ")],
  ["list the root folder", () => Array.fromAsync(Deno.readDir("/"))],
  ["list a folder elsewhere", ({ elsewhere }) => Array.fromAsync(Deno.readDir(elsewhere))],
  ["write elsewhere", ({ elsewhere }) => Deno.writeFile(`${elsewhere}/planted`, bytes)],
  ["write into /tmp", () => Deno.remove(Deno.makeTempFileSync({ dir: "/tmp" }))],
  ["write by node:fs", async ({ elsewhere }) => {
    const { writeFileSync } = await import("node:fs");
    writeFileSync(`${elsewhere}/planted`, bytes);
  }],
  ["make a folder elsewhere", ({ elsewhere }) => Deno.mkdir(`${elsewhere}/made`, { recursive: true })],
];

const CONNECT: readonly Attempt[] = [
  [
    "connect by TCP",
    ({ tcpPort }) => Deno.connect({ port: tcpPort, hostname: "127.0.0.1" }).then((c) => c.close()),
  ],
  [
    "connect to another Unix socket",
    ({ otherSocketPath }) =>
      Deno.connect({ transport: "unix", path: otherSocketPath }).then((c) => c.close()),
  ],
  ["fetch by HTTP", ({ tcpPort }) => fetch(`http://127.0.0.1:${tcpPort}/`)],
  ["fetch by a proxy on a Unix socket", ({ otherSocketPath }) => {
    const client = Deno.createHttpClient({ proxy: { transport: "unix", path: otherSocketPath } });
    return fetch("http://127.0.0.1:1/", { client });
  }],
  ["connect by WebSocket", ({ tcpPort }) => new WebSocket(`ws://127.0.0.1:${tcpPort}/`).close()],
  ["open a QUIC endpoint", () => new Deno.QuicEndpoint({ hostname: "127.0.0.1", port: 0 }).close()],
  ["connect by node:net", async ({ tcpPort }) => {
    const { connect } = await import("node:net");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const socket = connect(tcpPort, "127.0.0.1", resolve).on("error", reject);
    await promise.finally(() => socket.destroy());
  }],
  ["look a name up by node:dns", async () => {
    const { lookup } = await import("node:dns/promises");
    await lookup("localhost");
  }],
  ["ask the DNS", () => Deno.resolveDns("postern.invalid", "A")],
  ["listen by TCP", () => Deno.listen({ hostname: "127.0.0.1", port: 0 }).close()],
  ["listen by UDP", () => Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 }).close()],
  [
    "listen on a Unix socket elsewhere",
    ({ elsewhere }) => Deno.listen({ transport: "unix", path: `${elsewhere}/planted.socket` }).close(),
  ],
];

const SERVER: readonly Attempt[] = [
  ...SHELL,
  ["read the commands", ({ commandsPath }) => Deno.readTextFile(commandsPath)],
  ["read the leases", ({ commanderStateDir }) => Deno.readTextFile(`${commanderStateDir}/leases.json`)],
  ["add a key", ({ configDir }) => Deno.writeFile(`${configDir}/planted.key`, bytes)],
  ["change a key", ({ keyPath }) => Deno.open(keyPath, { append: true }).then((file) => file.close())],
  [
    "change the configuration",
    ({ configPath }) => Deno.open(configPath, { append: true }).then((f) => f.close()),
  ],
  [
    "change the commands",
    ({ commandsPath }) => Deno.open(commandsPath, { append: true }).then((f) => f.close()),
  ],
  ["change the mode of a key", ({ keyPath }) => Deno.chmod(keyPath, 0o600)],
  ["write beside the floors", ({ serverStateDir }) => Deno.writeFile(`${serverStateDir}/planted`, bytes)],
  ["write beside the status file", ({ socketDir }) => Deno.writeFile(`${socketDir}/planted`, bytes)],
  ["link the floors to a key", ({ floorsPath, keyPath }) => Deno.link(keyPath, `${floorsPath}.link`)],
  [
    "plant a symbolic link",
    ({ floorsPath, commandsPath }) => Deno.symlink(commandsPath, `${floorsPath}.symlink`),
  ],
  ["move the status file to a key's place", async ({ statusPath, configDir }) => {
    await Deno.rename(statusPath, `${configDir}/moved.key`);
  }],
  [
    "copy the commands into the status file",
    ({ commandsPath, statusPath }) => Deno.copyFile(commandsPath, statusPath),
  ],
  [
    "copy the commands by node:fs",
    async ({ commandsPath, statusPath }) => {
      const { copyFileSync } = await import("node:fs");
      copyFileSync(commandsPath, statusPath);
    },
  ],
  [
    "put a link to the commands in the place of the next floors",
    async ({ commandsPath, floorsPath }) => {
      await Deno.remove(nextFloors(floorsPath)).catch(() => {});
      await Deno.symlink(commandsPath, nextFloors(floorsPath));
    },
  ],
  [
    "put a hard link to a key in the status file's place",
    async ({ keyPath, statusPath }) => {
      await Deno.remove(statusPath).catch(() => {});
      await Deno.link(keyPath, statusPath);
    },
  ],
  ["move a key to the status file's place", ({ keyPath, statusPath }) => Deno.rename(keyPath, statusPath)],
];

const COMMANDER: readonly Attempt[] = [
  ["read a key", ({ keyPath }) => Deno.readTextFile(keyPath)],
  ["list the keys", ({ configDir }) => Array.fromAsync(Deno.readDir(configDir))],
  ["read the replay floors", ({ floorsPath }) => Deno.readFile(floorsPath)],
  ["connect to its own socket", async ({ socketDir }) => {
    const connection = await Deno.connect({ transport: "unix", path: `${socketDir}/ruroco.socket` });
    connection.close();
  }],
  ["bind its socket again", ({ socketDir }) => {
    Deno.listen({ transport: "unix", path: `${socketDir}/.commander/ruroco.socket` }).close();
  }],
  ["change the mode of the commands", ({ commandsPath }) => Deno.chmod(commandsPath, 0o600)],
  [
    "put a symbolic link in the leases' place",
    ({ commanderStateDir, commandsPath }) =>
      Deno.symlink(commandsPath, `${commanderStateDir}/.leases.json.tmp`),
  ],
  [
    "change the commands",
    ({ commandsPath }) => Deno.open(commandsPath, { append: true }).then((f) => f.close()),
  ],
  [
    "change the configuration",
    ({ configPath }) => Deno.open(configPath, { append: true }).then((f) => f.close()),
  ],
  [
    "write beside the leases",
    ({ commanderStateDir }) => Deno.writeFile(`${commanderStateDir}/planted`, bytes),
  ],
  [
    "load a library into the shell",
    () => new Deno.Command("/bin/sh", { args: ["-c", "true"], env: { LD_PRELOAD: "/lib/none.so" } }).output(),
  ],
];

/**
 * What the runtime lets code inside do all the same; docs/permissions.md tells each under "What the runtime does not keep
 * anybody from". If a later one refuses it, that page is too modest.
 */
export const KEEP_DATA = "keep data in the runtime's own folder";
const ANYWHERE: readonly Attempt[] = [
  ["run text as code", () => import(`data:text/javascript,${encodeURIComponent("export default 1")}`)],
  [KEEP_DATA, async () => {
    await (await caches.open("postern-stranger")).put("https://stranger.invalid/", new Response("kept"));
    await caches.delete("postern-stranger");
  }],
  ["change the engine's flags", async () => (await import("node:v8")).setFlagsFromString("--max-lazy")],
];
export const LIMITS: Readonly<Record<"server" | "commander", readonly Attempt[]>> = {
  server: [
    ...ANYWHERE,
    ["change the mode of a key that it has opened for reading", async ({ keyPath }) => {
      const { closeSync, fchmodSync, openSync } = await import("node:fs");
      const opened = openSync(keyPath, "r");
      fchmodSync(opened, 0o600);
      closeSync(opened);
    }],
    ["put a folder with files in the place of the next floors", async ({ floorsPath }) => {
      const next = nextFloors(floorsPath);
      await Deno.remove(next).catch(() => {});
      await Deno.mkdir(next);
      await Deno.writeFile(`${next}/more`, bytes);
      await Deno.remove(next, { recursive: true });
    }],
    ["have a database make files beside the floors", async ({ floorsPath }) => {
      const { DatabaseSync } = await import("node:sqlite");
      const next = nextFloors(floorsPath);
      const database = new DatabaseSync(next);
      database.exec("CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1)");
      await Deno.stat(`${next}-journal`);
      database.exec("COMMIT");
      database.close();
      await Deno.remove(next);
    }],
    ["open the commander's socket to everybody", async ({ socketDir }) => {
      await Deno.chmod(`${socketDir}/ruroco.socket`, 0o777);
      await Deno.chmod(`${socketDir}/ruroco.socket`, 0o204);
    }],
  ],
  commander: ANYWHERE,
};

/** In the registry that the test has made up; whether it was asked, only the test can see. */
export const PACKAGE = "@stranger/package";

export async function tryToFetchPackage(): Promise<void> {
  // No literal, or the runtime would look for it before it starts.
  await import(["npm:", PACKAGE, "@1.0.0"].join("")).catch(() => {});
}

/** Runs a line of code in a worker, which has the permissions of who started it. */
async function inWorker(code: string): Promise<void> {
  const text = `try { ${code}; postMessage(""); } catch (error) { postMessage(error.message); }`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(text)}`, { type: "module" });
  const { promise, resolve } = Promise.withResolvers<string>();
  worker.onmessage = ({ data }) => resolve(data);
  const message = await promise.finally(() => worker.terminate());
  if (message !== "") throw new Error(message);
}

/** What the role must be refused. */
export function attemptsOf(role: "server" | "commander"): readonly Attempt[] {
  return [...RUN, ...MACHINE, ...CONNECT, ...(role === "server" ? SERVER : COMMANDER)];
}

/** Makes every attempt; gives what came of each. */
export async function tryAll(attempts: readonly Attempt[], places: Places): Promise<[string, Outcome][]> {
  const outcomes: [string, Outcome][] = [];
  for (const [what, act] of attempts) outcomes.push([what, await outcomeOf(() => act(places))]);
  return outcomes;
}

export async function outcomeOf(act: () => unknown): Promise<Outcome> {
  try {
    await act();
    return "permitted";
  } catch (error) {
    return isRefusal(error) ? "refused" : `another error: ${String(error).split("\n", 1)[0]}`;
  }
}

/** Refused by the runtime; what the system refuses is another error. */
function isRefusal(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof Deno.errors.NotCapable) return true;
    // What the runtime gives a dynamic import, or node's functions, is an error of another kind.
    if (/^(?:NotCapable: )?Requires (?:[a-z]+ access|--allow-[a-z]+ permissions) to /.test(cause.message)) {
      return true;
    }
    if (/^getaddrinfo EPERM |^too many attached databases - max 0$/.test(cause.message)) return true;
  }
  return false;
}
