/** The permission table against real processes: what it prints is enough, and nothing of it is too much. */
import assert from "node:assert/strict";
import { repositoryFolder, writeLabFiles } from "../../scripts/lab.ts";
import type { LabFiles } from "../../scripts/lab.ts";
import { isWithin } from "../../src/system/path.ts";
import type { PermissionGrant } from "../../src/system/permissions.ts";
import { eachFlagIsNeeded, namesFlag, reductions, runToEnd, type Startable } from "../permission_proof.ts";
import { TempFolder } from "./temp_folder.ts";
import { textOf, until } from "./until.ts";

const mainPath = `${repositoryFolder}main.ts`;
const TIMEOUT_MS = 120_000;

/** `deno run` of this program with the given words. */
function byDenoRun(words: readonly string[], env: Record<string, string> = {}): Startable {
  return {
    command: (flags) => ({
      program: Deno.execPath(),
      args: ["run", "--no-prompt", "--cached-only", ...flags, mainPath, ...words],
    }),
    cwd: repositoryFolder,
    env,
  };
}

/** A config folder of the test's own: not that of whoever runs it, where a counter would be written. */
function clientEnv(folder: string): { POSTERN_CONF_DIR: string } {
  return { POSTERN_CONF_DIR: `${folder}/client` };
}

/** What `postern permissions` prints, while it may read one file and four variables. */
async function permissions(configPath: string, words: readonly string[], env = {}): Promise<string> {
  const variables = "POSTERN_CONF_DIR,RUROCO_CONF_DIR,XDG_CONFIG_HOME,HOME";
  const { code, stdout, stderr } = await runToEnd(byDenoRun(["permissions", ...words], env), [
    `--allow-read=${configPath}`,
    `--allow-env=${variables}`,
  ]);
  assert.equal(code, 0, stderr);
  return stdout;
}

async function flagsFor(configPath: string, words: readonly string[], env = {}): Promise<string[]> {
  const text = await permissions(configPath, ["--flags", "--", ...words], env);
  return text.split("\n").filter((line) => line !== "");
}

