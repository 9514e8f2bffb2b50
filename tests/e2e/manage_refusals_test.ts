/**
 * What is refused, and what ends a session that runs: each time somebody is told by whom and why, with the exit code
 * that a script can go by, and nothing waits for ever.
 */
import assert from "node:assert/strict";
import { type Ended, type ManageLab, runShipped, textOf } from "../../scripts/manage_lab.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { shippedWords } from "../../scripts/transfer_lab.ts";
import { programObstacle, unless } from "./machine.ts";
import { AgentToml, linkedLab, Window, writeAnew } from "./manage_world.ts";
import { until } from "./until.ts";

const LIMIT = { timeout: 120_000 };
const EXIT_NO_SESSION = 255;
const terminals = await programObstacle("script", "stty");

/** Replaces the server's policy by one rule for everybody. */
async function allow(lab: ManageLab, actions: readonly string[], untilMs?: number): Promise<void> {
  const end = untilMs === undefined ? "" : `until = ${new Date(untilMs).toISOString()}\n`;
  const text = `[[rule]]\nadmins = ["*"]\nhosts = ["*"]\nactions = ${JSON.stringify(actions)}\n` +
    (actions.includes("forward") ? `targets = ["*:*"]\n` : "") + end;
  await writeAnew(`${lab.serverDir}/policy.toml`, text);
}

const EVERYTHING = ["shell", "exec", "forward"];

/** Runs the words until they end with this code: a changed file counts within a second. */
async function endsWith(
  lab: ManageLab,
  code: number,
  admin: string,
  words: readonly [string, ...string[]],
): Promise<Ended> {
  return await until(`${words.join(" ")} ends with ${code}`, async () => {
    const ended = await lab.client(admin, words);
    return ended.code === code && ended;
  });
}

