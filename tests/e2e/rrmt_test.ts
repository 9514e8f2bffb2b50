/**
 * The task list of RRMT's README, item by item, each with real processes under the permissions they ship with. Its web UI
 * is not here.
 */
import assert from "node:assert/strict";
import { type Ended, ManageLab, runShipped, textOf } from "../../scripts/manage_lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { shippedWords } from "../../scripts/transfer_lab.ts";
import { encodeFrame, FRAME_TYPES } from "../../src/protocol/manage/frame.ts";
import { Link } from "../../src/protocol/manage/link.ts";
import { programObstacle, unless } from "./machine.ts";
import { until } from "./until.ts";

const LIMIT = { timeout: 120_000 };

/** A server, the host web1 and the administrator alice, all linked. */
async function linked(): Promise<ManageLab> {
  await using owned = new AsyncDisposableStack();
  const lab = owned.use(await ManageLab.make());
  await Promise.all([lab.joinHost("web1", { inviteWords: ["--tag", "prod"] }), lab.joinAdmin("alice")]);
  await lab.startAgent("web1");
  owned.move();
  return lab;
}

/** TCP ports a process listens on, as the kernel has them. */
async function listeningPorts(pid: number): Promise<number[]> {
  const inodes = new Set<string>();
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    const target = await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => "");
    const [, inode] = /^socket:\[([0-9]+)\]$/.exec(target) ?? [];
    if (inode !== undefined) inodes.add(inode);
  }
  const tables = await Promise.all(["tcp", "tcp6"].map((name) => Deno.readTextFile(`/proc/net/${name}`)));
  return tables.flatMap((text) => text.split("\n").slice(1)).flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    return state === "0A" && inodes.has(inode) ? [parseInt(local.split(":").at(-1) ?? "", 16)] : [];
  });
}

Deno.test({
  name:
    "RRMT, Design RRMT Protocol: the host listens nowhere, and a session reaches it over the link it dialled",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    assert.deepEqual(await listeningPorts(lab.agent("web1").pid), []);
    assert.equal((await listeningPorts(lab.server.pid)).length, 1);
    assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "echo", "reached"])), "reached\n");
  },
});

Deno.test("RRMT, Implement RRMT Protocol: header, flows, heartbeat after 10 s, an identical reply, dead without one", () => {
  const heartbeat = new Uint8Array([1, 0x00, 0x00, 0x00, 0x00]);
  assert.deepEqual(encodeFrame(FRAME_TYPES.heartbeat, 0, new Uint8Array(0)), heartbeat);
  const host = new Link({ role: "dialler", nowMs: 0 });
  const server = new Link({ role: "server", nowMs: 0 });
  assert.equal(host.tick(9_999), "alive");
  assert.equal(host.takeOutput(9_999), null);
  assert.equal(host.tick(10_000), "alive");
  const sent = host.takeOutput(10_000);
  assert.deepEqual(sent, heartbeat);
  assert.deepEqual(server.receive(heartbeat, 10_000), []);
  assert.deepEqual(server.takeOutput(10_000), heartbeat);
  // The reply is lost.
  assert.equal(host.tick(19_999), "alive");
  assert.equal(host.tick(20_000), "dead");
  assert.equal(server.tick(29_999), "alive");
  assert.equal(server.tick(30_000), "dead");
});

Deno.test({
  name: "RRMT, Authentication: who holds no registered key is refused, and the audit says so",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    // Another server's administrator of the same name: his key is not known here.
    await using other = await ManageLab.make();
    await other.joinAdmin("alice");
    await Deno.copyFile(`${other.adminDir("alice")}/identity.key`, `${lab.adminDir("alice")}/identity.key`);
    const refused = await lab.client("alice", ["hosts"]);
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /refuse/);
    assert.match(textOf(await lab.serverCommand("audit")), /link_refused/);
  },
});

Deno.test({
  name: "RRMT, Provisioning: a token is good for one key and for nobody after it",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await ManageLab.make();
    const token = await lab.invite("host", "web1", "--tag", "prod");
    const join = (dir: string): Promise<Ended> =>
      runShipped(["commander", "agent", "--join", token, "--dir", `${lab.folder}/${dir}`]);
    assert.match(textOf(await join("first")), /as web1/);
    // Its answer may have been lost: the same key may say it again.
    assert.match(textOf(await join("first")), /web1/);
    const thief = await join("second");
    assert.equal(thief.code, 1, thief.stderr);
    assert(!thief.stderr.includes(token.slice(20, 60)));
    assert.match(textOf(await lab.serverCommand("audit")), /join_refused/);
    assert.match(textOf(await lab.serverCommand("list")), /web1.*prod/);
  },
});

