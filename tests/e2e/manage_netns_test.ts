/**
 * Administrator and host each behind a firewall with NAT, the server between, each a network namespace with a real
 * firewall:
 *
 *   admin 198.18.10.2 --- home 198.18.1.2 --- 198.18.1.1 server 198.18.2.1 --- 198.18.2.2 office --- 198.18.20.2 host
 *                         (NAT)               (198.18.0.1)                     (NAT)
 *
 * The server knows neither of the two inner networks: nothing can be dialled there.
 */
import assert from "node:assert/strict";
import { type Ended, ManageLab, type RunOptions, textOf } from "../../scripts/manage_lab.ts";
import { repositoryFolder } from "../../scripts/lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { Terminal } from "../../scripts/terminal.ts";
import { shippedWords } from "../../scripts/transfer_lab.ts";
import { mountObstacle, namespaceObstacle, programObstacle, unless } from "./machine.ts";
import { Host, plugIn } from "./namespaces.ts";
import { TinyDisk } from "./tiny_disk.ts";
import { until } from "./until.ts";

const SERVER_IP = "198.18.0.1";
const PORT = 7022;
const HOST_IP = "198.18.20.2";
const LINKED = "linked to the server";
/** The link is silent for so long, longer than two heartbeats. */
const HOLE_MS = 60_000;
const DISK_BYTES = 1024 * 1024;

const obstacle = await namespaceObstacle() ?? await programObstacle("script", "socat");

