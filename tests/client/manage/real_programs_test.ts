/** Server, agent and client as real processes, each with exactly the permissions it ships with. */
import assert from "node:assert/strict";
import { Program } from "../../cli/transfer_programs.ts";

/** A server with alice as its administrator and web1 as its host, all in one temporary folder. */
class RealPlace implements AsyncDisposable {
  readonly folder: string;
  readonly server: Program;
  agent: Program;

  private constructor(folder: string, server: Program, agent: Program) {
    this.folder = folder;
    this.server = server;
    this.agent = agent;
  }

  static async make(): Promise<RealPlace> {
    const folder = await Deno.makeTempDir({ prefix: "postern-manage-" });
    const at = (name: string): string => `${folder}/${name}`;
    await done(["server", "manage", "init", "--address", "127.0.0.1:1", "--dir", at("server")]);
    const server = await Program.start(
      ["server", "manage", "--dir", at("server"), "--bind", "127.0.0.1:0"],
      { folder: "/", stdin: null },
    );
    const [, address = ""] = await server.says("stderr", /management server ready address=(\S+)/);
    // Nobody knows a free port before it is taken.
    const record = await Deno.readTextFile(at("server/server.json"));
    await Deno.writeTextFile(at("server/server.json"), record.replace("127.0.0.1:1", address));
    const invite = ["server", "manage", "invite"];
    const admin = await done([...invite, "admin", "alice", "--dir", at("server")]);
    await done(["client", "join", "-", "--dir", at("client")], admin.stdout);
    const host = await done([...invite, "host", "web1", "--tag", "prod", "--dir", at("server")]);
    await done(["commander", "agent", "--join", host.stdout.trim(), "--dir", at("agent")]);
    return new RealPlace(folder, server, await startAgent(folder));
  }

  /** Runs a command of alice. */
  async client(words: readonly string[], stdin = ""): Promise<Program> {
    const at = words.indexOf("--"), end = at === -1 ? words.length : at;
    const line = ["client", ...words.slice(0, end), "--dir", `${this.folder}/client`, ...words.slice(end)];
    await using program = await Program.start(line, { folder: "/", stdin });
    await program.exit();
    return program;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

async function startAgent(folder: string): Promise<Program> {
  const agent = await Program.start(["commander", "agent", "--dir", `${folder}/agent`], {
    folder: "/",
    stdin: null,
  });
  await agent.says("stderr", /linked to the server/);
  return agent;
}

/** Runs a command that must succeed. */
async function done(words: readonly string[], stdin = ""): Promise<Program> {
  await using program = await Program.start(words, { folder: "/", stdin });
  await program.ends(0);
  return program;
}

Deno.test("client exec reaches a real host through a real server", async () => {
  await using place = await RealPlace.make();
  const script = "cat; echo oops >&2; exit 7";
  const ran = await place.client(["exec", "web1", "--", "sh", "-c", script], "a line\n".repeat(50_000));
  assert.equal(await ran.exit(), 7, ran.stderr);
  assert.equal(ran.stdout, "a line\n".repeat(50_000));
  assert.match(ran.stderr, /^first session with web1: its key is pinned, SHA256:\S+\noops\n$/);

  const many = await place.client(["exec", "--all-tagged", "prod", "--json", "--", "printf", "x\\n"]);
  assert.equal(await many.exit(), 0, many.stderr);
  assert.deepEqual(many.events, [{ host: "web1", exitCode: 0, stdout: "x\n", stderr: "" }]);

  const hosts = await place.client(["hosts"]);
  assert.match(hosts.stdout, /\nweb1 +online +\d{4}-\d\d-\d\d .* prod /);

  // The head that the client keeps is one of the server's audit.
  const head = `${place.folder}/client/head`;
  await done(["server", "manage", "audit", "--verify", "--head", head, "--dir", `${place.folder}/server`]);

  await place.agent[Symbol.asyncDispose]();
  const offline = await place.client(["exec", "web1", "--", "true"]);
  assert.equal(await offline.exit(), 255);
  assert.match(offline.stderr, /^error: web1 is offline since \d{4}-\d\d-\d\d /);
});
