/**
 * The whole story on a network of its own, with a firewall and somebody who watches the wire:
 *
 * ```
 *   client                       server                         stranger
 *   198.18.1.2  ----[ veth ]---- 198.18.1.1 | 198.18.2.1 ----[ veth ]---- 198.18.2.2
 *   fd00:1::2                    fd00:1::1  | fd00:2::1                   fd00:2::2
 *                                nftables: everything dropped but UDP 34020;
 *                                  TCP 2222 for addresses in the sets ssh4 and ssh6
 *                                postern server  [::]:34020
 *                                postern commander, a TCP service on 2222, tcpdump
 * ```
 *
 * Firewall and command are the nftables recipe of docs/knock.md, word for word but for the port and the time.
 */
import assert from "node:assert/strict";
import {
  type LabFiles,
  repositoryFolder,
  runClient,
  startCommander,
  startServer,
  writeLabFiles,
} from "../../scripts/lab.ts";
import { LoggedProcess } from "../../scripts/process.ts";
import { formatKey } from "../../src/protocol/knock/key.ts";
import { buildRurocoPacket, rurocoKey } from "../reference/ruroco.ts";
import { Capture } from "./capture.ts";
import { Conversation } from "./conversation.ts";
import { nextCounter } from "./counters.ts";
import { toHex } from "./hex.ts";
import { namespaceObstacle, unless } from "./machine.ts";
import { Host, plugIn } from "./namespaces.ts";
import { TempFolder } from "./temp_folder.ts";
import { until } from "./until.ts";

const KNOCK_PORT = 34020;
const TCP_PORT = 2222;
const LEASE_SECONDS = 4;
const SERVER_FOR_CLIENT = { ipv4: "198.18.1.1", ipv6: "fd00:1::1" };
const SERVER_FOR_STRANGER = { ipv4: "198.18.2.1", ipv6: "fd00:2::1" };

/** The code blocks below a heading of docs/knock.md. */
async function recipe(heading: string): Promise<string[]> {
  const page = await Deno.readTextFile(`${repositoryFolder}docs/knock.md`);
  const section = page.split(/^### /m).find((each) => each.startsWith(heading)) ?? "";
  return [...section.matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, block = ""]) => block);
}