/** The little internet, with everything that runs in it. */
class Internet implements AsyncDisposable {
  readonly admin: Host;
  readonly home: Host;
  readonly middle: Host;
  readonly office: Host;
  readonly host: Host;
  readonly lab: ManageLab;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    hosts: readonly [Host, Host, Host, Host, Host],
    lab: ManageLab,
    owned: AsyncDisposableStack,
  ) {
    [this.admin, this.home, this.middle, this.office, this.host] = hosts;
    this.lab = lab;
    this.#owned = owned;
  }

  static async make({ serverDir }: { readonly serverDir?: string } = {}): Promise<Internet> {
    await using owned = new AsyncDisposableStack();
    const host = async (name: string): Promise<Host> => owned.use(await Host.make(name));
    const hosts = [
      await host("admin"),
      await host("home"),
      await host("server"),
      await host("office"),
      await host("host"),
    ] as const;
    const [admin, home, middle, office, inner] = hosts;
    await plugIn(
      { host: home, device: "lan", addresses: ["198.18.10.1/24"] },
      { host: admin, device: "wire", addresses: ["198.18.10.2/24"] },
    );
    await plugIn(
      { host: middle, device: "left", addresses: ["198.18.1.1/24", `${SERVER_IP}/32`] },
      { host: home, device: "wan", addresses: ["198.18.1.2/24"] },
    );
    await plugIn(
      { host: middle, device: "right", addresses: ["198.18.2.1/24"] },
      { host: office, device: "wan", addresses: ["198.18.2.2/24"] },
    );
    await plugIn(
      { host: office, device: "lan", addresses: ["198.18.20.1/24"] },
      { host: inner, device: "wire", addresses: [`${HOST_IP}/24`] },
    );
    await admin.run("ip", "route", "add", "default", "via", "198.18.10.1");
    await inner.run("ip", "route", "add", "default", "via", "198.18.20.1");
    await home.run("ip", "route", "add", "default", "via", "198.18.1.1");
    await office.run("ip", "route", "add", "default", "via", "198.18.2.1");
    for (const router of [home, office]) await hideBehindNat(router);
    const lab = owned.use(
      await ManageLab.make({
        address: `${SERVER_IP}:${PORT}`,
        bind: `0.0.0.0:${PORT}`,
        launcher: middle.launcher,
        ...(serverDir === undefined ? {} : { serverDir }),
      }),
    );
    const net = new Internet([admin, home, middle, office, inner], lab, owned.move());
    await Promise.all([
      lab.joinHost("web1", { launcher: inner.launcher }),
      lab.joinAdmin("alice", { launcher: admin.launcher }),
    ]);
    await lab.startAgent("web1", { launcher: inner.launcher });
    return net;
  }

  /** Runs a client on the administrator's machine to its end. */
  async client(words: readonly [string, ...string[]], options: RunOptions = {}): Promise<Ended> {
    return await this.lab.client("alice", words, { ...options, launcher: this.admin.launcher });
  }

  async terminal(...words: [string, ...string[]]): Promise<Terminal> {
    const line = await shippedWords(this.lab.clientLine("alice", ...words));
    return this.#owned.use(new Terminal(line, { launcher: this.admin.launcher }));
  }

  /** A forward that listens, and the line that says where. */
  async forward(...words: string[]): Promise<string> {
    const process = this.#owned.use(
      new LoggedProcess(await shippedWords(this.lab.clientLine("alice", "forward", "web1", ...words)), {
        launcher: this.admin.launcher,
        cwd: repositoryFolder,
        reads: "stdout",
      }),
    );
    const { text } = await process.line(({ text }) => text !== "", { timeoutMs: 30_000 });
    return text;
  }

  /** Waits for a line of the agent that it has not written yet. */
  async agentSays(message: string, from: number): Promise<void> {
    await this.lab.agent("web1").line(({ fields }) => fields["message"] === message, {
      from,
      timeoutMs: 90_000,
    });
  }

  get agentLines(): number {
    return this.lab.agent("web1").lines.length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** A router as in many homes and offices: out by its own address, in only what belongs to that. */
async function hideBehindNat(router: Host): Promise<void> {
  await router.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
  await router.run(
    "nft",
    "add table ip door; " +
      "add chain ip door through { type filter hook forward priority 0; policy drop; }; " +
      "add chain ip door outside { type nat hook postrouting priority 100; }",
  );
  await router.run("nft", "add rule ip door through iifname lan accept");
  await router.run("nft", "add rule ip door through ct state established,related accept");
  await router.run("nft", "add rule ip door outside oifname wan masquerade");
}

/** Swallows everything that comes to the server from there, without an answer. */
async function digHole(middle: Host, device: string): Promise<void> {
  await middle.run(
    "nft",
    "add table ip hole; add chain ip hole swallow { type filter hook prerouting priority -300; }",
  );
  await middle.run("nft", "add rule ip hole swallow iifname", device, "drop");
}

async function fillHole(middle: Host): Promise<void> {
  await middle.run("nft", "delete table ip hole");
}

Deno.test({
  ...unless(
    obstacle,
    "shell, exec and forward reach a host behind NAT from behind another one, and nothing else does",
  ),
  timeout: 180_000,
  async fn(): Promise<void> {
    await using net = await Internet.make();
    assert.equal(await net.middle.canConnect(HOST_IP, 22), false);
    assert.equal(await net.admin.canConnect(HOST_IP, 22), false);

    assert.equal(
      textOf(await net.client(["exec", "web1", "--", "cat"], { stdin: "over two NATs" })),
      "over two NATs",
    );

    const shell = await net.terminal("shell", "web1");
    await shell.type("ip -brief address show wire | tr -s ' '; exit 5\n");
    await shell.shows(/wire.* 198\.18\.20\.2\/24/);
    assert.equal(await shell.end(), 5);

    await using _service = new LoggedProcess(["eval", SERVICE], { launcher: net.host.launcher });
    await _service.line(({ text }) => text === "listening");
    const line = await net.forward("0:127.0.0.1:8081");
    const port = /127\.0\.0\.1:([0-9]+)/.exec(line)?.[1];
    const answer = await net.admin.run(
      "bash",
      "-c",
      `exec 3<>/dev/tcp/127.0.0.1/${port}; printf 'through the door' >&3; timeout 10 head -c 16 <&3`,
    );
    assert.equal(answer, "THROUGH THE DOOR");
  },
});

/** Says in capitals what it is told. */
const SERVICE = `
const listener = Deno.listen({ hostname: "127.0.0.1", port: 8081 });
console.error("listening");
for await (const connection of listener) {
  const buffer = new Uint8Array(64);
  const count = await connection.read(buffer);
  await connection.write(new TextEncoder().encode(new TextDecoder().decode(buffer.subarray(0, count ?? 0)).toUpperCase()));
}`;

Deno.test({
  ...unless(
    obstacle,
    "after a minute in a black hole, with another address of the host, its shell goes on where it was",
  ),
  timeout: 240_000,
  async fn(): Promise<void> {
    await using net = await Internet.make();
    const kept = await net.terminal("shell", "web1", "--detach");
    await kept.type("echo first-$((40 + 2))\n");
    await kept.shows(/first-42/);
    const lost = await net.terminal("shell", "web1");
    await lost.type("echo second-$((40 + 3))\n");
    await lost.shows(/second-43/);
    const from = net.agentLines;
    const seen = kept.screen.length;

    const dugMs = performance.now();
    await digHole(net.middle, "right");
    // The office has got another address meanwhile: what comes from there is nobody's old connection.
    await net.office.run("ip", "address", "add", "198.18.2.3/24", "dev", "wan");
    await net.office.run("ip", "address", "del", "198.18.2.2/24", "dev", "wan");
    await net.office.run("ip", "address", "add", "198.18.2.3/24", "dev", "wan").catch(() => {});
    await net.office.run("ip", "route", "replace", "default", "via", "198.18.2.1");
    await net.agentSays("link lost", from);
    await until("the minute is over", () => performance.now() - dugMs >= HOLE_MS, {
      pollMs: 250,
      timeoutMs: 2 * HOLE_MS,
    });
    const offline = await net.client(["exec", "web1", "--", "true"]);
    assert.equal(offline.code, 255);
    assert.match(offline.stderr, /web1.*offline/);
    await fillHole(net.middle);
    await net.agentSays(LINKED, from);

    await kept.type("echo third-$((40 + 4))\n");
    await kept.shows(/third-44/, { from: seen, timeoutMs: 60_000 });
    await kept.type("exit 6\n");
    assert.equal(await kept.end(), 6);
    assert.equal(await lost.end(), 255, lost.screen);
    await assertAudited(net.lab, 2);
  },
});

Deno.test({
  ...unless(
    obstacle,
    "a server that is restarted, and one that is killed, gets its host and its sessions back",
  ),
  timeout: 180_000,
  async fn(): Promise<void> {
    await using net = await Internet.make();
    const shell = await net.terminal("shell", "web1", "--detach");
    for (const [round, signal] of (["SIGTERM", "SIGKILL"] as const).entries()) {
      await shell.type(`echo before-$((${round} + 10))\n`);
      await shell.shows(new RegExp(`before-${round + 10}`));
      const from = net.agentLines;
      await net.lab.stopServer(signal);
      await net.lab.startServer();
      await net.agentSays(LINKED, from);
      await shell.type(`echo after-$((${round} + 10))\n`);
      await shell.shows(new RegExp(`after-${round + 10}`), { timeoutMs: 60_000 });
    }
    await shell.type("exit\n");
    assert.equal(await shell.end(), 0);
    await assertAudited(net.lab, 1);
  },
});

Deno.test({
  ...unless(
    obstacle ?? await mountObstacle(),
    "a full disk of the server opens no session, keeps those there are, and needs no restart",
  ),
  timeout: 180_000,
  async fn(): Promise<void> {
    await using disk = await TinyDisk.mount(DISK_BYTES);
    await using net = await Internet.make({ serverDir: `${disk.path}/server` });
    const shell = await net.terminal("shell", "web1");
    await shell.type("echo open-$((40 + 2))\n");
    await shell.shows(/open-42/);

    await disk.fill();
    const refused = await net.client(["exec", "web1", "--", "true"]);
    assert.equal(refused.code, 255, refused.stderr);
    assert.match(refused.stderr, /audit/);
    await shell.type("echo still-$((40 + 3))\n");
    await shell.shows(/still-43/);

    await disk.free();
    assert.equal(textOf(await net.client(["exec", "web1", "--", "echo", "room again"])), "room again\n");
    await shell.type("exit\n");
    assert.equal(await shell.end(), 0);
    await assertAudited(net.lab, 2);
  },
});

/** The chain is whole, and every session that was opened has its end. */
async function assertAudited(lab: ManageLab, sessions: number): Promise<void> {
  assert.match(textOf(await lab.serverCommand("audit", "--verify")), /^OK/);
  await until("every session has its end in the audit", async () => {
    const rows = auditRows(textOf(await lab.serverCommand("audit", "--json", "--limit", "10000")));
    const opened = sessionsOf(rows, "session_opened"), ended = sessionsOf(rows, "session_ended");
    assert(opened.size >= sessions, JSON.stringify(rows));
    return opened.isSubsetOf(ended);
  }, { timeoutMs: 30_000, pollMs: 500 });
}

interface AuditRow {
  readonly event: string;
  readonly body: { readonly session?: string };
}

function auditRows(text: string): AuditRow[] {
  return text.trim().split("\n").map((line) => JSON.parse(line));
}

/** One that was taken up again has been opened twice, and ends once. */
function sessionsOf(rows: readonly AuditRow[], event: string): Set<string> {
  return new Set(
    rows.flatMap((row) => row.event === event && row.body.session !== undefined ? [row.body.session] : []),
  );
}
