/**
 * docs/migrate-from-ruroco.md, walked through: every command of the page, on a machine that boots systemd, with the
 * executables that `deno task compile` makes, and stand-ins for ruroco's programs.
 */
import assert from "node:assert/strict";
import { unless } from "../e2e/machine.ts";
import { TempFolder } from "../e2e/temp_folder.ts";
import { until } from "../e2e/until.ts";
import { buildObstacle, BuiltFiles } from "../ship/built_files.ts";
import { type BootedMachine, bootObstacle } from "./booted_machine.ts";
import { PageSteps } from "./page.ts";
import {
  bootRurocoMachine,
  CLIENT_FOLDER,
  HOST,
  RAN,
  RECORDED,
  RELEASE_FOLDER,
  replayRecorded,
} from "./ruroco_installation.ts";

const PAGE = "docs/migrate-from-ruroco.md";
const OPENED = "open 203.0.113.9";
const obstacle = buildObstacle() ?? await bootObstacle();

/** The reader of the page, at the server and at a client's machine. */
class Reader {
  readonly machine: BootedMachine;
  readonly #steps: PageSteps;

  constructor(machine: BootedMachine, steps: PageSteps) {
    this.machine = machine;
    this.#steps = steps;
  }

  atServer(step: string): Promise<string> {
    return this.machine.run(this.#steps.take(step), { cwd: RELEASE_FOLDER });
  }

  atClient(step: string): Promise<string> {
    return this.machine.run(this.#steps.take(step), { cwd: CLIENT_FOLDER });
  }

  /**
   * The knock of every day; a datagram can get lost while a service starts, so the reader knocks again. Gives how many it
   * took.
   */
  async knocksAsEveryDay(): Promise<number> {
    const before = await this.opened();
    let knocks = 0;
    await until("the knock opened the port", async () => {
      knocks++;
      await this.machine.run(`ruroco-client send -a ${HOST}:80 -k "$(cat user.key)" -c open_port`, {
        cwd: CLIENT_FOLDER,
      });
      return await until("it did at once", async () => await this.opened() > before, { timeoutMs: 2000 })
        .catch(() => false);
    }, { timeoutMs: 60_000 });
    return knocks;
  }

  async opened(): Promise<number> {
    const { stdout } = await this.machine.attempt(`cat ${RAN}`);
    return stdout.split("\n").filter((line) => line === OPENED).length;
  }

  async isActive(unit: string): Promise<boolean> {
    return (await this.machine.attempt(`systemctl is-active ${unit}`)).code === 0;
  }

  /** Keeps the packet that was sent last under a name of its own. */
  async keepsRecorded(name: string): Promise<void> {
    await this.machine.run(`cp ${RECORDED} ${CLIENT_FOLDER}/${name}`);
  }

  /** Gives what a unit says from now on. */
  async listensTo(unit: string): Promise<() => Promise<string>> {
    const read = `journalctl --unit ${unit} --output cat --no-pager`;
    const said = (await this.machine.run(read)).length;
    return async () => (await this.machine.run(read)).slice(said);
  }
}

Deno.test({
  ...unless(obstacle, `${PAGE}: a ruroco installation moves over and back, and is never without a knock`),
  timeout: 300_000,
  async fn(): Promise<void> {
    const steps = await PageSteps.read(PAGE);
    await using folder = await TempFolder.make("release");
    await Deno.chmod(folder.path, 0o755);
    const release = await BuiltFiles.build(`${folder.path}/dist`);
    await using machine = await bootRurocoMachine(release.folder);
    const reader = new Reader(machine, steps);

    // Before: ruroco alone. What it accepts here is recorded on its way, to be sent again later.
    await reader.knocksAsEveryDay();
    await reader.keepsRecorded("before-the-move");
    assert.match(await reader.atServer("look"), /Listen=0\.0\.0\.0:80 \(Datagram\)/);
    assert.match(await reader.atServer("check"), /configuration \/etc\/ruroco\/config\.toml is good/);

    // During: both, on two ports. With the keys alone, ruroco's clients would be refused...
    assert.match(await reader.atServer("beside"), /proven/);
    await machine.run("install -g postern -m 640 /etc/ruroco/*.key /etc/postern/");
    await machine.run("systemctl restart postern-server");
    const knockTrial = steps.take("knock-trial");
    const refusesNoFloors = await reader.listensTo("postern-server");
    await until("the trial refuses a knock", async () => {
      await machine.run(knockTrial, { cwd: CLIENT_FOLDER });
      return /packet refused reason=replayed/.test(await refusesNoFloors());
    }, { pollMs: 500 });
    // ...and with the floors they are not.
    await reader.atServer("copy");
    const accepts = await reader.listensTo("postern-commander");
    await until("the trial runs a command", async () => {
      await machine.run(knockTrial, { cwd: CLIENT_FOLDER });
      return /command finished/.test(await accepts());
    }, { pollMs: 500 });
    const seen = await reader.atServer("seen-trial");
    assert.match(seen, /knock accepted/);
    assert.match(seen, /command finished/);
    // A packet that ruroco has accepted is new to the trial, which has nothing to offer for it. (The trial takes two
    // packets a second from one address; one that comes too early is used up, so it takes another.)
    await until("the trial knows no such command", async () => {
      const knocks = await reader.knocksAsEveryDay();
      const opened = await reader.opened();
      const ignores = await reader.listensTo("postern-commander");
      await replayRecorded(machine, RECORDED, 34_020);
      const isIgnored = await until(
        "it says so at once",
        async () => /unknown_command/.test(await ignores()),
        {
          timeoutMs: 2000,
        },
      ).catch(() => false);
      assert(await reader.opened() < opened + knocks, "the trial ran a command of every day");
      return isIgnored;
    });

    // A swap that goes wrong, since the privilege for port 80 is missing; the ten minutes of the page, shortened.
    await reader.atServer("scripts");
    const swap = steps.take("swap");
    assert(swap.includes("--on-active=10min"));
    await machine.run(swap.replace("10min", "2s"), { cwd: RELEASE_FOLDER });
    await until("ruroco runs again by itself", () => reader.isActive("ruroco.service"), {
      timeoutMs: 30_000,
    });
    await reader.knocksAsEveryDay();
    assert.equal(await reader.isActive("postern-server"), false);

    // After: Postern alone, on ruroco's port.
    await reader.atServer("low-port");
    await reader.knocksAsEveryDay();
    await reader.keepsRecorded("last-of-ruroco");
    await machine.run(swap, { cwd: RELEASE_FOLDER });
    for (const unit of ["ruroco.socket", "ruroco", "ruroco-commander"]) {
      assert.equal(await reader.isActive(unit), false, unit);
    }
    await reader.knocksAsEveryDay();
    // A second time it would put ruroco's floors, which are old by now, over Postern's.
    assert.equal((await machine.attempt("./to-postern", { cwd: RELEASE_FOLDER })).code, 1);
    await reader.atClient("knock-after");
    assert.match(await reader.atServer("seen-after"), /nothing to do[\s\S]*proven/);
    // What was used before is used: the first knock that was recorded and the last.
    for (const file of ["before-the-move", "last-of-ruroco"]) {
      const before = await reader.opened();
      const refuses = await reader.listensTo("postern-server");
      await replayRecorded(machine, `${CLIENT_FOLDER}/${file}`, 80);
      await until(`${file} is refused`, async () => /packet refused reason=replayed/.test(await refuses()));
      assert.equal(await reader.opened(), before);
    }

    // Back in one command, and what Postern accepted stays used there.
    await reader.knocksAsEveryDay();
    await reader.keepsRecorded("last-of-postern");
    assert.equal(await reader.isActive("to-ruroco.timer"), true);
    await reader.atServer("stay");
    assert.equal(await reader.isActive("to-ruroco.timer"), false);
    await reader.atServer("back");
    assert.equal(await reader.isActive("postern-server"), false);
    await reader.knocksAsEveryDay();
    // As it would be if the timer went off after that: ruroco's floors, newer by now, stay.
    await reader.keepsRecorded("first-of-ruroco-again");
    await machine.run("./to-ruroco && systemctl restart ruroco.service", { cwd: RELEASE_FOLDER });
    const back = await reader.opened();
    for (const file of ["last-of-postern", "first-of-ruroco-again"]) {
      await replayRecorded(machine, `${CLIENT_FOLDER}/${file}`, 80);
    }
    const knocks = await reader.knocksAsEveryDay();
    assert(await reader.opened() <= back + knocks, "a packet that had been accepted ran again");

    // And forward again, for good.
    await machine.run("./to-postern", { cwd: RELEASE_FOLDER });
    await reader.knocksAsEveryDay();
    await reader.atServer("remove");
    await reader.knocksAsEveryDay();
    steps.requireAllTaken();
  },
});
