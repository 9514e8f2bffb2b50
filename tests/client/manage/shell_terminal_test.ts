/**
 * `client shell`, `client forward` and `client replay` as real processes with the permissions they ship with; the shell
 * on a real pseudo-terminal, against a stand-in server.
 */
import assert from "node:assert/strict";
import type { ShellInput, ShellOutput, ShellStart } from "../../../src/protocol/manage/session_contract.ts";
import { shippedWords } from "../../../scripts/transfer_lab.ts";
import { moduleCache } from "../../cli/module_cache.ts";
import { terminalObstacle, unless } from "../../e2e/machine.ts";
import { textOf, until } from "../../e2e/until.ts";
import { type ManageStage, manageStage } from "./manage_stage.ts";

const TIMEOUT_MS = 60_000;
const denoDir = await moduleCache();

const obstacle = await terminalObstacle();

/** Shows what it is told of the terminal, and what is typed as hexadecimal digits; `x` exits with 7. */
async function* shell(
  start: ShellStart,
  inputs: AsyncIterable<ShellInput>,
): AsyncGenerator<ShellOutput> {
  const text = (line: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(line);
  yield text(`${start.columns}x${start.rows} ${start.term} ready\r\n`);
  for await (const input of inputs) {
    if (input instanceof Uint8Array) {
      if (input.includes("x".charCodeAt(0))) {
        yield { exitCode: 7 };
        return;
      }
      yield text(`<${input.toHex()}>\r\n`);
    } else {
      yield text(`${input.columns}x${input.rows} resized\r\n`);
    }
  }
}

/** What is done as soon as `after` is shown. */
interface Step {
  readonly after: RegExp;
  readonly type?: string;
  readonly act?: () => Promise<unknown>;
}

interface Shown {
  readonly code: number;
  readonly raw: string;
}

/** A command on a terminal; in the end, `stty -a` shows what has become of that. */
async function onTerminal(
  stage: ManageStage,
  words: readonly string[],
  steps: readonly Step[],
): Promise<Shown> {
  const line = [Deno.execPath(), ...await shippedWords([...words, "--dir", stage.folder.path])]
    .map((word) => `'${word}'`).join(" ");
  const folder = `${stage.folder.path}/..`;
  // The inner shell becomes the program, so that its number is that of the program.
  const script =
    `stty cols 90 rows 33; tty >tty; sh -c 'echo $$ >pid; exec "$@"' sh ${line}; code=$?; stty -a; exit $code`;
  const child = new Deno.Command("script", {
    args: ["-qfec", script, "/dev/null"],
    cwd: folder,
    clearEnv: true,
    env: {
      DENO_DIR: denoDir,
      DENO_NO_UPDATE_CHECK: "1",
      HOME: folder,
      SHELL: "/bin/sh",
      TERM: "vt220",
      PATH: PATH,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const keyboard = child.stdin.getWriter();
  const waiting = [...steps], decoder = new TextDecoder();
  let raw = "", seen = 0;
  for await (const chunk of child.stdout) {
    raw += decoder.decode(chunk, { stream: true });
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const found = next.after.exec(raw.slice(seen));
      if (found === null) break;
      seen += found.index + found[0].length;
      waiting.shift();
      if (next.type !== undefined) await keyboard.write(new TextEncoder().encode(next.type));
      await next.act?.();
    }
  }
  const { code } = await child.status;
  await keyboard.close().catch(() => {});
  assert.deepEqual(waiting, [], raw);
  return { code, raw };
}

const PATH = Deno.env.get("PATH") ?? "/usr/bin:/bin";

function assertRestored({ raw }: Shown): void {
  for (const setting of ["echo", "icanon", "isig", "icrnl"]) {
    assert.match(raw, new RegExp(`(?<![-a-z])${setting}\\b`), setting);
  }
}

function terminalTest(name: string, run: (stage: ManageStage) => Promise<void>): void {
  Deno.test({
    ...unless(obstacle, name),
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      await using stage = await manageStage();
      await stage.server.host("web1", { shell });
      await run(stage);
    },
  });
}

async function runIn(stage: ManageStage, program: string, ...args: string[]): Promise<void> {
  const { success } = await new Deno.Command(program, { args, cwd: `${stage.folder.path}/..` }).output();
  assert(success, program);
}

terminalTest(
  "client shell passes every key on, follows the window, and ends with the shell's exit code",
  async (stage) => {
    const resize = async (): Promise<void> => {
      await runIn(stage, "sh", "-c", 'stty -F "$(cat tty)" cols 120 rows 40');
    };
    const shown = await onTerminal(stage, ["client", "shell", "web1"], [
      { after: /90x33 vt220 ready/, type: "\x03" },
      { after: /<03>/, type: "\x04\x1a\x1c\r" },
      { after: /<041a1c0d>/, act: resize },
      { after: /120x40 resized/, type: "\x1b[A" },
      { after: /<1b5b41>/, type: "\r~?" },
      { after: /~~ {2}send one ~/, type: "x" },
    ]);
    assert.equal(shown.code, 7, shown.raw);
    // Nothing of what is typed is shown by this terminal itself.
    assert.doesNotMatch(shown.raw.split("speed ")[0] ?? "", /\^C|\^\[/);
    assertRestored(shown);
  },
);

terminalTest(
  "client shell sets the terminal back when it is left by ~., and ends with 255",
  async (stage) => {
    const shown = await onTerminal(stage, ["client", "shell", "web1"], [{ after: /ready/, type: "~." }]);
    assert.equal(shown.code, 255, shown.raw);
    assert.match(shown.raw, /\r\nconnection to web1 closed\r\n/);
    assertRestored(shown);
  },
);

terminalTest(
  "client shell --detach sets the terminal back when ~d leaves it running, and ends with 0",
  async (stage) => {
    const shown = await onTerminal(stage, ["client", "shell", "web1", "--detach"], [
      { after: /session [0-9a-f]{16} outlives a lost link/ },
      { after: /ready/, type: "~d" },
    ]);
    assert.equal(shown.code, 0, shown.raw);
    assert.match(
      shown.raw,
      /session ([0-9a-f]{16}) goes on; this takes it up: postern client shell --attach \1 --dir \S+\r\n/,
    );
    assertRestored(shown);
  },
);

for (const [signal, code] of [["TERM", 143], ["HUP", 129]] as const) {
  terminalTest(`client shell sets the terminal back when SIG${signal} ends it`, async (stage) => {
    const shown = await onTerminal(stage, ["client", "shell", "web1"], [
      { after: /ready/, act: () => runIn(stage, "sh", "-c", `kill -${signal} "$(cat pid)"`) },
    ]);
    assert.equal(shown.code, code, shown.raw);
    assertRestored(shown);
  });
}

terminalTest(
  "client shell sets the terminal back when its link is lost, and says so on a line of its own",
  async (stage) => {
    const cut = (): Promise<void> =>
      Promise.resolve(stage.server.links[0]?.link.close("shutting_down", "the server is restarting"));
    const shown = await onTerminal(stage, ["client", "shell", "web1"], [{ after: /vt220/, act: cut }]);
    assert.equal(shown.code, 255, shown.raw);
    assert.match(
      shown.raw.replaceAll("\x1b[1;31m", "").replaceAll("\x1b[0m", ""),
      /\r\nerror: connection to web1 lost: .*the server is restarting/,
    );
    assert.match(shown.raw, /postern client shell --detach begins a shell that outlives a lost link/);
    assertRestored(shown);
  },
);

terminalTest(
  "client shell --attach takes up a session of any host, and lists those there are otherwise",
  async (stage) => {
    const session = "00112233445566aa";
    stage.server.sessionRows = [{ session, host: "web1", openedMs: 1_700_000_000_000, detached: true }];
    const wrong = await onTerminal(stage, ["client", "shell", "--attach", "ffffffffffffffff"], []);
    assert.equal(wrong.code, 255);
    assert.match(wrong.raw, /cannot attach: you have no session ffffffffffffffff that outlives its link/);
    assert.match(wrong.raw, /00112233445566aa {2}web1 {2}since 2023-11-14 22:13:20 UTC/);
    const right = await onTerminal(stage, ["client", "shell", "--attach", session], [{
      after: /ready/,
      type: "x",
    }]);
    assert.equal(right.code, 7, right.raw);
    assert.equal(stage.server.sessions.at(-1)?.open.session, session);
    assert.equal(stage.server.sessions.at(-1)?.open.action, "attach");
  },
);

/** A command without a terminal. */
async function run(
  stage: ManageStage,
  words: readonly string[],
  stdin = "",
): Promise<{ code: number; out: string; err: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: await shippedWords(words),
    cwd: `${stage.folder.path}/..`,
    clearEnv: true,
    env: { DENO_DIR: denoDir, DENO_NO_UPDATE_CHECK: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(stdin));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

Deno.test("client shell reads a script from standard input, records, and client replay plays it", async () => {
  await using stage = await manageStage();
  const got: string[] = [];
  await stage.server.host("web1", {
    shell: async function* (start, inputs): AsyncGenerator<ShellOutput> {
      yield new TextEncoder().encode(`${start.columns}x${start.rows} ${start.term}\r\n`);
      let typed = "";
      for await (const input of inputs) {
        if (input instanceof Uint8Array) typed += new TextDecoder().decode(input);
        if (typed.endsWith("\x04")) break;
      }
      got.push(typed);
      yield new TextEncoder().encode("done\n");
      yield { exitCode: 3 };
    },
  });
  const path = await Deno.realPath(`${stage.folder.path}/..`) + "/shell.cast";
  const words = ["client", "shell", "web1", "--record", path, "--dir", stage.folder.path];
  const { code, out, err } = await run(stage, words, "ls ~.\nexit\n");
  assert.equal(code, 3, err);
  assert.equal(out, "80x24 xterm\r\ndone\n");
  assert.deepEqual(got, ["ls ~.\nexit\n\x04"]);
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
  assert.deepEqual(await run(stage, ["client", "replay", path]), {
    code: 0,
    out: "80x24 xterm\r\ndone\n",
    err: "",
  });
  const again = await run(stage, words);
  assert.equal(again.code, 255);
  assert.match(
    again.err,
    /^error: cannot record to .*shell\.cast: it is there already, accepted is a new file\n/,
  );
  const none = await run(stage, ["client", "replay", `${path}.none`]);
  assert.equal(none.code, 1);
  assert.match(none.err, /^error: cannot play .*shell\.cast\.none/);
});

Deno.test("client shell names the side that refuses, and ends with 255", async () => {
  await using stage = await manageStage();
  const host = await stage.server.host("web1");
  host.refusal = ["refused_by_host", "shell not allowed by its agent.toml"];
  const { code, out, err } = await run(stage, ["client", "shell", "web1", "--dir", stage.folder.path]);
  assert.equal(code, 255);
  assert.equal(out, "");
  assert.match(err, /error: web1 refuses: shell not allowed by its agent\.toml\n/);
});

Deno.test("client forward --socks says how to ask for less where the server refuses all targets", async () => {
  await using stage = await manageStage();
  const host = await stage.server.host("web1");
  host.refusal = ["refused_by_server", "no rule of policy.toml lets alice forward to *:* on web1"];
  const { code, err } = await run(
    stage,
    ["client", "forward", "web1", "--socks", "0", "--dir", stage.folder.path],
  );
  assert.equal(code, 1);
  assert.match(
    err,
    /error: the server refuses: no rule .*\nhint: --socks asks for \*:\*; .* --target HOST:PORT/,
  );
});

Deno.test("client forward prints each address when it listens, carries, and ends by Ctrl-C with 0", async () => {
  await using stage = await manageStage();
  await stage.server.host("web1", {
    connect: async function* (_start, items): AsyncGenerator<Uint8Array<ArrayBuffer>> {
      yield new Uint8Array(0);
      for await (const item of items) {
        yield item;
        if (item.length === 0) return;
      }
    },
  });
  const words = ["client", "forward", "web1", "0:db:5432", "--socks", "0", "--dir", stage.folder.path];
  const out = `${stage.folder.path}/out`;
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      'out=$1; shift; exec "$@" >"$out"',
      "sh",
      out,
      Deno.execPath(),
      ...await shippedWords(words),
    ],
    clearEnv: true,
    env: { DENO_DIR: denoDir, DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const lines = await until("both ports listen", async () => {
      const found = (await textOf(out) ?? "").split("\n");
      return found.length > 2 && found;
    });
    assert.match(lines[0] ?? "", /^127\.0\.0\.1:[0-9]+ leads to db:5432 from web1$/);
    assert.match(lines[1] ?? "", /^127\.0\.0\.1:[0-9]+ is a SOCKS5 proxy into web1$/);
    assert.deepEqual(stage.server.sessions[0]?.open.targets, ["db:5432", "*:*"]);
    const port = Number(/:([0-9]+) /.exec(lines[0] ?? "")?.[1]);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(new TextEncoder().encode("hello"));
    await connection.closeWrite();
    const buffer = new Uint8Array(16);
    assert.equal(await connection.read(buffer), 5);
    assert.equal(await connection.read(buffer), null);
    connection.close();
  } finally {
    child.kill("SIGINT");
  }
  assert.equal((await child.status).code, 0);
});