/** A whole text pasted into a shell in which `deno` is the runtime of this test. */
class Pasted implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  said = "";

  constructor(text: string, binFolder: string) {
    this.#child = new Deno.Command("/bin/sh", {
      args: ["-c", text],
      cwd: "/",
      env: { PATH: `${binFolder}:${Deno.env.get("PATH") ?? ""}` },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
      detached: true,
    }).spawn();
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) this.said += decoder.decode(chunk, { stream: true });
  }

  async line(pattern: RegExp): Promise<RegExpExecArray> {
    try {
      return await until(`it says ${pattern}`, () => pattern.exec(this.said) ?? undefined);
    } catch (error) {
      throw new Error(`it said:\n${this.said}`, { cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    Deno.kill(-this.#child.pid, "SIGKILL");
    await this.#child.status;
    await this.#reading;
  }
}

/** A service that ends every connection at once. */
async function hangUp(service: Deno.TcpListener): Promise<void> {
  for await (const connection of service) connection.close();
}

async function withFiles(test: (files: LabFiles, binFolder: string) => Promise<void>): Promise<void> {
  await using folder = await TempFolder.make("proof");
  const files = await writeLabFiles(folder.path, {
    commands: (path) =>
      `[commands.default]\ncmd = "echo $POSTERN_IP >> '${path}/ran'"\nundo = "echo undone >> '${path}/ran'"\n` +
      `undo_after_sec = 1\n`,
  });
  const binFolder = `${folder.path}/bin`;
  await Deno.mkdir(binFolder);
  await Deno.symlink(Deno.execPath(), `${binFolder}/deno`);
  await test(files, binFolder);
}

Deno.test({
  name:
    "what `postern permissions` prints, pasted into a shell, is a server and a commander that take a knock",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFiles(async (files, binFolder) => {
      const { configPath, folder, keyPath } = files;
      await using commander = new Pasted(
        await permissions(configPath, ["commander", "--config", configPath]),
        binFolder,
      );
      await commander.line(/commander ready/);
      await using server = new Pasted(
        await permissions(configPath, ["server", "--config", configPath]),
        binFolder,
      );
      const [, port] = await server.line(/server ready address=127\.0\.0\.1:([0-9]+)/);

      const words = ["client", "send", "-a", `127.0.0.1:${port}`, "-K", keyPath];
      const env = clientEnv(folder);
      const sent = await runToEnd(byDenoRun(words, env), await flagsFor(configPath, words, env));
      assert.equal(sent.code, 0, sent.stderr);
      // With its undo: a lease was written, under the permission for that one file.
      await until(
        "the command ran and was undone",
        async () => (await textOf(`${folder}/ran`)) === "127.0.0.1\nundone\n",
      );
      for (const { said } of [server, commander]) {
        assert.doesNotMatch(said, /more permissions are granted|not written|failed/);
      }
    });
  },
});

/** The runtime's own record of each permission that a process has used. */
interface Use {
  readonly permission: string;
  readonly value: string;
}

async function usesIn(path: string): Promise<Use[]> {
  return (await Deno.readTextFile(path)).split("\n").filter(Boolean).map((line) => JSON.parse(line));
}

Deno.test({
  name: "server and commander use each path and address they are granted, in one knock with its undo",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFiles(async (files, binFolder) => {
      const { configPath, folder, keyPath } = files;
      const listings = await permissions(configPath, ["--json", "--", "server", "--config", configPath]);
      const granted: Record<string, PermissionGrant[]> = {
        server: JSON.parse(listings).commands[0].permissions,
        commander: JSON.parse(
          await permissions(configPath, ["--json", "--", "commander", "--config", configPath]),
        ).commands[0].permissions,
      };
      const audited = async (role: string): Promise<string> =>
        `export DENO_AUDIT_PERMISSIONS='${folder}/${role}.jsonl'\n` +
        await permissions(configPath, [role, "--config", configPath]);
      await using commander = new Pasted(await audited("commander"), binFolder);
      await commander.line(/commander ready/);
      await using server = new Pasted(await audited("server"), binFolder);
      const [, port] = await server.line(/server ready address=127\.0\.0\.1:([0-9]+)/);
      const words = ["client", "send", "-a", `127.0.0.1:${port}`, "-K", keyPath];
      const env = clientEnv(folder);
      assert.equal((await runToEnd(byDenoRun(words, env), await flagsFor(configPath, words, env))).code, 0);
      await until(
        "the command ran and was undone",
        async () => (await textOf(`${folder}/ran`)) === "127.0.0.1\nundone\n",
      );
      for (const [role, grants] of Object.entries(granted)) {
        let unused: readonly PermissionGrant[] = grants;
        const isEachUsed = async (): Promise<boolean> => {
          const uses = await usesIn(`${folder}/${role}.jsonl`);
          unused = grants.filter(({ access, kind, scope }) =>
            // The runtime records no programs; that the command ran shows that the shell was used.
            access === "allow" && kind !== "run" && scope !== true &&
            !uses.some(({ permission, value }) => permission === kind && isWithin(value, scope))
          );
          return unused.length === 0;
        };
        // What is left is shown better by the comparison.
        await until(`the ${role} has used each`, isEachUsed, { timeoutMs: 5000 }).catch(() => {});
        assert.deepEqual(unused, []);
      }
    });
  },
});

for (const role of ["server", "commander"] as const) {
  Deno.test({
    name: `a ${role} without any one of its flags, or of their scopes, does not start and names it`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await withFiles(async ({ configPath }) => {
        const words = [role, "--config", configPath];
        const flags = await flagsFor(configPath, words);
        const tried = await eachFlagIsNeeded(byDenoRun(words), flags);
        assert.ok(tried.length > flags.length);
        const lines = tried.map((line) => `    without ${line}\n`);
        Deno.stderr.writeSync(new TextEncoder().encode(lines.join("")));
      });
    },
  });
}

