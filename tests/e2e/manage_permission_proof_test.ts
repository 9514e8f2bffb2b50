/**
 * The permissions of the manage job against real processes: without any one of its flags a command does not begin and
 * names it, and with them the runtime refuses it everything else, from inside of the running process.
 */
import assert from "node:assert/strict";
import { type ManageLab, textOf } from "../../scripts/manage_lab.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { shippedFlags, shippedWords } from "../../scripts/transfer_lab.ts";
import { eachFlagIsNeeded, type Startable } from "../permission_proof.ts";
import type { StrangerPlaces } from "./manage_inside_entry.ts";
import { linkedLab, mark } from "./manage_world.ts";
import { TempFolder } from "./temp_folder.ts";

const LIMIT = { timeout: 120_000 };
const entryPath = new URL("./manage_inside_entry.ts", import.meta.url).pathname;
const mainPath = `${repositoryFolder}main.ts`;

function byDenoRun(words: readonly string[]): Startable {
  return {
    command: (flags) => ({
      program: Deno.execPath(),
      args: ["run", "--no-prompt", "--cached-only", ...flags, mainPath, ...words],
    }),
    cwd: repositoryFolder,
  };
}

/** A line of each command, and what it ends with when it may not begin. */
function linesOf(lab: ManageLab): readonly (readonly [words: readonly string[], code: number])[] {
  return [
    [lab.serverLine, 1],
    [["server", "manage", "list", "--dir", lab.serverDir], 1],
    [lab.agentLine("web1"), 1],
    [["commander", "agent", "trust", "alice", "--dir", lab.agentDir("web1")], 1],
    [lab.clientLine("alice", "hosts"), 1],
    [lab.clientLine("alice", "exec", "web1", "--", "true"), 255],
    [lab.clientLine("alice", "shell", "web1", "--record", `${lab.folder}/new.cast`), 255],
    [lab.clientLine("alice", "forward", "web1", "127.0.0.1:0:localhost:1", "--socks", "127.0.0.2:0"), 1],
  ];
}

/** With an agent that may forward to one port only: the whole of loopback holds the server, and anybody's service. */
async function narrowLab(): Promise<ManageLab> {
  return await linkedLab({ configure: (_host, config) => config.set("forward", '["127.0.0.1:9"]') });
}

/** TERM is told to the host where it may be read. */
const OPTIONAL = new Set(["--allow-env=TERM"]);

Deno.test({
  name:
    "each command of the manage job needs every flag that it is started with, and names the one it misses",
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await narrowLab();
    for (const [words, code] of linesOf(lab)) {
      await t.step(
        words.slice(0, 2).join(" ") + (words[2]?.startsWith("-") === true ? "" : ` ${words[2]}`),
        async () => {
          const flags = await shippedFlags(words);
          const tried = await eachFlagIsNeeded(byDenoRun(words), flags, { optional: OPTIONAL, code });
          assert(tried.length >= 2, flags.join(" "));
        },
      );
    }
  },
});

type Attempts = Readonly<Record<string, string>>;

/** Somebody's service, and a folder: places that are nobody's business here. */
class Elsewhere implements AsyncDisposable {
  readonly places: StrangerPlaces;
  readonly #folder: TempFolder;
  readonly #service: Deno.HttpServer<Deno.NetAddr>;
  requests = 0;

