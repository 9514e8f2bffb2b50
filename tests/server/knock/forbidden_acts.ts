/**
 * Tries what a server must not be able to do, whatever became of its code, and says how each act ended. Run with the
 * server's own flags and the path of its configuration.
 */
const configPath = Deno.args[0] ?? "";
const folder = configPath.slice(0, configPath.lastIndexOf("/"));

const acts: Record<string, () => unknown> = {
  "read the commands": () => Deno.readTextFileSync(`${folder}/commands.toml`),
  "overwrite the commands": () => Deno.writeTextFileSync(`${folder}/commands.toml`, ""),
  "move a file over the commands": () => {
    Deno.writeTextFileSync(`${folder}/planted`, "");
    Deno.renameSync(`${folder}/planted`, `${folder}/commands.toml`);
  },
  "move the commands away": () => Deno.renameSync(`${folder}/commands.toml`, `${folder}/gone`),
  "overwrite the configuration": () => Deno.writeTextFileSync(configPath, ""),
  "open the configuration to all": () => Deno.chmodSync(configPath, 0o666),
  "overwrite a key": () => Deno.writeTextFileSync(`${folder}/user.key`, ""),
  "remove a key": () => Deno.removeSync(`${folder}/user.key`),
  "read a lease": () => Deno.readTextFileSync(`${folder}/commander-state/leases.json`),
  "plant a lease": () => Deno.writeTextFileSync(`${folder}/commander-state/leases.json`, ""),
  "move the leases away": () => Deno.renameSync(`${folder}/commander-state`, `${folder}/gone`),
  "remove the folder with all in it": () => Deno.removeSync(folder, { recursive: true }),
  "make a link to the commands": () => Deno.linkSync(`${folder}/commands.toml`, `${folder}/link`),
  "read a file elsewhere": () => Deno.readTextFileSync("/etc/passwd"),
  "write a file elsewhere": () => Deno.writeTextFileSync("/tmp/postern-forbidden", ""),
  "run a program": () => new Deno.Command("/bin/true").outputSync(),
  "read the environment": () => Deno.env.get("HOME"),
  "learn about the machine": () => Deno.hostname(),
  "open a TCP connection": () => Deno.connect({ hostname: "127.0.0.1", port: 22 }),
  "look a name up": () => Deno.resolveDns("localhost", "A"),
  "connect to another socket": () => Deno.connect({ transport: "unix", path: `${folder}/other.socket` }),
  "listen at another address": () => Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 }),
  "answer a packet": answer,
};

/** From the very address it may listen on. */
async function answer(): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  try {
    await socket.send(new Uint8Array(1), { transport: "udp", hostname: "127.0.0.1", port: 9 });
  } finally {
    socket.close();
  }
}

function say(act: string, outcome: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(JSON.stringify({ act, outcome }) + "\n"));
}

for (const [name, act] of Object.entries(acts)) {
  try {
    await act();
    say(name, "done");
  } catch (error) {
    say(name, error instanceof Error ? error.name : String(error));
  }
}
say("end", "");