Deno.test({
  name: "a commander whose folder is reached by a symbolic link does not start, and says what to do",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFiles(async ({ configPath, folder }) => {
      await Deno.symlink("etc", `${folder}/link`);
      const words = ["commander", "--config", configPath.replace(`${folder}/etc/`, `${folder}/link/`)];
      const { code, stderr } = await runToEnd(byDenoRun(words), await flagsFor(words[2] ?? "", words));
      assert.equal(code, 1, stderr);
      assert.match(stderr, /could not read \S+\/link\/commands\.toml[^]*hint: name it by its own path/);
    });
  },
});

Deno.test({
  name: "a server whose keys, floors and socket share one folder needs each of its flags, too",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using folder = await TempFolder.make("proof");
    const configPath = `${folder.path}/config.toml`;
    await Deno.writeTextFile(configPath, `ips = ["127.0.0.1"]\naddress = "127.0.0.1:0"\n`);
    const words = ["server", "--config", configPath];
    await eachFlagIsNeeded(byDenoRun(words), await flagsFor(configPath, words));
  },
});

Deno.test({
  name: "each client command needs every flag that is not optional, and works without those that are",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await withFiles(async ({ configPath, folder, keyPath }) => {
      const service = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const hangingUp = hangUp(service);
      const env = clientEnv(folder);
      const lines: readonly (readonly string[])[] = [
        ["client", "send", "-a", "127.0.0.1:9", "-K", keyPath],
        ["client", "connect", "-a", "127.0.0.1:9", "-K", keyPath, "--to", `127.0.0.1:${service.addr.port}`],
        ["client", "gen", "--key-file", `${folder}/new.key`],
        ["client", "reseed"],
      ];
      for (const words of lines) {
        const startable = byDenoRun(words, env);
        const [listing] = JSON.parse(await permissions(configPath, ["--json", "--", ...words], env)).commands;
        const optional = new Set<string>(
          listing.permissions.filter((each: { optional: boolean }) => each.optional)
            .map((each: { kind: string; scope: string }) => `--allow-${each.kind}=${each.scope}`),
        );
        const tried = await eachFlagIsNeeded(startable, listing.flags, { optional });
        assert.ok(tried.length > 0, words.join(" "));
        for (
          const { removed, flags } of reductions(listing.flags).filter(({ name, scopes }) =>
            scopes.length > 0 && scopes.every((scope) => optional.has(`${name}=${scope}`))
          )
        ) {
          const { code, stderr } = await runToEnd(startable, flags);
          assert.equal(code, 0, `${words.join(" ")} without the optional ${removed}: ${stderr}`);
        }
        const { code, stderr } = await runToEnd(startable, listing.flags);
        assert.equal(code, 0, `${words.join(" ")}: ${stderr}`);
      }
      service.close();
      await hangingUp;
    });
  },
});

Deno.test("reductions() takes away each flag and each scope of several", () => {
  assert.deepEqual(
    reductions(["--allow-net", "--allow-read=/a,/b"]).map(({ removed, flags }) => [removed, flags]),
    [
      ["--allow-net", ["--allow-read=/a,/b"]],
      ["--allow-read=/a,/b", ["--allow-net"]],
      ["--allow-read=/a", ["--allow-net", "--allow-read=/b"]],
      ["--allow-read=/b", ["--allow-net", "--allow-read=/a"]],
    ],
  );
});

Deno.test("namesFlag() wants the flag and the scope, not one of them", () => {
  const text = "error: permissions are missing: --allow-read=/a/b,/c --deny-write=/d";
  assert.ok(namesFlag(text, "--allow-read", ["/c"]));
  assert.ok(namesFlag(text, "--allow-read", ["/a"]), "a file in the folder");
  assert.ok(namesFlag(text, "--allow-read", ["/x", "/c"]), "one of several");
  assert.ok(!namesFlag(text, "--allow-read", ["/d"]), "the scope of another flag");
  assert.ok(!namesFlag(text, "--allow-read", ["/a/b/c"]), "a folder above");
  assert.ok(!namesFlag(text, "--allow-write", ["/d"]), "a denial is no grant");
  assert.ok(!namesFlag(text, "--allow-net", []));
});