class Scene implements AsyncDisposable {
  readonly client: Host;
  readonly server: Host;
  readonly stranger: Host;
  readonly files: LabFiles;
  readonly commander: LoggedProcess;
  readonly postern: LoggedProcess;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    [client, server, stranger]: [Host, Host, Host],
    files: LabFiles,
    [commander, postern]: [LoggedProcess, LoggedProcess],
    stack: AsyncDisposableStack,
  ) {
    this.client = client;
    this.server = server;
    this.stranger = stranger;
    this.files = files;
    this.commander = commander;
    this.postern = postern;
    this.#stack = stack;
  }

  static async start(): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const { path: folder } = stack.use(await TempFolder.make("netns"));
    const client = stack.use(await Host.make("client"));
    const server = stack.use(await Host.make("server"));
    const stranger = stack.use(await Host.make("stranger"));
    await plugIn(
      { host: client, device: "eth0", addresses: ["198.18.1.2/24", "fd00:1::2/64"] },
      { host: server, device: "eth0", addresses: ["198.18.1.1/24", "fd00:1::1/64"] },
    );
    await plugIn(
      { host: stranger, device: "eth0", addresses: ["198.18.2.2/24", "fd00:2::2/64"] },
      { host: server, device: "eth1", addresses: ["198.18.2.1/24", "fd00:2::1/64"] },
    );
    const [firewall = "", command = ""] = await recipe("nftables");
    const rules = firewall.replaceAll("dport 22 ", `dport ${TCP_PORT} `);
    assert.match(rules, new RegExp(`dport ${KNOCK_PORT} accept`));
    assert.match(rules, new RegExp(`dport ${TCP_PORT} ip6? saddr @`));
    const lease = command.replace("undo_after_sec = 60", `undo_after_sec = ${LEASE_SECONDS}`);
    assert.notEqual(lease, command);
    await Deno.writeTextFile(`${folder}/rules`, rules);
    await server.run("nft", "-f", `${folder}/rules`);
    const files = await writeLabFiles(folder, {
      address: `[::]:${KNOCK_PORT}`,
      ips: [...Object.values(SERVER_FOR_CLIENT), ...Object.values(SERVER_FOR_STRANGER)],
      commands: () => lease,
    });
    const service = stack.use(
      new LoggedProcess([
        "run",
        "--allow-net",
        new URL("tcp_service.ts", import.meta.url).pathname,
        `${TCP_PORT}`,
      ], {
        launcher: server.launcher,
      }),
    );
    await service.line((line) => line.text === "listening");
    const commander = stack.use(await startCommander(files, { launcher: server.launcher }));
    const { process: postern } = await startServer(files, { launcher: server.launcher });
    stack.use(postern);
    return new Scene([client, server, stranger], files, [commander, postern], stack.move());
  }

  get key(): string {
    return formatKey(this.files.key);
  }

  async knock(from: Host, ip: string): Promise<void> {
    const address = `${ip.includes(":") ? `[${ip}]` : ip}:${KNOCK_PORT}`;
    const { code, stderr } = await runClient(["send", "-a", address, "-k", this.key, "-c", "open_ssh"], {
      launcher: from.launcher,
    });
    assert.equal(code, 0, stderr);
  }

  /** Waits for the commander's log line about a command for this address, which must have succeeded. */
  async said(message: "command finished" | "lease undone", ip: string): Promise<void> {
    const { fields } = await this.commander.line((line) => {
      return line.fields["message"] === message && line.fields["ip"] === ip;
    });
    assert.equal(fields["status"], 0);
  }

  async send(from: Host, ip: string, datagrams: readonly Uint8Array[]): Promise<void> {
    const script = new URL("udp_sender.ts", import.meta.url).pathname;
    await from.run(
      ...[Deno.execPath(), "run", "--allow-net", script, ip, `${KNOCK_PORT}`],
      ...datagrams.map((datagram) => datagram.length === 0 ? "-" : toHex(datagram)),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

const obstacle = await namespaceObstacle();

for (
  const [family, own, other] of [
    ["ipv4", "198.18.1.2", "198.18.2.2"],
    ["ipv6", "fd00:1::2", "fd00:2::2"],
  ] as const
) {
  Deno.test({
    ...unless(
      obstacle,
      `a knock over ${family} opens a closed port for its sender only, until the lease ends`,
    ),
    timeout: 60_000,
    async fn(): Promise<void> {
      await using scene = await Scene.start();
      const { client, stranger } = scene;
      const forClient = SERVER_FOR_CLIENT[family];
      const forStranger = SERVER_FOR_STRANGER[family];
      /** For whom the port is open. An open one is given more time: it answers at once on any but a busy machine. */
      async function assertOpen(expected: { client: boolean; stranger: boolean }): Promise<void> {
        const [forHim, forOthers] = await Promise.all([
          client.canConnect(forClient, TCP_PORT, expected.client ? 3 : 1),
          stranger.canConnect(forStranger, TCP_PORT, expected.stranger ? 3 : 1),
        ]);
        assert.deepEqual({ client: forHim, stranger: forOthers }, expected);
      }
      await assertOpen({ client: false, stranger: false });

      await scene.knock(client, forClient);
      await scene.said("command finished", own);
      await assertOpen({ client: true, stranger: false });
      assert(!scene.commander.lines.some((line) => line.fields["message"] === "lease undone"));

      await scene.said("lease undone", own);
      await assertOpen({ client: false, stranger: false });

      // Also from the stranger's own side: what he opens is open for him.
      await scene.knock(stranger, forStranger);
      await scene.said("command finished", other);
      await assertOpen({ client: false, stranger: true });
    },
  });

  Deno.test({
    ...unless(obstacle, `client connect over ${family} reaches the service behind the closed port`),
    timeout: 60_000,
    async fn(): Promise<void> {
      await using scene = await Scene.start();
      const { client, key } = scene;
      const ip = family === "ipv4" ? SERVER_FOR_CLIENT.ipv4 : `[${SERVER_FOR_CLIENT.ipv6}]`;
      await using connection = new Conversation([
        ...client.launcher,
        ...[Deno.execPath(), "run", "--allow-net", `${repositoryFolder}main.ts`, "client", "connect"],
        ...["-a", `${ip}:${KNOCK_PORT}`, "-k", key, "-c", "open_ssh", "--to", `${ip}:${TCP_PORT}`],
      ]);
      await connection.hears("welcome\n");
      await connection.say("through the wall");
      await connection.hears("welcome\nTHROUGH THE WALL\n");

      await scene.said("lease undone", own);
      assert.equal(await client.canConnect(SERVER_FOR_CLIENT[family], TCP_PORT), false);
      // What was opened in time stays, as the recipe promises.
      await connection.say("still here");
      await connection.hears("welcome\nTHROUGH THE WALL\nSTILL HERE\n");
      assert.equal(await connection.end(), 0, connection.errors);
    },
  });
}

Deno.test({
  ...unless(obstacle, "client connect to a port that no knock opens gives up with exit code 1"),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using scene = await Scene.start();
    const ip = SERVER_FOR_CLIENT.ipv4;
    const { code, stdout, stderr } = await runClient([
      ...["connect", "-a", `${ip}:${KNOCK_PORT}`, "-k", rurocoKey(), "-c", "open_ssh"],
      ...["--to", `${ip}:${TCP_PORT}`, "--wait", "2s"],
    ], { launcher: scene.client.launcher });
    assert.equal(code, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^error: .*198\.18\.1\.1:2222/m);
  },
});

Deno.test({
  ...unless(obstacle, "the server sends not one packet in reply to any datagram, not even an ICMP error"),
  timeout: 60_000,
  async fn(): Promise<void> {
    await using scene = await Scene.start();
    const { client, stranger, server, files } = scene;
    await using capture = await Capture.start(server, `${files.folder}/capture`);
    function packet(destinationIp: string): Uint8Array {
      return buildRurocoPacket({
        key: scene.key,
        command: "open_ssh",
        counter: nextCounter(),
        destinationIp,
      });
    }
    /** A good knock, its replay, a broken one, one of an unknown key, and noise of all sizes. */
    function datagramsFor(ip: string): Uint8Array[] {
      const good = packet(ip);
      const broken = packet(ip);
      broken[60] = (broken[60] ?? 0) ^ 1;
      const unknown = buildRurocoPacket({
        key: rurocoKey(),
        command: "open_ssh",
        counter: nextCounter(),
        destinationIp: ip,
      });
      const lengths = [0, 1, 93, 94, 95, 188, 1000, 1400];
      const noise = lengths.map((length) => crypto.getRandomValues(new Uint8Array(length)));
      return [good, good, broken, unknown, packet("192.0.2.1"), ...noise];
    }
    let sent = 0;
    for (
      const [host, ip] of [
        [client, SERVER_FOR_CLIENT.ipv4],
        [client, SERVER_FOR_CLIENT.ipv6],
        [stranger, SERVER_FOR_STRANGER.ipv4],
        [stranger, SERVER_FOR_STRANGER.ipv6],
      ] as const
    ) {
      const datagrams = datagramsFor(ip);
      await scene.send(host, ip, datagrams);
      sent += datagrams.length;
    }
    // Each good knock opened the port: the server was awake the whole time.
    for (const ip of ["198.18.1.2", "fd00:1::2", "198.18.2.2", "fd00:2::2"]) {
      await scene.said("command finished", ip);
    }
    const toServer = `udp dst port ${KNOCK_PORT}`;
    await until(
      "the capture holds every datagram",
      async () => (await capture.packets(toServer)).length === sent,
    );
    assert.deepEqual(await capture.packets(`not (${toServer})`), []);

    // And this capture would have seen an answer: without a server the kernel itself gives one.
    await scene.postern.stop();
    await scene.send(client, SERVER_FOR_CLIENT.ipv4, [new Uint8Array(94)]);
    await scene.send(client, SERVER_FOR_CLIENT.ipv6, [new Uint8Array(94)]);
    const answers = await until("the kernel's answers are captured", async () => {
      const packets = await capture.packets(`not (${toServer})`);
      return packets.length >= 2 && packets;
    });
    assert.match(answers.join("\n"), /ICMP .*port 34020 unreachable/);
    assert.match(answers.join("\n"), /ICMP6, destination unreachable, unreachable port/);
    await capture.assertNothingMissed();
  },
});
