/**
 * docs/deploy.md, walked through on machines that boot systemd: by executable, with what `deno task compile` makes; and by
 * `deno run`.
 */
import assert from "node:assert/strict";
import { repositoryFolder } from "../../scripts/lab.ts";
import { succeeds, unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { buildObstacle, BuiltFiles } from "../ship/built_files.ts";
import { BootedMachine, bootObstacle } from "./booted_machine.ts";
import { PageSteps } from "./page.ts";

const PAGE = "docs/deploy.md";
/** The address of the page's server, and a public one that the machine is given in its place. */
const PAGE_ADDRESS = "203.0.113.9";
const ADDRESS = "11.22.33.44";
const FOLDER = "/root";
const CHECKOUT = "/opt/postern";

const bootProblem = await bootObstacle();
const obstacle = buildObstacle() ?? bootProblem;

const BY_EXECUTABLE = [
  "setup",
  "knock",
  "see",
  "open-ssh",
  "knock-ssh",
  "doctor",
  "doctor-client",
  "move-out",
  "move-in",
  "uninstall",
  "fail2ban",
];
/** Run by deploy_manage_test.ts. */
const MANAGE = ["manage-server", "manage-invite", "manage-agent", "manage-me"];
const BY_HAND = ["by-hand-files", "by-hand-units", "by-hand-knock"];

/** What the page has its reader do, at this machine's address. */
async function readSteps(): Promise<(name: string) => string> {
  const steps = await PageSteps.read(PAGE);
  const texts = new Map([...BY_EXECUTABLE, ...BY_HAND, ...MANAGE].map((name) => [name, steps.take(name)]));
  steps.requireAllTaken();
  return (name) => (texts.get(name) ?? assert.fail(name)).replaceAll(PAGE_ADDRESS, ADDRESS);
}

/** The nftables block of docs/knock.md that opens ssh. */
async function knockTable(): Promise<string> {
  const text = await Deno.readTextFile(`${repositoryFolder}docs/knock.md`);
  const table = /^```\n(table inet knock \{\n[\s\S]*?^\})\n```$/m.exec(text)?.[1];
  assert(table !== undefined, "docs/knock.md has the table");
  return table;
}

/** Knocks until the commander says that a command has finished: a datagram can get lost. */
async function knocks(machine: BootedMachine, line: string, cwd = FOLDER): Promise<void> {
  const journal = "journalctl --unit postern-commander --output cat --no-pager";
  const said = (await machine.run(journal)).length;
  await until("the commander has run the command", async () => {
    await machine.run(line, { cwd });
    return await until(
      "it did at once",
      async () => /command finished/.test((await machine.run(journal)).slice(said)),
      { timeoutMs: 2000 },
    )
      .catch(() => false);
  });
}

Deno.test({
  ...unless(
    obstacle,
    `${PAGE}: one executable and one command make a server, which moves and goes away again`,
  ),
  timeout: 300_000,
  async fn(): Promise<void> {
    const step = await readSteps();
    await using folder = await TempFolder.make("release");
    await Deno.chmod(folder.path, 0o755);
    const release = await BuiltFiles.build(`${folder.path}/dist`);
    await using machine = await BootedMachine.boot({ "/opt/release": release.folder });
    await machine.run(`ip address add ${ADDRESS}/32 dev lo`);
    for (const role of ["setup", "client"]) {
      await machine.run(
        `ln -s /opt/release/postern-${role}-${Deno.build.target} ${FOLDER}/postern-${role}`,
      );
    }
    const atServer = (name: string): Promise<string> => machine.run(step(name), { cwd: FOLDER });

    const setUp = await atServer("setup");
    assert.match(setUp, /nothing was changed[\s\S]*proven: a real knock ran postern_check/);
    await machine.run(`cp /etc/postern/user.key . && chmod 600 user.key`, { cwd: FOLDER });
    await knocks(machine, step("knock"));
    const seen = await atServer("see");
    assert.match(seen, /knock accepted/);
    assert.match(seen, /command finished/);

    // The five minutes of docs/knock.md, whose first is the setup above.
    const firstKnock = await PageSteps.read("docs/knock.md");
    assert.match(await machine.run(firstKnock.take("setup"), { cwd: FOLDER }), /nothing to do/);
    await machine.run(firstKnock.take("hello"));
    await knocks(machine, step("knock").replace("postern_check", "hello"));
    assert.match(await machine.run(firstKnock.take("log")), new RegExp(`knock from ${ADDRESS}`));
    firstKnock.requireAllTaken();

    await machine.run("nft -f -", { input: await knockTable() });
    await atServer("open-ssh");
    const isOpen = async (): Promise<boolean> =>
      (await machine.run("nft list set inet knock ssh4")).includes(ADDRESS);
    assert.equal(await isOpen(), false);
    await knocks(machine, step("knock-ssh"));
    assert.equal(await isOpen(), true);

    // Without a network they can't compare clocks; that is no problem of the server's.
    assert.match(await machine.run(step("doctor"), { cwd: FOLDER }), /\b0 problems/);
    assert.match((await machine.attempt(step("doctor-client"), { cwd: FOLDER })).stdout, /problems, /);

    // To another machine: this one, with nothing left of it.
    await machine.run("systemctl stop postern-commander && rm -f /var/lib/postern-commander/leases.json");
    await atServer("move-out");
    await machine.run("postern-setup setup --uninstall --purge", { cwd: FOLDER });
    assert.equal((await machine.attempt("test -e /etc/postern/user.key")).code, 1);
    assert.match(await atServer("move-in"), /nothing to do[\s\S]*proven/);
    await knocks(machine, step("knock"));

    await atServer("uninstall");
    assert.equal((await machine.attempt("systemctl is-active postern-server")).code !== 0, true);
    assert.equal((await machine.attempt("test -e /usr/local/bin/postern-server")).code, 1);
    assert.equal((await machine.attempt("test -e /etc/postern/user.key")).code, 0);
  },
});

Deno.test({
  ...unless(
    bootProblem,
    `${PAGE}: a checkout and deno run make a server with the flags that permissions prints`,
  ),
  timeout: 300_000,
  async fn(): Promise<void> {
    const step = await readSteps();
    await using machine = await BootedMachine.boot({
      [CHECKOUT]: repositoryFolder.replace(/\/$/, ""),
      "/opt/deno": Deno.execPath(),
      "/opt/packages": `${await denoDir()}/npm`,
    });
    await machine.run(`
ip address add ${ADDRESS}/32 dev lo
ln -sf /opt/deno /usr/local/bin/deno
mkdir -p /var/cache/postern-deno
cp -r /opt/packages /var/cache/postern-deno/npm`);
    for (const name of ["by-hand-files", "by-hand-units"]) await machine.run(step(name), { cwd: CHECKOUT });
    await until(
      "the server is ready",
      async () =>
        /server ready/.test(await machine.run("journalctl --unit postern-server --output cat --no-pager")),
    );
    await knocks(machine, step("by-hand-knock"), CHECKOUT);
    const line = await machine.run("systemctl show --property=ExecStart postern-server");
    assert.match(line, /--allow-net=\[::\]:34020/);
    assert.doesNotMatch(line, /--allow-all|--allow-run|--allow-ffi/);
    const journal = await machine.run(
      "journalctl --unit postern-server --unit postern-commander --output cat --no-pager",
    );
    assert.doesNotMatch(journal, /WARN|ERROR|warning|error/);
  },
});

Deno.test({
  ...unless(
    bootProblem ?? (await succeeds("fail2ban-client", ["--version"]) ? null : "needs fail2ban"),
    `${PAGE}: fail2ban takes the filter and the jail`,
  ),
  timeout: 120_000,
  async fn(): Promise<void> {
    const step = await readSteps();
    await using machine = await BootedMachine.boot({ [CHECKOUT]: repositoryFolder.replace(/\/$/, "") });
    // Debian's own jail for sshd wants to see this file.
    await machine.run("touch /var/log/auth.log");
    assert.match(await machine.run(step("fail2ban"), { cwd: CHECKOUT }), /OK/);
  },
});

/** Where the packages of this run lie; the machine has no network to fetch them. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const info: unknown = JSON.parse(new TextDecoder().decode(stdout));
  assert(typeof info === "object" && info !== null && "denoDir" in info && typeof info.denoDir === "string");
  return info.denoDir;
}
