/** Sessions as people use them: the real client in real terminals, a real server and agents, the shipped permissions. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type ManageLab, runShipped, textOf } from "../../scripts/manage_lab.ts";
import { shippedWords } from "../../scripts/transfer_lab.ts";
import { programObstacle, unless } from "./machine.ts";
import {
  allGone,
  auditText,
  clientBytes,
  isRunning,
  linkedLab,
  mark,
  startForward,
  Window,
} from "./manage_world.ts";
import { textOf as fileText, until } from "./until.ts";

const LIMIT = { timeout: 120_000 };
const terminals = await programObstacle("script", "stty", "pgrep");
const decoder = new TextDecoder();

/** A shell that answers; when the test is through with it the client is killed. */
async function inShell(lab: ManageLab, test: (view: Window) => Promise<void>): Promise<void> {
  await using view = await Window.atShell(lab, "alice", "shell", "web1");
  await test(view);
}

Deno.test({
  ...unless(terminals, "client shell is a terminal on the host: its size, its bytes, its keys, its end"),
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await linkedLab();

    await t.step("it begins as 24 x 80 where nobody knows the size, and follows a change of it", async () => {
      await inShell(lab, async (view) => {
        await view.enter("stty size");
        await view.terminal.shows(/^24 80\r$/m);
        await view.resize(33, 101);
        await view.enter('until [ "$(stty size)" = "33 101" ]; do sleep 0.05; done');
        await view.answers("resized");
      });
    });

    await t.step("colours, bells and letters of more than one byte come as they are", async () => {
      await inShell(lab, async (view) => {
        await view.enter("printf '\\033[1;31mred\\033[0m\\a\\342\\202\\254-%s\\n' $((40 + 2))");
        // deno-lint-ignore no-control-regex
        await view.terminal.shows(/\x1b\[1;31mred\x1b\[0m\x07\u20ac-42/);
      });
    });

    await t.step(
      "Ctrl-C ends the program in front and not the shell; Ctrl-D ends that with its code",
      async () => {
        await inShell(lab, async (view) => {
          const sleep = `sleep ${mark()}`;
          await view.enter(sleep);
          await until("it sleeps", () => isRunning(sleep));
          await view.terminal.type("\x03");
          await allGone(sleep);
          await view.answers("alive");
          await view.enter("(exit 7)");
          await view.terminal.type("\x04");
          assert.equal(await view.terminal.end(), 7);
        });
      },
    );

    await t.step({
      ...unless(await programObstacle("vi", "top"), "vi edits and saves a file; top draws, and q ends it"),
      async fn(): Promise<void> {
        await inShell(lab, async (view) => {
          const path = `${lab.folder}/edited`;
          await view.enter(`TERM=xterm vi -u NONE ${path}`);
          await view.terminal.shows(/~[^]*\[New/);
          await view.terminal.type("ifrom vi");
          await view.terminal.shows(/from vi/);
          await view.terminal.type("\x1b");
          await view.terminal.type(":wq\r");
          await until("it is saved", async () => await fileText(path) === "from vi\n");
          await view.answers("edited");
          const from = view.terminal.screen.length;
          await view.enter("TERM=xterm top -d 1");
          await view.terminal.shows(/load average[^]*PID/, { from });
          await view.terminal.type("q");
          // It throws away what is typed before the shell is there again.
          await view.terminal.shows(/\[\?1l[^]*[#$] $/, { from });
          await view.answers("topped");
        });
      },
    });

    await t.step(
      "~. leaves, and then nothing of the shell is left: jobs, nohup, what is in front",
      async () => {
        await inShell(lab, async (view) => {
          const sleeps = [mark(), mark(), mark()].map((seconds) => `sleep ${seconds}`);
          const [background = "", deaf = "", front = ""] = sleeps;
          await view.enter(`${background} & nohup ${deaf} > /dev/null 2>&1 &`);
          await view.enter(front);
          for (const sleep of sleeps) await until(`${sleep} runs`, () => isRunning(sleep));
          await view.terminal.type("\r~.");
          assert.equal(await view.terminal.end(), 255);
          await view.terminal.shows(/connection to web1 closed/);
          await allGone(...sleeps);
        });
      },
    );

    await t.step(
      "the exit code of the shell is that of the client, where neither has a terminal, too",
      async () => {
        const ended = await lab.client("alice", ["shell", "web1"], {
          stdin: "echo got-$((40 + 2)); exit 5\n",
        });
        assert.match(textOf(ended, 5), /got-42/);
      },
    );

    await t.step("--record writes what was shown, and replay shows it", async () => {
      const path = `${lab.folder}/own.cast`;
      const stdin = "printf '\\033[32mgreen\\033[0m-%s\\n' $((40 + 2)); exit\n";
      textOf(await lab.client("alice", ["shell", "web1", "--record", path], { stdin }));
      await replays(path, "\x1b[32mgreen\x1b[0m-42");
      const again = await lab.client("alice", ["shell", "web1", "--record", path], { stdin });
      assert.equal(again.code, 255);
      assert.match(again.stderr, /own\.cast/, "a recording is never overwritten");
    });
  },
});

/** It is asciicast v2, and `postern client replay` prints this of it. */
async function replays(path: string, shown: string): Promise<void> {
  const [header = "", ...events] = (await Deno.readTextFile(path)).trimEnd().split("\n");
  assert.equal(JSON.parse(header).version, 2);
  assert(events.every((line) => /^\[[0-9.]+, ?"[or]", ?"/.test(line)), events.join("\n"));
  const replayed = textOf(await runShipped(["client", "replay", path]));
  assert(replayed.includes(shown), replayed);
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o600);
}

Deno.test({
  ...unless(terminals, "a shell that outlives its link is left and taken up again, by the same key alone"),
  ...LIMIT,
  async fn(t): Promise<void> {
    const casts = await Deno.makeTempDir({ prefix: "postern-casts-" });
    try {
      await using lab = await linkedLab({
        admins: ["alice", "bob"],
        configure: (_host, config) => config.set("record", JSON.stringify(casts)),
      });
      const copy = `${lab.folder}/admin-copy`;
      const { success } = await new Deno.Command("cp", { args: ["-r", lab.adminDir("alice"), copy] })
        .output();
      assert(success);
      const [go, done, script] = [`${lab.folder}/go`, `${lab.folder}/done`, `${lab.folder}/script`] as const;
      await Deno.writeTextFile(
        script,
        `echo waiting-$((40 + 2))\nuntil [ -e ${go} ]; do sleep 0.05; done\necho missed-$((40 + 2))\ntouch ${done}\n`,
      );
      let session = "";

      await t.step("~d leaves it running, and says how it is taken up", async () => {
        await using view = await Window.atShell(lab, "alice", "shell", "web1", "--detach");
        await view.terminal.shows(/session [0-9a-f]{16} outlives a lost link/);
        session = /session ([0-9a-f]{16}) outlives/.exec(view.terminal.screen)?.[1] ?? "";
        await view.enter("kept=in-$((40 + 2))");
        await view.enter(`sh ${script}`);
        await view.terminal.shows(/waiting-42/);
        await view.terminal.type("\r~d");
        await view.terminal.shows(new RegExp(`postern client shell --attach ${session}`));
        assert.equal(await view.terminal.end(), 0);
      });
      await Deno.writeTextFile(go, "");
      await until("it has printed what nobody saw", async () => await fileText(done) !== undefined);

      await t.step("another administrator's key is refused, also where it names the host", async () => {
        const unseen = await lab.client("bob", ["shell", "--attach", session], { stdin: "" });
        assert.equal(unseen.code, 255, unseen.stderr);
        assert.match(unseen.stderr, /^error: cannot attach: you have no session/m);
        const refused = await lab.client("bob", ["shell", "web1", "--attach", session], { stdin: "" });
        assert.equal(refused.code, 255, refused.stderr);
        assert.match(refused.stderr, /^error: cannot attach: you have no session [0-9a-f]{16} on web1/m);
      });

      await t.step(
        "a copy of the key takes it up with what was missed, and a third viewer replaces that",
        async () => {
          await using elsewhere = await Window.open(lab, "copy", "shell", "--attach", session);
          await elsewhere.terminal.shows(/missed-42/);
          await elsewhere.enter('echo "$kept"');
          await elsewhere.terminal.shows(/^in-42\r$/m);
          await using third = await Window.atShell(lab, "alice", "shell", "--attach", session);
          assert.equal(await elsewhere.terminal.end(), 255);
          await elsewhere.terminal.shows(/^.*error.*: .*taken up elsewhere/m);
          await third.enter("exit 6");
          assert.equal(await third.terminal.end(), 6);
        },
      );

      await t.step("once it is over nobody takes it up any more", async () => {
        const gone = await lab.client("alice", ["shell", "--attach", session], { stdin: "" });
        assert.equal(gone.code, 255);
        assert.match(gone.stderr, /^error: /m);
      });

      await t.step("the host has recorded it from beginning to end", async () => {
        const names = (await Array.fromAsync(Deno.readDir(casts))).map(({ name }) => name);
        const [name = ""] = names;
        assert.equal(names.length, 1, names.join());
        assert(name.endsWith(`-${session}.cast`), name);
        await replays(`${casts}/${name}`, "missed-42");
      });

      await t.step("the audit has each of them, and no word of what was said", async () => {
        const audit = await auditText(lab);
        assert.match(audit, new RegExp(`session_opened.*${session}`));
        assert.match(audit, new RegExp(`session_ended.*${session}`));
        assert.doesNotMatch(audit, /missed|in-42|kept/);
      });
    } finally {
      await Deno.remove(casts, { recursive: true });
    }
  },
});

/** Bytes that repeat nowhere near. */
function noise(length: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let at = 0, state = 0x9e3779b9; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

Deno.test({
  ...unless(terminals, "client exec passes any bytes and every exit code, from one host and from many"),
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await linkedLab({ hosts: ["web1", "web2", "web3", "web4"], absent: ["web5"] });
    const exec = (...words: string[]): Parameters<ManageLab["client"]>[1] => ["exec", "web1", "--", ...words];
    assert.equal(textOf(await lab.client("alice", exec("true"))), "");

    await t.step("any bytes through standard input, output and error, each apart", async () => {
      const bytes = noise(300_000);
      const through = `${lab.folder}/through`;
      const { code, stdout, stderr } = await clientBytes(
        lab,
        "alice",
        exec("sh", "-c", `cat > ${through}; cat ${through}; cat ${through} >&2; exit 3`),
        bytes,
      );
      assert.equal(code, 3);
      assert.deepEqual(stdout, bytes);
      assert.deepEqual(stderr, bytes);
    });

    await t.step("100 MB through standard input arrive whole", async () => {
      const bytes = noise(100_000_000);
      const sum = createHash("sha256").update(bytes).digest("hex");
      const { code, stdout } = await clientBytes(lab, "alice", exec("sha256sum"), bytes);
      assert.equal(code, 0);
      assert.equal(decoder.decode(stdout), `${sum}  -\n`);
    });

    await t.step(
      "exit codes: those of the program, 128 and the signal, 127 where there is none",
      async () => {
        for (
          const [script, code] of [
            ["exit 0", 0],
            ["exit 1", 1],
            ["exit 254", 254],
            ["kill -TERM $$", 143],
            ["kill -KILL $$", 137],
          ] as const
        ) {
          const ended = await lab.client("alice", exec("sh", "-c", script));
          assert.equal(ended.code, code, `${script}: ${ended.stderr}`);
        }
        const missing = await lab.client("alice", exec("/no/such/program"));
        assert.equal(missing.code, 127);
        assert.match(missing.stderr, /\/no\/such\/program/);
      },
    );

    await t.step("a client that is ended takes its program with it, nohup and jobs as well", async () => {
      const sleeps = [mark(), mark()].map((seconds) => `sleep ${seconds}`);
      const [deaf = "", front = ""] = sleeps;
      const script = `${lab.folder}/jobs`;
      await Deno.writeTextFile(script, `nohup ${deaf} > /dev/null 2>&1 &\n${front}\n`);
      const client = new Deno.Command(Deno.execPath(), {
        args: await shippedWords(lab.clientLine("alice", "exec", "web1", "--", "sh", script)),
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      for (const sleep of sleeps) await until(`${sleep} runs`, () => isRunning(sleep));
      client.kill("SIGTERM");
      assert.equal((await client.status).code, 143);
      await allGone(...sleeps);
    });

    await t.step("--all-tagged: one fails, one is offline, the others work, and the code is 1", async () => {
      const once = `mkdir ${lab.folder}/first 2>/dev/null && exit 3; echo fine`;
      const { code, stdout, stderr } = await lab.client("alice", [
        ...["exec", "--all-tagged", "prod", "--parallel", "2", "--", "sh", "-c", once] as const,
      ]);
      assert.equal(code, 1, stderr);
      const lines = decoder.decode(stdout).trimEnd().split("\n").sort();
      assert.equal(lines.length, 3, lines.join("\n"));
      assert(lines.every((line) => /^web[1-4]: fine$/.test(line)), lines.join("\n"));
      assert.match(stderr, /^error: web5 is offline: it has never connected to the server$/m);
      assert.match(
        stderr,
        /^error: it failed on 2 of 5 hosts: (?:web[1-4] \(exit code 3\), web5|web5, web[1-4] \(exit code 3\))$/m,
      );
    });

    await t.step("the same with --json: a line for each host", async () => {
      const once = `cat; mkdir ${lab.folder}/second 2>/dev/null && exit 3; printf '\\377'`;
      const { code, stdout, stderr } = await lab.client("alice", [
        ...["exec", "--all-tagged", "prod", "--json", "--", "sh", "-c", once] as const,
      ]);
      assert.equal(code, 1, stderr);
      const rows = decoder.decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
      assert.deepEqual(rows.map(({ host }) => host).sort(), ["web1", "web2", "web3", "web4", "web5"]);
      const codes = rows.filter(({ host }) => host !== "web5").map(({ exitCode }) => exitCode).sort();
      assert.deepEqual(codes, [0, 0, 0, 3]);
      const good = rows.find(({ exitCode }) => exitCode === 0);
      assert.equal(good.stdoutBase64, "/w==", "what is no text");
      const away = rows.find(({ host }) => host === "web5");
      assert.match(away.error, /^web5 is offline/);
      assert.equal(away.exitCode, undefined);
    });

    await t.step("nothing is left of a tag that nobody has but words", async () => {
      const nobody = await lab.client("alice", ["exec", "--all-tagged", "none", "--", "true"]);
      assert.equal(nobody.code, 1);
      assert.match(nobody.stderr, /^error: .*none/m);
    });
  },
});

/** Reads a connection to its end. */
async function readAll(connection: Deno.TcpConn): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (;;) {
    const part = new Uint8Array(32 * 1024);
    const count = await connection.read(part);
    if (count === null) return new Uint8Array(await new Blob(parts).arrayBuffer());
    parts.push(part.subarray(0, count));
  }
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Reads to the end of its caller's half, only then answers with the hash and all of it again, and hangs up. */
async function answer(connection: Deno.TcpConn): Promise<void> {
  using open = connection;
  const bytes = await readAll(open);
  await writeAll(open, new Uint8Array(createHash("sha256").update(bytes).digest()));
  await writeAll(open, bytes);
}

async function serve(listener: Deno.TcpListener): Promise<void> {
  const answering: Promise<void>[] = [];
  for await (const connection of listener) answering.push(answer(connection));
  await Promise.all(answering);
}

const CONNECTIONS = 200;
const EACH_BYTES = 40_000;

Deno.test({
  ...unless(
    await programObstacle("curl"),
    "client forward: 200 connections at once with half-closes, and a SOCKS proxy that curl uses",
  ),
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await linkedLab();
    const target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = serve(target);
    const site = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      (request) => new Response(`asked for ${new URL(request.url).hostname}\n`),
    );
    const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const closedPort = closed.addr.port;
    closed.close();
    const { process: forward, ports } = await startForward(
      lab,
      "alice",
      ["web1", `0:127.0.0.1:${target.addr.port}`, "--socks", "127.0.0.1:0"],
      2,
    );
    await using _forward = forward;
    const [port = 0, socks = 0] = ports;

    await t.step("200 connections at once, each with data of its own, which comes back whole", async () => {
      const all = noise(CONNECTIONS * EACH_BYTES);
      const connections = await Promise.all(
        Array.from({ length: CONNECTIONS }, () => Deno.connect({ hostname: "127.0.0.1", port })),
      );
      await Promise.all(connections.map(async (connection, at) => {
        using open = connection;
        const bytes = all.slice(at * EACH_BYTES, (at + 1) * EACH_BYTES - at);
        await writeAll(open, bytes);
        await open.closeWrite();
        const answered = await readAll(open);
        assert.deepEqual(
          answered.subarray(0, 32),
          new Uint8Array(createHash("sha256").update(bytes).digest()),
        );
        assert.deepEqual(answered.subarray(32), bytes);
      }));
    });

    const curl = async (...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
      const { code, stdout, stderr } = await new Deno.Command("curl", {
        args: ["-sS", "--noproxy", "", "--max-time", "20", ...words],
      }).output();
      return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
    };
    const proxy = `127.0.0.1:${socks}`;

    await t.step("curl by a name that the host resolves, and by an address", async () => {
      const named = await curl("--socks5-hostname", proxy, `http://localhost:${site.addr.port}/`);
      assert.deepEqual(named, { code: 0, stdout: "asked for localhost\n", stderr: "" });
      const numbered = await curl("--socks5", proxy, `http://127.0.0.1:${site.addr.port}/`);
      assert.deepEqual(numbered, { code: 0, stdout: "asked for 127.0.0.1\n", stderr: "" });
    });

    await t.step(
      "a target where nobody listens, and one that the host forbids, are curl's own errors",
      async () => {
        const nobody = await curl("--socks5-hostname", proxy, `http://127.0.0.1:${closedPort}/`);
        assert.equal(nobody.code, 97, nobody.stderr);
        const forbidden = await curl("--socks5-hostname", proxy, "http://198.18.0.1:80/");
        assert.equal(forbidden.code, 97, forbidden.stderr);
        const again = await curl("--socks5-hostname", proxy, `http://localhost:${site.addr.port}/`);
        assert.equal(again.code, 0, "the others go on");
      },
    );

    target.close();
    await serving;
    await site.shutdown();
  },
});