  private constructor(folder: TempFolder) {
    this.#folder = folder;
    this.#service = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
      this.requests++;
      return new Response("export default 1;", { headers: { "content-type": "text/javascript" } });
    });
    this.places = { elsewhere: folder.path, port: this.#service.addr.port };
  }

  static async make(): Promise<Elsewhere> {
    const folder = await TempFolder.make("elsewhere");
    await Deno.writeTextFile(`${folder.path}/file`, "export default 1;\n");
    return new Elsewhere(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service.shutdown();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** A command line with the stranger inside, under the flags that it ships with. */
async function withStranger(words: readonly string[], { places }: Elsewhere): Promise<LoggedProcess> {
  const args = (await shippedWords(words)).flatMap((word) =>
    word === mainPath ? [entryPath, JSON.stringify(places)] : [word]
  );
  // Where a forward listens is told on standard output.
  return new LoggedProcess(args, { cwd: repositoryFolder, launcher: ["sh", "-c", 'exec "$@" >&2', "sh"] });
}

async function attempts(process: LoggedProcess): Promise<Attempts> {
  process.kill("SIGUSR1");
  const { fields } = await process.line(({ fields }) => "attempts" in fields, { timeoutMs: 30_000 });
  return fields["attempts"] as Attempts;
}

function allRefused(found: Attempts): void {
  assert(Object.keys(found).length > 20);
  assert.deepEqual(Object.entries(found).filter(([, outcome]) => outcome !== "refused"), []);
}

async function says(process: LoggedProcess, message: string): Promise<void> {
  await process.line(({ text, fields }) => fields["message"] === message || text.includes(message), {
    timeoutMs: 30_000,
  });
}

Deno.test({
  name:
    "from inside of server manage, commander agent, client exec and client forward everything else is refused",
  ...LIMIT,
  async fn(t): Promise<void> {
    await using elsewhere = await Elsewhere.make();
    await using lab = await narrowLab();
    assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "echo", "before"])), "before\n");

    await t.step("the management server", async () => {
      const from = lab.agent("web1").lines.length;
      await lab.stopServer();
      await using server = await withStranger(
        [...lab.serverLine, "--log", "json", "--strict-permissions"],
        elsewhere,
      );
      const { fields } = await server.line(({ fields }) => fields["message"] === "management server ready", {
        timeoutMs: 30_000,
      });
      lab.cable.leadTo(Number(String(fields["address"]).split(":").at(-1)));
      allRefused(await attempts(server));
      // It serves on: the agent comes back to it.
      await lab.agent("web1").line(({ fields }) => fields["message"] === "linked to the server", {
        from,
        timeoutMs: 30_000,
      });
      assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "echo", "after"])), "after\n");
    });
    await lab.startServer();

    await t.step("the agent", async () => {
      await lab.agent("web1").stop();
      await using agent = await withStranger([
        ...lab.agentLine("web1"),
        "--log",
        "json",
        "--strict-permissions",
      ], elsewhere);
      await says(agent, "linked to the server");
      allRefused(await attempts(agent));
      assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "echo", "after"])), "after\n");
    });
    await lab.startAgent("web1");

    await t.step("client exec, while its program runs", async () => {
      const script = `echo begun >&2; sleep ${mark()}`;
      await using client = await withStranger(
        lab.clientLine("alice", "exec", "web1", "--", "sh", "-c", script),
        elsewhere,
      );
      await says(client, "begun");
      allRefused(await attempts(client));
    });

    await t.step("client forward, while it listens", async () => {
      await using client = await withStranger(
        lab.clientLine("alice", "forward", "web1", "0:127.0.0.1:9"),
        elsewhere,
      );
      await says(client, "127.0.0.1:");
      allRefused(await attempts(client));
    });
    assert.equal(elsewhere.requests, 0, "nobody reached the service");
  },
});

Deno.test({
  name: "with every permission the runtime refuses none of what the stranger tries",
  ...LIMIT,
  async fn(): Promise<void> {
    await using elsewhere = await Elsewhere.make();
    await using alone = new LoggedProcess(["run", "-A", entryPath, JSON.stringify(elsewhere.places)], {
      cwd: repositoryFolder,
    });
    const { fields } = await alone.line(({ fields }) => "attempts" in fields, { timeoutMs: 30_000 });
    const refused = Object.entries(fields["attempts"] as Attempts).filter(([, outcome]) =>
      outcome === "refused"
    );
    assert.deepEqual(refused, []);
    assert(elsewhere.requests > 0);
  },
});