/** The client of a live shell ends with the code of a lost session, and a line that says why. */
async function isEnded(view: Window, line: RegExp): Promise<void> {
  assert.equal(await view.terminal.end(), EXIT_NO_SESSION);
  // deno-lint-ignore no-control-regex
  const plain = view.terminal.screen.replaceAll(/\x1b\[[0-9;?]*[a-zA-Z]/g, "");
  assert.match(plain, line);
}

Deno.test({
  ...unless(terminals, "every refusal and every end of a session names its side and its reason"),
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await linkedLab({ hosts: ["web1", "web2"], absent: ["db1"], admins: ["alice", "bob"] });
    const config = new AgentToml(lab, "web1");
    const known = await lab.client("alice", ["exec", "web2", "--", "true"]);
    const [firstKey = ""] = /SHA256:[A-Za-z0-9+/]{43}/.exec(known.stderr) ?? [];
    assert.notEqual(firstKey, "", known.stderr);

    await t.step("an unknown host: the nearest names", async () => {
      for (const words of [["exec", "web3", "--", "true"], ["shell", "web3"]] as const) {
        const { code, stderr } = await lab.client("alice", [...words], { stdin: "" });
        assert.equal(code, EXIT_NO_SESSION);
        assert.match(
          stderr,
          /^error: the server refuses: no host web3 is known.*; the nearest: web1, web2$/m,
        );
      }
      const forward = await lab.client("alice", ["forward", "web3", "0:localhost:1"]);
      assert.equal(forward.code, 1);
      assert.match(forward.stderr, /^error: the server refuses: no host web3 is known/m);
    });

    await t.step("a host that is away: since when, at once", async () => {
      const never = await lab.client("alice", ["exec", "db1", "--", "true"]);
      assert.equal(never.code, EXIT_NO_SESSION);
      assert.match(never.stderr, /^error: db1 is offline: it has never connected to the server$/m);
      await lab.agent("web2").stop("SIGTERM");
      const away = await endsWith(lab, EXIT_NO_SESSION, "alice", ["exec", "web2", "--", "true"]);
      assert.match(
        away.stderr,
        /^error: web2 is offline since 2[0-9]{3}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}/m,
      );
    });

    await t.step("another key under a known name: both fingerprints, until it is accepted", async () => {
      const token = await lab.invite("host", "web2", "--replace");
      const dir = `${lab.folder}/agent-anew`;
      const joined = await runShipped(["commander", "agent", "--join", token, "--dir", dir]);
      const [newKey = ""] = /SHA256:[A-Za-z0-9+/]{43}/.exec(joined.stderr) ?? [];
      await using agent = new LoggedProcess(
        await shippedWords(["commander", "agent", "--dir", dir, "--log", "json"]),
        { cwd: repositoryFolder },
      );
      await agent.line(({ fields }) => fields["message"] === "linked to the server", { timeoutMs: 20_000 });
      const changed = await lab.client("alice", ["exec", "web2", "--", "echo", "never"]);
      assert.equal(changed.code, EXIT_NO_SESSION);
      assert.equal(new TextDecoder().decode(changed.stdout), "");
      assert(changed.stderr.includes(firstKey) && changed.stderr.includes(newKey), changed.stderr);
      assert.notEqual(firstKey, newKey);
      assert.match(changed.stderr, /--accept-key/);
      assert.equal(
        textOf(await lab.client("alice", ["exec", "web2", "--accept-key", "--", "echo", "a"])),
        "a\n",
      );
      assert.equal(textOf(await lab.client("alice", ["exec", "web2", "--", "echo", "b"])), "b\n");
    });

    await t.step("the server's policy, before and while a session runs", async () => {
      await using view = await Window.atShell(lab, "alice", "shell", "web1");
      await allow(lab, ["exec"]);
      await isEnded(view, /error: the server refuses: its policy does not allow shell on web1 any more/);
      const shell = await lab.client("alice", ["shell", "web1"], { stdin: "" });
      assert.equal(shell.code, EXIT_NO_SESSION);
      assert.match(shell.stderr, /^error: the server refuses: .*shell/m);
      const forward = await lab.client("alice", ["forward", "web1", "0:localhost:1"]);
      assert.equal(forward.code, 1);
      assert.match(forward.stderr, /^error: the server refuses: .*forward/m);
      assert.match(forward.stderr, /^hint: policy\.toml on the server/m);
      assert.equal((await lab.client("alice", ["exec", "web1", "--", "true"])).code, 0);
      await allow(lab, EVERYTHING);
      await endsWith(lab, 0, "alice", ["shell", "web1"]);
    });

    await t.step("a rule whose time is over", async () => {
      await using view = await Window.atShell(lab, "alice", "shell", "web1");
      await allow(lab, EVERYTHING, Date.now() + 4_000);
      await isEnded(view, /error: .*(?:time is over|expired)/);
      const late = await lab.client("alice", ["exec", "web1", "--", "true"]);
      assert.equal(late.code, EXIT_NO_SESSION);
      assert.match(late.stderr, /^error: the server refuses: /m);
      await allow(lab, EVERYTHING);
      await endsWith(lab, 0, "alice", ["exec", "web1", "--", "true"]);
    });

    await t.step("the host's agent.toml, before and while a session runs", async () => {
      await using view = await Window.atShell(lab, "alice", "shell", "web1");
      await config.set("shell", "false");
      await isEnded(view, /error: .*web1 ended the session: /);
      const shell = await lab.client("alice", ["shell", "web1"], { stdin: "" });
      assert.equal(shell.code, EXIT_NO_SESSION);
      assert.match(shell.stderr, /^error: web1 refuses: shell not allowed by its agent\.toml$/m);
      await config.set("commands", '[["/bin/echo", "this"]]');
      const other = await endsWith(lab, EXIT_NO_SESSION, "alice", [
        "exec",
        "web1",
        "--",
        "/bin/echo",
        "that",
      ]);
      assert.match(other.stderr, /^error: web1 refuses: .*agent\.toml/m);
      assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "/bin/echo", "this"])), "this\n");
      await config.set("forward", "[]");
      const forward = await endsWith(lab, 1, "alice", ["forward", "web1", "0:localhost:1"]);
      assert.match(forward.stderr, /^error: web1 refuses: forward not allowed by its agent\.toml$/m);
      await config.set("commands", "[]");
      await config.set("shell", "true");
      await endsWith(lab, 0, "alice", ["shell", "web1"]);
    });

    await t.step(
      "an administrator who is shut out: the live shell ends, and a new one is refused",
      async () => {
        await using view = await Window.atShell(lab, "bob", "shell", "web1");
        textOf(await lab.serverCommand("revoke", "admin", "bob"));
        await isEnded(view, /error: .*revoked/);
        const again = await lab.client("bob", ["hosts"]);
        assert.equal(again.code, 1);
        assert.match(again.stderr, /^error: the server refuses: .*revoked/m);
        assert.match(again.stderr, /^hint: .*new invitation/m);
      },
    );

    await t.step("a host that is shut out: its sessions end, and its agent says why", async () => {
      await using view = await Window.atShell(lab, "alice", "shell", "web1");
      textOf(await lab.serverCommand("revoke", "host", "web1"));
      await isEnded(view, /error: (?:the server refuses: web1 was revoked|.*web1 ended the session: )/);
      const gone = await lab.client("alice", ["exec", "web1", "--", "true"]);
      assert.equal(gone.code, EXIT_NO_SESSION);
      assert.match(gone.stderr, /^error: the server refuses: no host web1 is known/m);
      await lab.agent("web1").line(({ text }) => /revoked/.test(text), { timeoutMs: 20_000 });
    });
  },
});