Deno.test({
  name:
    "RRMT, Maintaining Connection: after a cut, and after the server was killed, the host comes back by itself",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    const agent = lab.agent("web1");
    const again = async (act: () => Promise<void>): Promise<void> => {
      const from = agent.lines.length;
      await act();
      await agent.line(({ fields }) => fields["message"] === "linked to the server", {
        from,
        timeoutMs: 60_000,
      });
      assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", "echo", "back"])), "back\n");
    };
    await again(async () => {
      lab.cable.cut();
      await agent.line(({ fields }) => fields["message"] === "link lost", { timeoutMs: 30_000 });
      lab.cable.mend();
    });
    await again(async () => {
      await lab.stopServer("SIGKILL");
      await lab.startServer();
    });
  },
});

Deno.test({
  name:
    "RRMT, Remote Execution: arguments, standard input, output and error, and the exit code come through as they are",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    const words = ["printf", "[%s]", "a b", "", "$HOME", "'"];
    assert.equal(textOf(await lab.client("alice", ["exec", "web1", "--", ...words])), "[a b][][$HOME][']");
    const bytes = new Uint8Array(256 * 1024).map((_, at) => at * 31 + (at >> 8));
    const { code, stdout } = await lab.client("alice", ["exec", "web1", "--", "cat"], { stdin: bytes });
    assert.equal(code, 0);
    assert.deepEqual(stdout, bytes);
    const failed = await lab.client("alice", [
      "exec",
      "web1",
      "--",
      "sh",
      "-c",
      "echo out; echo err >&2; exit 42",
    ]);
    assert.equal(textOf(failed, 42), "out\n");
    assert.match(failed.stderr, /^err$/m);
  },
});

Deno.test({
  ...unless(
    await programObstacle("script", "bash"),
    "RRMT, Get bash shell on cli client: bash in a real terminal, and its exit code",
  ),
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    const words = [Deno.execPath(), ...await shippedWords(lab.clientLine("alice", "shell", "web1"))];
    const line = words.map((word) => `'${word}'`).join(" ");
    const child = new Deno.Command("script", {
      args: ["-qfec", line, "/dev/null"],
      cwd: repositoryFolder,
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const keys = child.stdin.getWriter();
    await keys.write(new TextEncoder().encode("exec bash --norc\necho version=$BASH_VERSION; tty; exit 9\n"));
    const { code, stdout } = await child.output();
    await keys.close().catch(() => {});
    const screen = new TextDecoder().decode(stdout);
    assert.match(screen, /version=[0-9]+\.[0-9]+/);
    assert.match(screen, /\/dev\/pts\/[0-9]+/);
    assert.equal(code, 9);
  },
});

Deno.test({
  ...unless(
    await programObstacle("openssl"),
    "RRMT, Implement TLS: version 1.3, and a certificate of the server's own authority that another program verifies",
  ),
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await ManageLab.make();
    const address = String(
      (await lab.server.line(({ fields }) => fields["message"] === "management server ready"))
        .fields["address"],
    );
    const { stdout, stderr } = await new Deno.Command("openssl", {
      args: [
        ...["s_client", "-connect", address, "-servername", "postern", "-verify_hostname", "postern"],
        ...["-CAfile", `${lab.serverDir}/ca.pem`, "-verify_return_error", "-brief"],
      ],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).output();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.match(said, /TLSv1\.3/);
    assert.match(said, /Verification: OK/);
  },
});

Deno.test({
  name:
    "RRMT, RDP/VNC support (its list says VLC): a desktop's protocol, in which the server speaks first, goes through a forward",
  ...LIMIT,
  async fn(): Promise<void> {
    await using lab = await linked();
    const version = new TextEncoder().encode("RFB 003.008\n");
    using desktop = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const serving = (async (): Promise<Uint8Array> => {
      using connection = await desktop.accept();
      await connection.write(version);
      const answer = new Uint8Array(64);
      const count = await connection.read(answer) ?? 0;
      await connection.write(new Uint8Array([1, 1]));
      return answer.slice(0, count);
    })();
    const target = `0:127.0.0.1:${desktop.addr.port}`;
    await using forward = new LoggedProcess(
      await shippedWords(lab.clientLine("alice", "forward", "web1", target)),
      { cwd: repositoryFolder, reads: "stdout" },
    );
    const { text } = await forward.line((line) => /127\.0\.0\.1:[0-9]+/.test(line.text), {
      timeoutMs: 30_000,
    });
    using viewer = await Deno.connect({
      hostname: "127.0.0.1",
      port: Number(/127\.0\.0\.1:([0-9]+)/.exec(text)?.[1]),
    });
    const greeting = new Uint8Array(64);
    assert.deepEqual(greeting.slice(0, await viewer.read(greeting) ?? 0), version);
    await viewer.write(version);
    assert.deepEqual(await serving, version);
    assert.deepEqual(greeting.slice(0, await viewer.read(greeting) ?? 0), new Uint8Array([1, 1]));
    await until("the viewer's end", async () => await viewer.read(greeting) === null);
  },
});
