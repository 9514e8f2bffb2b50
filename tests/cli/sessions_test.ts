/**
 * Runs the session files: real processes of the real program, each with exactly the permissions its step names and
 * without `--no-prompt`. `session.ts` describes the format.
 */
import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { COMMANDS } from "../../src/cli/table.ts";
import { DatagramCatcher } from "../e2e/datagram_catcher.ts";
import { moduleCache } from "./module_cache.ts";
import { differences, type Outcome, parseSession, type RunStep, type WriteStep } from "./session.ts";

const sessionsFolder = new URL("./sessions/", import.meta.url);
const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const denoDir = await moduleCache();
const sessionNames = [...Deno.readDirSync(sessionsFolder)].map((entry) => entry.name).sort();

/** A TCP port nobody listens on. */
function closedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function writeStep(folder: string, step: WriteStep): Promise<void> {
  const path = `${folder}/${step.name}`;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await Deno.writeTextFile(path, step.text);
  await Deno.chmod(path, step.mode);
}

async function runStep(folder: string, step: RunStep, catcher: DatagramCatcher): Promise<Outcome> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...step.flags, mainPath, ...step.words],
    cwd: folder,
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH") ?? "", HOME: folder, DENO_DIR: denoDir, ...step.env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const input = child.stdin.getWriter();
  // A program that ends without reading its input breaks the pipe, which is its right.
  await input.write(new TextEncoder().encode(step.stdin)).catch(() => {});
  await input.close().catch(() => {});
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  const names = [...step.files.map((file) => file.name), ...step.noFiles];
  return {
    exit: code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
    datagramBytes: (await catcher.takeAll()).map((datagram) => datagram.length),
    files: Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await statOf(folder, name)])),
    ),
  };
}

/** A key without its padding is as good as a whole one, and so is one that is hidden from the eye only. */
function showsKey({ stdout, stderr }: Outcome, key: string): boolean {
  return `${stdout}\n${stderr}`.includes(key.replace(/=+$/, ""));
}

async function statOf(folder: string, name: string): Promise<{ mode: number; bytes: number } | null> {
  try {
    const { mode, size } = await Deno.lstat(`${folder}/${name}`);
    return { mode: (mode ?? 0) & 0o777, bytes: size };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

for (const name of sessionNames) {
  Deno.test({
    name: `session ${name}`,
    timeout: 60_000,
    async fn(): Promise<void> {
      const folder = await Deno.makeTempDir({ prefix: "postern-session-" });
      try {
        using catcher = new DatagramCatcher("127.0.0.1");
        const keys = [formatKey(generateKey()), formatKey(generateKey())] as const;
        const steps = parseSession(await Deno.readTextFile(new URL(name, sessionsFolder)), {
          DIR: folder,
          KEY: keys[0],
          KEY2: keys[1],
          PORT: String(catcher.port),
          TCP: String(closedPort()),
          MAIN: mainPath,
        });
        let runs = 0;
        for (const step of steps) {
          if (step.kind === "write") {
            await writeStep(folder, step);
            continue;
          }
          runs++;
          const outcome = await runStep(folder, step, catcher);
          const found = differences(step, outcome);
          if (keys.some((key) => showsKey(outcome, key))) found.push("a key is shown");
          assert.deepEqual(
            found,
            [],
            `${name}:${step.line}: postern ${step.words.join(" ")}\n${found.join("\n")}`,
          );
        }
        assert(runs > 0, "the session runs nothing");
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    },
  });
}

Deno.test("the sessions show the help of every command", async () => {
  const texts = await Promise.all(
    sessionNames.map((name) => Deno.readTextFile(new URL(name, sessionsFolder))),
  );
  const shown = texts.join("\n");
  for (const { path } of COMMANDS) {
    assert(shown.includes(`$ ${path.join(" ")} --help\n`), `no session runs ${path.join(" ")} --help`);
  }
});