/** The client's folder, for a server that is elsewhere. */
async function folderFor(lab: ManageLab, admin: string, address: string): Promise<void> {
  const { success } = await new Deno.Command("cp", {
    args: ["-r", lab.adminDir("alice"), lab.adminDir(admin)],
  }).output();
  assert(success);
  const path = `${lab.adminDir(admin)}/server.json`;
  const record = JSON.parse(await Deno.readTextFile(path));
  await writeAnew(path, JSON.stringify({ ...record, addresses: [address] }));
}

/** What is stopped answers nothing, and its link stands. */
async function askDeafHost(lab: ManageLab): Promise<void> {
  lab.agent("web1").kill("SIGSTOP");
  try {
    const { code, stderr } = await lab.client("alice", ["exec", "web1", "--", "true"]);
    assert.equal(code, EXIT_NO_SESSION, stderr);
    assert.match(stderr, /^waiting for web1 to answer, [0-9]+ s at most$/m);
    assert.match(stderr, /^error: .*(?:in vain for web1 to answer|web1 is offline)/m);
  } finally {
    lab.agent("web1").kill("SIGCONT");
  }
}

/** Takes connections and says nothing, ever. */
async function holdAll(listener: Deno.TcpListener, held: Deno.TcpConn[]): Promise<void> {
  for await (const connection of listener) held.push(connection);
}

Deno.test({
  name:
    "where there is no server, or server or host say nothing, a client says what it waits for and gives up",
  ...LIMIT,
  async fn(t): Promise<void> {
    await using lab = await linkedLab();
    assert.equal((await lab.client("alice", ["exec", "web1", "--", "true"])).code, 0);

    await t.step("nobody listens", async () => {
      const closed = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = closed.addr;
      closed.close();
      await folderFor(lab, "lost", `127.0.0.1:${port}`);
      const { code, stderr } = await lab.client("lost", ["hosts"]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, new RegExp(`^error: .*127\\.0\\.0\\.1:${port}`, "m"));
      assert.match(stderr, /refused/i);
    });

    await t.step("a black hole, and a host that has gone deaf", async () => {
      const held: Deno.TcpConn[] = [];
      const hole = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const holding = holdAll(hole, held);
      await folderFor(lab, "waiting", `127.0.0.1:${hole.addr.port}`);
      const lines = [
        [["hosts"], 1],
        [["exec", "web1", "--", "true"], EXIT_NO_SESSION],
        [["shell", "web1"], EXIT_NO_SESSION],
        [["forward", "web1", "0:localhost:1"], 1],
      ] as const;
      const inVain = lines.map(async ([words, expected]): Promise<void> => {
        const { code, stderr } = await lab.client("waiting", [...words], { stdin: "" });
        assert.equal(code, expected, stderr);
        assert.match(
          stderr,
          /^waiting for the management server \(127\.0\.0\.1:[0-9]+\), [0-9]+ s at most$/m,
        );
        assert.match(stderr, /^error: cannot reach the management server: .*no answer within [0-9]+ s$/m);
      });
      await Promise.all([askDeafHost(lab), ...inVain]);
      hole.close();
      await holding;
      for (const connection of held) connection.close();
    });

    await t.step("a token that is none, is used up, or is for somebody else", async () => {
      const token = await lab.invite("admin", "dora");
      const joins = (dir: string, text: string): Promise<Ended> =>
        runShipped(["client", "join", "-", "--dir", `${lab.folder}/${dir}`], { stdin: `${text}\n` });
      assert.equal((await joins("dora", token)).code, 0);
      const used = await joins("thief", token);
      assert.equal(used.code, 1, used.stderr);
      assert.match(used.stderr, /^error: the server refuses: .*token/m);
      const broken = await joins("broken", `${token.slice(0, -4)}AAAA`);
      assert.equal(broken.code, 2, broken.stderr);
      assert.match(broken.stderr, /^error: cannot read the token: /m);
      const host = await joins("host", await lab.invite("host", "web9"));
      assert.notEqual(host.code, 0);
      assert.match(host.stderr, /^error: cannot join as an administrator: found the token of a host$/m);
      for (const { stderr } of [used, broken, host]) assert(!stderr.includes(token.slice(30, 60)), stderr);
    });

    await t.step("a permission that is missing is named, and nothing is asked of anybody", async () => {
      const flags = (await shippedWords(lab.clientLine("alice", "exec", "web1", "--", "true")))
        .map((word) => word.startsWith("--allow-net=") ? "--allow-net=127.0.0.1:1" : word);
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: flags,
        cwd: repositoryFolder,
        stdin: "null",
      }).output();
      assert.equal(code, EXIT_NO_SESSION);
      const [problem = ""] = new TextDecoder().decode(stderr).split("\n");
      assert.equal(
        problem,
        `error: cannot run anything: permissions are missing: --allow-net=127.0.0.1:${lab.cable.port}`,
      );
    });
  },
});
