/**
 * What a hijacked server or commander may still do: from inside of the running process, started with exactly the flags
 * that `postern permissions` prints, everything else is tried, and refused by the runtime. By `deno run`, and as the
 * self-extracting executable starts its runtime and its bundle.
 */
import assert from "node:assert/strict";
import { type LabFiles, runClient, writeLabFiles } from "../../scripts/lab.ts";
import { loadServerConfig } from "../../src/server/knock/config.ts";
import { serverPermissions } from "../../src/server/knock/permissions.ts";
import { loadCommanderConfig } from "../../src/commander/knock/config.ts";
import { commanderPermissions } from "../../src/commander/knock/permissions.ts";
import { brokenRunLine } from "../../src/cli/deno_line.ts";
import { HEADER_BYTES } from "../../src/setup/self_extracting.ts";
import { permissionFlags, permissionSet } from "../../src/system/permissions.ts";
import { buildObstacle, BuiltFiles } from "../ship/built_files.ts";
import { KEEP_DATA, LIMITS, type Outcome, PACKAGE, type Places } from "./inside_attempts.ts";
import { TempFolder } from "./temp_folder.ts";
import { linesOf, until } from "./until.ts";

const entryPath = new URL("./inside_entry.ts", import.meta.url).pathname;
const strangerUrl = new URL("./inside_stranger.ts", import.meta.url).href;
const TIMEOUT_MS = 120_000;

type Outcomes = readonly (readonly [what: string, outcome: Outcome])[];
type Role = "server" | "commander";

