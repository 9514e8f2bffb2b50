/** The client on a real terminal, where the runtime would prompt for what it was not granted. */
import assert from "node:assert/strict";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { DatagramCatcher } from "../e2e/datagram_catcher.ts";
import { openRurocoPacket, rurocoCommandHash, rurocoIp } from "../reference/ruroco.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const PROMPT = /Deno requests/;

/** Why no terminal can be made here, or null. util-linux's `script` makes one. */
async function terminalObstacle(): Promise<string | null> {
  try {
    const { success } = await new Deno.Command("script", {
      args: ["-qfec", "true", "/dev/null"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? null : "script of util-linux does not work here";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "script of util-linux is not installed";
    throw error;
  }
}

const obstacle = await terminalObstacle();

function named(name: string): { name: string; ignore: boolean; timeout: number } {
  return {
    name: obstacle === null ? name : `${name} (ignored: ${obstacle})`,
    ignore: obstacle !== null,
    timeout: 30_000,
  };
}

/** Runs `deno run ARGS` on a terminal, which is taken away at the first prompt: nobody is there to answer it. */
async function onTerminal(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; shown: string }> {
  const line = [Deno.execPath(), "run", ...args].map((word) => `'${word}'`).join(" ");
  const child = new Deno.Command("script", {
    args: ["-qfec", line, "/dev/null"],
    env: { SHELL: "/bin/sh", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const decoder = new TextDecoder();
  let shown = "";
  for await (const chunk of child.stdout) {
    shown += decoder.decode(chunk, { stream: true });
    if (PROMPT.test(shown)) {
      child.kill("SIGKILL");
      break;
    }
  }
  const { code } = await child.status;
  // The input stays open until here: its end would be an answer as well.
  await child.stdin.close().catch(() => {});
  return { code, shown };
}

Deno.test({
  ...named("a program that needs more than it was granted does prompt on this terminal"),
  async fn(): Promise<void> {
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(path, 'Deno.readTextFileSync("/etc/hostname");\n');
      assert.match((await onTerminal(["--allow-net", path])).shown, PROMPT);
    } finally {
      await Deno.remove(path);
    }
  },
});

Deno.test({
  ...named(
    "client send with --allow-net alone does not prompt on a terminal, and sends exactly one datagram",
  ),
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher("127.0.0.1");
    const key = formatKey(generateKey());
    const { code, shown } = await onTerminal([
      ...["--allow-net", mainPath, "client", "send"],
      ...["-a", `127.0.0.1:${catcher.port}`, "-k", key, "-c", "default"],
    ]);
    assert.equal(code, 0, shown);
    assert.doesNotMatch(shown, PROMPT);
    assert(shown.includes(`sent "default" to 127.0.0.1:${catcher.port}; the server never answers`), shown);
    const datagrams = await catcher.takeAll();
    assert.deepEqual(datagrams.map((datagram) => datagram.length), [94]);
    const packet = openRurocoPacket(key, datagrams[0] ?? new Uint8Array());
    assert.equal(packet?.commandHash, rurocoCommandHash("default"));
    assert.equal(packet?.destinationIp, rurocoIp("127.0.0.1"));
  },
});

const NO_PERMISSION_LINES: readonly (readonly string[])[] = [
  ["client", "send", "-a", "127.0.0.1:9", "-k", formatKey(generateKey())],
  ["client", "send", "-a", "localhost", "-k", formatKey(generateKey())],
  ["client", "send", "-a", "127.0.0.1:9", "-K", "/etc/hostname"],
  ["client", "connect", "-a", "127.0.0.1:9", "-k", formatKey(generateKey()), "--to", "127.0.0.1:9"],
  ["client", "gen", "--key-file", "/tmp/never-written.key"],
  ["client", "reseed"],
  ["server"],
  ["commander"],
];
for (const words of NO_PERMISSION_LINES) {
  const line = words.slice(0, 2).join(" ");
  Deno.test({
    ...named(`${line} without any permission refuses instead of prompting (${words.slice(2, 5).join(" ")})`),
    async fn(): Promise<void> {
      const { code, shown } = await onTerminal([mainPath, ...words]);
      assert.equal(code, 1, shown);
      assert.doesNotMatch(shown, PROMPT);
      assert.match(shown, /permission|config folder/);
    },
  });
}

Deno.test({
  ...named("errors are coloured on a terminal, and not if NO_COLOR is set"),
  async fn(): Promise<void> {
    const coloured = await onTerminal([mainPath, "clinet"]);
    assert.equal(coloured.code, 2);
    assert(coloured.shown.includes("\x1b[1;31merror\x1b[0m: cannot run postern"), coloured.shown);
    const plain = await onTerminal([mainPath, "clinet"], { NO_COLOR: "1" });
    assert.equal(plain.code, 2);
    assert(plain.shown.startsWith("error: cannot run postern"), plain.shown);
  },
});
