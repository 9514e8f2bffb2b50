/**
 * The whole story on a real system: one file is dropped on a Debian that has nothing of ours and no Deno, and one
 * command is run.
 */
import assert from "node:assert/strict";
import { runClient } from "../../scripts/lab.ts";
import { unless } from "../e2e/machine.ts";
import { Host } from "../e2e/namespaces.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { textOf, until } from "../e2e/until.ts";
import { buildObstacle, compile } from "../ship/built_files.ts";
import { INSTALLED_ROLES } from "../../src/setup/role.ts";
import { Container, containerObstacle, makeDebian, type Output, outputOf } from "./container.ts";
import { fileTree } from "./file_tree.ts";

const DROPPED = "/root/postern-setup";
const SERVER_IP = "198.18.7.1";
const CLIENT_IP = "198.18.7.2";
const UNITS = ["postern-commander.service", "postern-server.service"];
/** The executable unpacks itself before a line of ours runs. */
const UNPACKED = /^var\/cache\/postern(\/|$)/;

const obstacle = buildObstacle() ?? await containerObstacle();

class Scene implements AsyncDisposable {
  readonly folder: string;
  readonly root: string;
  readonly container: Container;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, container: Container, stack: AsyncDisposableStack) {
    this.folder = folder;
    this.root = container.root;
    this.container = container;
    this.#stack = stack;
  }

  static async start(): Promise<Scene> {
    await using stack = new AsyncDisposableStack();
    const { path: folder } = stack.use(await TempFolder.make("container"));
    const root = `${folder}/root`;
    // Two builds that differ in one fact, so that there is something to upgrade to.
    await Promise.all([makeDebian(root), build(`${folder}/first`), buildNext(folder)]);
    await Deno.copyFile(executable(`${folder}/first`), `${root}${DROPPED}`);
    await Deno.chmod(`${root}${DROPPED}`, 0o700);
    const container = stack.use(await Container.boot(root));
    return new Scene(folder, container, stack.move());
  }

  setup(...words: string[]): Promise<Output> {
    return this.container.run(DROPPED, "setup", ...words);
  }

  /** What says which processes serve: another pid is another start. */
  async pids(): Promise<string> {
    return await this.container.must("systemctl", "show", "--property=MainPID", ...UNITS);
  }

  /** The journal of both services since a moment that `mark` gave. */
  journal(): Promise<string> {
    return this.container.must(
      "journalctl",
      "--no-pager",
      "--output=cat",
      ...UNITS.map((unit) => `--unit=${unit}`),
    );
  }

  /** Runs setup as it is installed; its last step is a knock that must run a command. */
  async assertWorks(): Promise<void> {
    const { code, stdout, stderr } = await this.container.run("/usr/local/bin/postern-setup", "setup");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^nothing to do: everything is there$/m);
    assert.match(stdout, /^proven: a real knock ran postern_check$/m);
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    await Deno.mkdir(`${this.root}${path.slice(0, path.lastIndexOf("/"))}`, { recursive: true });
    await Deno.writeTextFile(`${this.root}${path}`, text, { mode });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack[Symbol.asyncDispose]();
  }
}

async function build(out: string, words: readonly string[] = []): Promise<void> {
  const { code, stderr } = await compile([
    ...["--role", "setup", "--format", "self-extracting", "--quick", "--out", out],
    ...words,
  ]);
  assert.equal(code, 0, stderr);
}

async function buildNext(folder: string): Promise<void> {
  const keyPath = `${folder}/release.pub`;
  await Deno.writeTextFile(keyPath, `${crypto.getRandomValues(new Uint8Array(32)).toBase64()}\n`);
  await build(`${folder}/next`, ["--release-key", keyPath]);
}

function executable(folder: string): string {
  return `${folder}/postern-setup-${Deno.build.target}`;
}