/** A process with a stranger inside. */
class Inside implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>[];
  said = "";
  #output = "";

  constructor(line: readonly string[], env: Record<string, string>) {
    const [program = "", ...args] = line;
    this.#child = new Deno.Command(program, {
      args,
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#reading = [
      read(this.#child.stderr, (text) => this.said += text),
      read(this.#child.stdout, (text) => this.#output += text),
    ];
  }

  async line(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      return await until(`it says ${pattern}`, () => pattern.exec(this.said) ?? undefined);
    } catch (error) {
      throw new Error(`it said:\n${this.said}`, { cause: error });
    }
  }

  async attempt(role: Role, places: Places): Promise<{ outcomes: Outcomes; limits: Outcomes }> {
    await this.#input.write(new TextEncoder().encode(JSON.stringify({ role, places }) + "\n"));
    try {
      return JSON.parse(await until("the attempts are made", () => /^(.*)\n/.exec(this.#output)?.[1]));
    } catch (error) {
      throw new Error(`it said:\n${this.said}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close();
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself, as it does with every permission.
    }
    await this.#child.status;
    await Promise.all(this.#reading);
  }
}

async function read(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) take(decoder.decode(chunk, { stream: true }));
}

/** An installation, and things around it that a stranger might reach for. */
class Surroundings implements AsyncDisposable {
  readonly files: LabFiles;
  readonly places: Places;
  /** For a process that would ask the stranger's own registry for a package. */
  readonly env: Record<string, string>;
  /** What was said to the TCP service: the first line of each connection. */
  readonly requests: readonly string[];
  readonly #undo: AsyncDisposableStack;

  private constructor(
    { files, places, env, requests }: Pick<Surroundings, "files" | "places" | "env" | "requests">,
    undo: AsyncDisposableStack,
  ) {
    this.files = files;
    this.places = places;
    this.env = env;
    this.requests = requests;
    this.#undo = undo;
  }

  static async make(): Promise<Surroundings> {
    await using undo = new AsyncDisposableStack();
    const folder = undo.use(await TempFolder.make("inside"));
    const files = await writeLabFiles(folder.path, {
      commands: (path) => `[commands]\ndefault = "echo $POSTERN_IP >> '${path}/ran'"\n`,
    });
    const elsewhere = `${folder.path}/elsewhere`;
    await Deno.mkdir(elsewhere);
    const scriptPath = `${elsewhere}/script.ts`;
    await Deno.writeTextFile(scriptPath, "export default 1;\n");
    const otherSocketPath = `${elsewhere}/other.socket`;
    const tcp = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const unix = Deno.listen({ transport: "unix", path: otherSocketPath });
    const peer = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    const requests: string[] = [];
    const accepting = [noteRequests(tcp, requests), noteRequests(unix, requests)];
    undo.defer(async () => {
      for (const each of [tcp, unix, peer]) each.close();
      await Promise.all(accepting);
    });
    const places = {
      configDir: `${folder.path}/etc`,
      configPath: files.configPath,
      commandsPath: files.commandsPath,
      keyPath: files.keyPath,
      serverStateDir: `${folder.path}/state`,
      floorsPath: `${folder.path}/state/blocklist.msgpck`,
      statusPath: files.statusPath,
      commanderStateDir: `${folder.path}/commander-state`,
      socketDir: `${folder.path}/run`,
      elsewhere,
      scriptPath,
      runtimePath: Deno.execPath(),
      tcpPort: tcp.addr.port,
      peerPort: (peer.addr as Deno.NetAddr).port,
      otherSocketPath,
    };
    const env = await withRegistry(`${folder.path}/home`, places.tcpPort);
    return new Surroundings({ files, places, env, requests }, undo.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync();
  }
}

async function noteRequests(listener: AsyncIterable<Deno.Conn>, requests: string[]): Promise<void> {
  for await (const connection of listener) {
    const buffer = new Uint8Array(1024);
    const count = await connection.read(buffer).catch(() => null);
    requests.push(new TextDecoder().decode(buffer.subarray(0, count ?? 0)).split("\r\n", 1)[0] ?? "");
    connection.close();
  }
}

/** The environment of this process, but that the registry of the stranger's packages is a local service. */
async function withRegistry(home: string, port: number): Promise<Record<string, string>> {
  const { HOME = "/", XDG_CACHE_HOME = `${HOME}/.cache`, DENO_DIR = `${XDG_CACHE_HOME}/deno` } = Deno.env
    .toObject();
  const own = await Deno.readTextFile(`${HOME}/.npmrc`).catch(() => "");
  await Deno.mkdir(home);
  const scope = PACKAGE.split("/", 1)[0];
  await Deno.writeTextFile(`${home}/.npmrc`, `${own}\n${scope}:registry=http://127.0.0.1:${port}/\n`);
  return { HOME: home, DENO_DIR };
}

interface Line {
  readonly line: readonly string[];
  readonly env: Record<string, string>;
}

/** How a role is started with a stranger inside. */
interface Start {
  readonly what: string;
  /** Why it can't be tried here. */
  readonly obstacle: string | null;
  line(role: Role, around: Surroundings): Promise<Line>;
  /** What the runtime permits all the same. */
  limits(role: Role): string[];
}

function wordsFor({ configPath }: LabFiles): string[] {
  return ["--config", configPath, "--strict-permissions"];
}

const byDenoRun: Start = {
  what: "started by deno run",
  obstacle: null,
  async line(role: Role, { files, env }: Surroundings): Promise<Line> {
    const { configPath } = files;
    const grants = role === "server"
      ? serverPermissions(await loadServerConfig(configPath))
      : commanderPermissions(await loadCommanderConfig(configPath));
    const [start = ""] = brokenRunLine([], [entryPath]);
    const [, ...words] = start.split(" ").slice(0, -1);
    return {
      line: [
        Deno.execPath(),
        ...words,
        ...permissionFlags(permissionSet(grants)),
        entryPath,
        role,
        ...wordsFor(files),
      ],
      env,
    };
  },
  limits: (role) => LIMITS[role].map(([what]) => what),
};

/** Built once, for all tests here. */
const built: { folder?: TempFolder; files?: BuiltFiles } = {};

const asExecutable: Start = {
  what: "started as its executable starts it",
  obstacle: buildObstacle(),
  async line(role: Role, { files, env, places }: Surroundings): Promise<Line> {
    built.folder ??= await TempFolder.make("inside-built");
    built.files ??= await BuiltFiles.build(built.folder.path);
    const executable = built.files.path(role);
    const cache = `${built.folder.path}/cache`;
    const run = async (...words: string[]): Promise<string> => {
      const { code, stdout, stderr } = await new Deno.Command(executable, {
        args: words,
        env: { POSTERN_CACHE_DIR: cache },
        stdin: "null",
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      return new TextDecoder().decode(stdout);
    };
    await run("--unpack");
    const flags = (await run("permissions", "--flags", "--", ...wordsFor(files))).split("\n").filter(Boolean);
    const header = new TextDecoder("latin1").decode(
      (await Deno.readFile(executable)).subarray(0, HEADER_BYTES),
    );
    const [, start] = /^ {2}exec "\$deno" run (.*) "\$@"$/m.exec(header) ?? [];
    const [, runtime] = /runtime_sha256=([0-9a-f]{64})/.exec(header) ?? [];
    const [, bundle] = new RegExp(`^${role}\\).* bundle_sha256=([0-9a-f]{64})`, "m").exec(header) ?? [];
    // Nothing is fetched, and the roles that face others have no folder of the runtime's to write in.
    assert.equal(start, "--no-prompt --no-config --no-remote --no-npm --deny-import --unstable-net");
    assert.match(header, /^DENO_DIR=\/dev\/null\/none\ncase \$role in\nclient \| setup\)$/m);
    assert.ok(start !== undefined && runtime !== undefined && bundle !== undefined);
    const entry = `${places.elsewhere}/${role}.js`;
    const imports = [strangerUrl, `file://${cache}/${bundle}/postern.mjs`];
    await Deno.writeTextFile(entry, imports.map((url) => `import ${JSON.stringify(url)};\n`).join(""));
    return {
      line: [
        `${cache}/${runtime}/deno`,
        "run",
        ...start.split(" "),
        ...flags,
        entry,
        executable,
        ...wordsFor(files),
      ],
      env: { ...env, DENO_DIR: "/dev/null/none" },
    };
  },
  limits: (role) => byDenoRun.limits(role).filter((what) => what !== KEEP_DATA),
};

async function start(by: Start, role: Role, around: Surroundings): Promise<Inside> {
  const { line, env } = await by.line(role, around);
  return new Inside(line, env);
}

/** Knocks, and waits until the command has run for the given time. */
async function knock({ folder, keyPath }: LabFiles, port: string, times: number): Promise<void> {
  const { code, stderr } = await runClient(["send", "-a", `127.0.0.1:${port}`, "-K", keyPath], {
    flags: ["--allow-net", `--allow-read=${keyPath}`],
  });
  assert.equal(code, 0, stderr);
  await until("the command ran", async () => (await linesOf(`${folder}/ran`)).length === times);
}

function assertAllRefused(outcomes: Outcomes): void {
  const lines = outcomes.map(([what, outcome]) => `    ${outcome}: ${what}\n`);
  Deno.stderr.writeSync(new TextEncoder().encode(lines.join("")));
  assert.deepEqual(outcomes.filter(([, outcome]) => outcome !== "refused"), []);
}

for (const by of [byDenoRun, asExecutable]) {
  for (const role of ["server", "commander"] as const) {
    Deno.test({
      name: `from inside of the running ${role}, ${by.what}, everything but its work is refused, ` +
        `and it serves on${by.obstacle === null ? "" : ` (skipped: ${by.obstacle})`}`,
      ignore: by.obstacle !== null,
      timeout: TIMEOUT_MS,
      async fn(): Promise<void> {
        await using around = await Surroundings.make();
        const { files, places, requests } = around;
        await using commander = await start(by, "commander", around);
        await commander.line(/commander ready/);
        await using server = await start(by, "server", around);
        const [, port = ""] = await server.line(/server ready address=127\.0\.0\.1:([0-9]+)/);
        await knock(files, port, 1);
        const { outcomes, limits } = await (role === "server" ? server : commander).attempt(role, places);
        const answers = outcomes.filter(([what]) => what.startsWith("answer ")).length;
        assert.equal(answers, role === "server" ? 2 : 0, "its socket was found");
        assertAllRefused(outcomes);
        assert.deepEqual(
          limits.filter(([, outcome]) => outcome === "permitted").map(([what]) => what),
          by.limits(role),
          JSON.stringify(limits),
        );
        assert.deepEqual(requests, [], "it reached nobody");
        await knock(files, port, 2);
      },
    });
  }
}

for (const role of ["server", "commander"] as const) {
  Deno.test({
    name: `with every permission the runtime refuses none of what is tried inside of the ${role}`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using around = await Surroundings.make();
      const { places, env, requests } = around;
      await Deno.writeTextFile(`${places.commanderStateDir}/leases.json`, "");
      await using free = new Inside([Deno.execPath(), "run", "-A", entryPath, "attempts"], env);
      const { outcomes } = await free.attempt(role, places);
      assert.ok(outcomes.length > 25);
      assert.deepEqual(outcomes.filter(([, outcome]) => outcome === "refused"), []);
      assert.ok(requests.includes(`GET /${PACKAGE.replace("/", "%2f")} HTTP/1.1`), requests.join("\n"));
    },
  });
}

Deno.test(
  "a package is fetched without any permission, were it not for the flags that every line begins with",
  {
    timeout: TIMEOUT_MS,
  },
  async () => {
    await using around = await Surroundings.make();
    const { env, requests, places } = around;
    await using free = new Inside([Deno.execPath(), "run", "--no-prompt", entryPath, "attempts"], env);
    await free.attempt("server", places);
    assert.ok(requests.every((line) => line.startsWith(`GET /${PACKAGE.replace("/", "%2f")} `)));
    assert.notEqual(requests.length, 0);
  },
);

Deno.test.afterAll(async () => {
  await built.folder?.[Symbol.asyncDispose]();
});
