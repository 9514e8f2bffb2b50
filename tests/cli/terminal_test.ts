/** The client on a real terminal, where the runtime would prompt for what it was not granted. */
import assert from "node:assert/strict";
import { terminalObstacle } from "../e2e/machine.ts";
import { formatKey, generateKey } from "../../src/protocol/knock/key.ts";
import { moduleCache } from "./module_cache.ts";
import { DatagramCatcher } from "../e2e/datagram_catcher.ts";
import { openRurocoPacket, rurocoCommandHash, rurocoIp } from "../reference/ruroco.ts";

const mainPath = new URL("../../main.ts", import.meta.url).pathname;
const PROMPT = /Deno requests/;

const obstacle = await terminalObstacle();

function named(name: string): { name: string; ignore: boolean; timeout: number } {
  return {
    name: obstacle === null ? name : `${name} (ignored: ${obstacle})`,
    ignore: obstacle !== null,
    timeout: 30_000,
  };
}

const home = await Deno.makeTempDir({ prefix: "postern-terminal-" });
globalThis.addEventListener("unload", () => Deno.removeSync(home, { recursive: true }));
/** All there is: what the caller has set (NO_COLOR, TERM, POSTERN_CONF_DIR) must not change what is shown. */
const ENVIRONMENT: Readonly<Record<string, string>> = {
  PATH: Deno.env.get("PATH") ?? "",
  HOME: home,
  DENO_DIR: await moduleCache(),
  SHELL: "/bin/sh",
  TERM: "xterm",
};

/** One thing done at the keyboard, as soon as `after` is shown. */
interface Typing {
  readonly after: string;
  readonly text: string;
}

/** `deno run ARGS` as a shell reads it. */
function denoRun(...args: readonly string[]): string {
  return [Deno.execPath(), "run", ...args].map((word) => `'${word}'`).join(" ");
}

/** Runs a line on a terminal, which is taken away at the first prompt of the runtime: nobody answers it. */
async function onTerminal(
  line: string,
  env: Readonly<Record<string, string>> = {},
  typings: readonly Typing[] = [],
  onShown: (shown: string) => void = () => {},
): Promise<{ code: number; shown: string }> {
  const child = new Deno.Command("script", {
    args: ["-qfec", line, "/dev/null"],
    clearEnv: true,
    env: { ...ENVIRONMENT, ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const keyboard = child.stdin.getWriter();
  const decoder = new TextDecoder();
  const waiting = [...typings];
  let shown = "";
  for await (const chunk of child.stdout) {
    shown += decoder.decode(chunk, { stream: true });
    if (PROMPT.test(shown)) {
      child.kill("SIGKILL");
      break;
    }
    onShown(shown);
    while (waiting[0] !== undefined && shown.includes(waiting[0].after)) {
      await keyboard.write(new TextEncoder().encode(waiting.shift()?.text));
    }
  }
  const { code } = await child.status;
  // The input stays open until here: its end would be an answer as well.
  await keyboard.close().catch(() => {});
  return { code, shown };
}

Deno.test({
  ...named("a program that needs more than it was granted does prompt on this terminal"),
  async fn(): Promise<void> {
    const path = await Deno.makeTempFile({ suffix: ".ts" });
    try {
      await Deno.writeTextFile(path, 'Deno.readTextFileSync("/etc/hostname");\n');
      assert.match((await onTerminal(denoRun("--allow-net", path))).shown, PROMPT);
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
    const { code, shown } = await onTerminal(denoRun(
      ...["--allow-net", mainPath, "client", "send"],
      ...["-a", `127.0.0.1:${catcher.port}`, "-k", key, "-c", "default"],
    ));
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
      const { code, shown } = await onTerminal(denoRun(mainPath, ...words));
      assert.equal(code, 1, shown);
      assert.doesNotMatch(shown, PROMPT);
      assert.match(shown, /permission|config folder/);
    },
  });
}

Deno.test({
  ...named("errors are coloured on a terminal, and not if NO_COLOR is set"),
  async fn(): Promise<void> {
    const coloured = await onTerminal(denoRun(mainPath, "clinet"));
    assert.equal(coloured.code, 2);
    assert(coloured.shown.includes("\x1b[1;31merror\x1b[0m: cannot run postern"), coloured.shown);
    const plain = await onTerminal(denoRun(mainPath, "clinet"), { NO_COLOR: "1" });
    assert.equal(plain.code, 2);
    assert(plain.shown.startsWith("error: cannot run postern"), plain.shown);
  },
});

/** `client send -k -`, then what the terminal is set to. */
function typedKeyLine(port: number): string {
  const send = denoRun("--allow-net", mainPath, "client", "send", "-a", `127.0.0.1:${port}`, "-k", "-");
  return `${send}; code=$?; stty -a; exit $code`;
}

/** A terminal as it is found: what is typed is shown, line by line, and Ctrl-C is a signal. */
function assertRestored(shown: string): void {
  for (const setting of ["echo", "icanon", "isig", "icrnl"]) {
    assert.match(shown, new RegExp(`(?<![-a-z])${setting}\\b`), setting);
    assert.doesNotMatch(shown, new RegExp(`-${setting}\\b`), setting);
  }
}

Deno.test({
  ...named("client send -k - on a terminal asks for the key, does not show it and restores the terminal"),
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher("127.0.0.1");
    const key = formatKey(generateKey());
    // One wrong character, taken back.
    const typing = { after: "key: ", text: `${key}x\x7f\r` };
    const { code, shown } = await onTerminal(typedKeyLine(catcher.port), {}, [typing]);
    assert.equal(code, 0, shown);
    assert(!shown.includes(key.slice(0, 8)), shown);
    assert.match(shown, /^key: \r?\nsent "default" to /);
    assertRestored(shown);
    const datagrams = await catcher.takeAll();
    assert.equal(datagrams.length, 1);
    assert(openRurocoPacket(key, datagrams[0] ?? new Uint8Array()) !== null);
  },
});

Deno.test({
  ...named("client send -k - restores the terminal when Ctrl-C ends it, and sends nothing"),
  async fn(): Promise<void> {
    using catcher = new DatagramCatcher("127.0.0.1");
    const { code, shown } = await onTerminal(typedKeyLine(catcher.port), {}, [
      { after: "key: ", text: "abc\x03" },
    ]);
    assert.equal(code, 130, shown);
    assert(!shown.includes("abc"), shown);
    assertRestored(shown);
    assert.deepEqual(await catcher.takeAll(), []);
  },
});

for (const [signal, exitCode] of [["INT", 130], ["TERM", 143], ["HUP", 129]] as const) {
  Deno.test({
    ...named(`client send -k - restores the terminal when SIG${signal} ends it`),
    async fn(): Promise<void> {
      // The shell's own pid file names the program: "exec" keeps it.
      const send = denoRun("--allow-net", mainPath, "client", "send", "-a", "127.0.0.1:9", "-k", "-");
      const line =
        `(echo pid $(exec sh -c 'echo $PPID') >/dev/tty; exec ${send}); code=$?; stty -a; exit $code`;
      let sent = false;
      const { code, shown } = await onTerminal(line, {}, [], (text) => {
        const pid = /pid ([0-9]+)/.exec(text)?.[1];
        if (sent || pid === undefined || !text.includes("key: ")) return;
        sent = true;
        Deno.kill(Number(pid), `SIG${signal}`);
      });
      assert(sent, shown);
      assert.equal(code, exitCode, shown);
      assertRestored(shown);
    },
  });
}