Deno.test({
  ...unless(
    obstacle,
    "one file dropped on a bare Debian makes it a server, upgrades it, and leaves nothing behind",
  ),
  timeout: 300_000,
  async fn(t): Promise<void> {
    await using scene = await Scene.start();
    const { container, root } = scene;
    const pristine = await fileTree(root, UNPACKED);

    await t.step("a dry run changes nothing", async () => {
      const { code, stdout, stderr } = await scene.setup("--ips", SERVER_IP, "--dry-run");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /create user and group postern/);
      assert.match(stdout, /nothing was changed/);
      assert.deepEqual(await fileTree(root, UNPACKED), pristine);
    });

    await t.step("without a public address it refuses, explains NAT, and changes nothing", async () => {
      const { code, stderr } = await scene.setup();
      assert.equal(code, 1);
      assert.match(stderr, /hint: behind NAT .* --ips/);
      assert.deepEqual(await fileTree(root, UNPACKED), pristine);
    });

    await t.step("with a port that is taken it refuses, and changes nothing", async () => {
      const [program = "", ...args] = [
        ...container.networkLauncher,
        Deno.execPath(),
        "eval",
        "--unstable-net",
      ];
      const holder = new Deno.Command(program, {
        args: [
          ...args,
          'Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 34020 }); console.log("bound"); await new Promise((r) => setTimeout(r, 60_000));',
        ],
        stdout: "piped",
      }).spawn();
      try {
        const reader = holder.stdout.getReader();
        await reader.read();
        const { code, stderr } = await scene.setup("--ips", SERVER_IP);
        assert.equal(code, 1);
        assert.match(stderr, /cannot listen on UDP port 34020: another program has it/);
        await reader.cancel();
      } finally {
        holder.kill("SIGKILL");
        await holder.status;
      }
      assert.deepEqual(await fileTree(root, UNPACKED), pristine);
    });

    await t.step("it sets up, and proves a knock", async () => {
      const { code, stdout, stderr } = await scene.setup("--ips", SERVER_IP);
      assert.equal(code, 0, stderr);
      assert.match(stdout, /^proven: a real knock ran postern_check$/m);
      assert.match(
        stdout,
        new RegExp(`postern.client send -a ${SERVER_IP}:34020 -K user.key -c postern_check`),
      );
      // No terminal, so no key.
      const key = await Deno.readTextFile(`${root}/etc/postern/user.key`);
      assert(!stdout.includes(key) && !stderr.includes(key));
      assert.match(await scene.journal(), /command finished command=postern_check ip=198\.18\.7\.1 status=0/);
      assert.equal((await container.must("systemctl", "is-enabled", ...UNITS)).trim(), "enabled\nenabled");
    });

    await t.step("run again it does nothing but prove a knock", async () => {
      const before = await scene.pids();
      await scene.assertWorks();
      assert.equal(await scene.pids(), before);
    });

    await t.step("a client on another machine knocks with the key", async () => {
      await using client = await Host.make("client");
      const device = `pst${crypto.randomUUID().slice(0, 8)}`;
      const link = ["ip", "link", "add", device, "netns", client.namespace, "type", "veth"];
      const { code, stderr } = await outputOf([
        ...link,
        "peer",
        "name",
        "host0",
        "netns",
        `${container.leader}`,
      ]);
      assert.equal(code, 0, stderr);
      for (
        const words of [["address", "add", `${SERVER_IP}/24`, "dev", "host0"], ["link", "set", "host0", "up"]]
      ) {
        assert.equal((await outputOf([...container.networkLauncher, "ip", ...words])).code, 0);
      }
      await client.run("ip", "address", "add", `${CLIENT_IP}/24`, "dev", device);
      await client.run("ip", "link", "set", device, "up");
      await until("the server's machine answers", () => client.isReached(SERVER_IP));
      const commands = await Deno.readTextFile(`${root}/etc/postern/commands.toml`);
      await Deno.writeTextFile(
        `${root}/etc/postern/commands.toml`,
        commands.replace("[commands]\n", `[commands]\nopen = 'echo "$POSTERN_IP" >> /var/lib/knocked'\n`),
      );
      await container.must("systemctl", "restart", "postern-commander");
      await until("the commander is back", async () => {
        return await outputOf(["test", "-S", `/proc/${container.leader}/root/run/postern/ruroco.socket`])
          .then(({ code }) => code === 0);
      });
      const sent = await runClient([
        ...["send", "-a", `${SERVER_IP}:34020`, "-K", `${root}/etc/postern/user.key`, "-c", "open"],
      ], { launcher: client.launcher, flags: ["--allow-net", `--allow-read=${root}`] });
      assert.equal(sent.code, 0, sent.stderr);
      assert.equal(
        await until("the command has run", () => textOf(`${root}/var/lib/knocked`)),
        `${CLIENT_IP}\n`,
      );
      await Deno.remove(`${root}/var/lib/knocked`);
    });

    await t.step(
      "a new version that does not knock is never started in the place of the old one",
      async () => {
        const before = await scene.pids();
        await scene.write(
          "/opt/broken/postern-server",
          "#!/bin/sh\necho error: broken build >&2\nexit 1\n",
          0o755,
        );
        for (const role of INSTALLED_ROLES) {
          await Deno.copyFile(`${root}/usr/local/bin/postern-${role}`, `${root}/opt/good-${role}`);
          if (role === "server") continue;
          await scene.write(`/opt/broken/postern-${role}`, `#!/bin/sh\nexec /opt/good-${role} "$@"\n`, 0o755);
        }
        const files = await fileTree(root, /^(opt\/|var\/(cache|lib)\/postern)/);
        const { code, stderr } = await scene.setup("--from", "/opt/broken");
        assert.equal(code, 1);
        assert.match(stderr, /the new server ended .*broken build/);
        assert.match(stderr, /everything this run did was taken back/);
        // Tried where it lay, before it had its name: a power cut would have started the old one.
        assert.match(stderr, /^taken back: new executable for \/usr\/local\/bin\/postern-server$/m);
        assert.doesNotMatch(stderr, /^taken back: executable /m);
        assert.equal(await scene.pids(), before);
        assert.deepEqual(await fileTree(root, /^(opt\/|var\/(cache|lib)\/postern)/), files);
        await scene.assertWorks();
      },
    );

    await t.step("a new version that fails only as a service makes room for the old one again", async () => {
      // The trial has its own configuration; only the unit names this one.
      await scene.write(
        "/opt/broken/postern-server",
        '#!/bin/sh\ncase "$*" in */etc/postern/config.toml*) echo error: fails as a service >&2; exit 1 ;; esac\n' +
          'exec /opt/good-server "$@"\n',
        0o755,
      );
      const { code, stderr } = await scene.setup("--from", "/opt/broken");
      assert.equal(code, 1);
      assert.match(stderr, /could not start postern-server\.service: error: fails as a service/);
      assert.match(stderr, /^taken back: restarted /m);
      await scene.assertWorks();
    });

    await t.step("a newer file upgrades what runs", async () => {
      const before = await scene.pids();
      await Deno.copyFile(executable(`${scene.folder}/next`), `${root}/opt/postern-setup-next`);
      await Deno.chmod(`${root}/opt/postern-setup-next`, 0o755);
      const { code, stdout, stderr } = await container.run("/opt/postern-setup-next", "setup");
      assert.equal(code, 0, stderr);
      assert.match(stderr, /^start: restart postern-commander\.service; restart postern-server\.service$/m);
      assert.match(stdout, /^proven: /m);
      assert.notEqual(await scene.pids(), before);
      await scene.assertWorks();
    });

    await t.step("uninstalled, it keeps what is precious, and purged, the system is as it was", async () => {
      const kept = await container.run("/usr/local/bin/postern-setup", "setup", "--uninstall");
      assert.equal(kept.code, 0, kept.stderr);
      assert.match(kept.stdout, /^kept \/etc\/postern\/user\.key: key; --purge removes it$/m);
      const purged = await scene.setup("--uninstall", "--purge");
      assert.equal(purged.code, 0, purged.stderr);
      assert.match(purged.stdout, /^remove user and group postern$/m);
      assert.doesNotMatch(purged.stdout, /^kept /m);
      assert.deepEqual(await fileTree(root, /^(opt\/|var\/cache\/postern(\/|$))/), pristine);
      assert.equal(
        (await container.run("systemctl", "list-unit-files", "--no-legend", "postern*")).stdout,
        "",
      );
      assert.equal((await container.run("id", "postern")).code, 1);
    });
  },
});
