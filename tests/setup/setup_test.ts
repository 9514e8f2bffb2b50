import assert from "node:assert/strict";
import { oneOpenLease } from "./open_lease.ts";
import type { SetupOptions } from "../../src/setup/preflight.ts";
import { planSetup, runSetup, SetupFailure } from "../../src/setup/setup.ts";
import { uninstall } from "../../src/setup/uninstall.ts";
import { FakeMachine } from "./fake_machine.ts";

const OPTIONS: SetupOptions = {
  root: "/",
  ips: "9.9.9.9",
  port: 34020,
  keyName: "user",
  from: undefined,
  program: { selfExtractingPath: "/root/postern-setup", isCompiled: false, execPath: "/deno" },
};
const EXTRAS = [{ path: "/usr/local/share/man/man1/postern.1", text: ".TH" }];

function setup(machine: FakeMachine): ReturnType<typeof runSetup> {
  return runSetup(machine, OPTIONS, EXTRAS);
}

async function newerSetup(machine: FakeMachine): Promise<void> {
  await setup(machine);
  newerFile(machine);
}

function newerFile(machine: FakeMachine): void {
  machine.version = "2";
  machine.file("/root/postern-setup", "self-extracting 2");
}

Deno.test("runSetup() makes everything, each with its owner and mode, and ends with a proof", async () => {
  const machine = new FakeMachine();
  const report = await setup(machine);
  const made = machine.tree();
  const shape = (path: string): string | undefined => made[path]?.split(" ").slice(0, 2).join(" ");
  assert.deepEqual(
    Object.fromEntries(
      [
        "/etc/postern",
        "/etc/postern/config.toml",
        "/etc/postern/commands.toml",
        "/etc/postern/user.key",
        "/etc/postern/postern-check.key",
        "/var/lib/postern",
        "/var/lib/postern-commander",
        "/var/lib/postern-setup",
        "/run/postern",
        "/usr/local/bin/postern-server",
        "/etc/systemd/system/postern-server.service",
        "/usr/local/share/man/man1/postern.1",
      ].map((path) => [path, shape(path)]),
    ),
    {
      "/etc/postern": "755 0:0",
      "/etc/postern/config.toml": "644 0:0",
      "/etc/postern/commands.toml": "600 0:0",
      "/etc/postern/user.key": "640 0:997",
      "/etc/postern/postern-check.key": "640 0:997",
      "/var/lib/postern": "700 997:997",
      "/var/lib/postern-commander": "700 0:0",
      "/var/lib/postern-setup": "700 0:0",
      "/run/postern": "755 0:0",
      "/usr/local/bin/postern-server": "755 0:0",
      "/etc/systemd/system/postern-server.service": "644 0:0",
      "/usr/local/share/man/man1/postern.1": "644 0:0",
    },
  );
  assert.equal(report.proven, true);
  // After the proof nothing is left but to write down that nothing is.
  const proof = machine.acts.findLastIndex((act) => act.startsWith("prove"));
  assert.deepEqual(machine.acts.slice(proof + 1), ["writeFile /var/lib/postern-setup/manifest.json"]);
  assert.deepEqual([...machine.running.keys()].sort(), [
    "postern-commander.service",
    "postern-server.service",
  ]);
});

Deno.test("runSetup() for the second time does nothing but prove a knock", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  const before = machine.tree();
  const first = machine.acts.length;
  const report = await setup(machine);
  assert.deepEqual(report.steps, []);
  assert.deepEqual(report.kept, []);
  assert.deepEqual(machine.tree(), before);
  assert.deepEqual(machine.acts.slice(first).map((act) => act.split(" ")[0]), ["lock", "prove"]);
});

Deno.test("planSetup() acts on nothing, and names what runSetup() then does", async () => {
  const machine = new FakeMachine();
  const plan = await planSetup(machine, OPTIONS, EXTRAS);
  assert.deepEqual(machine.acts, []);
  const { steps } = await setup(machine);
  const planned = plan.steps.map(({ name }) => name);
  // Starting what runs is seen as left to do only when it is there.
  assert.deepEqual(steps.map(({ name }) => name), planned);
});

/** How many acts a run takes, found by a run without a fault. */
async function countActs(
  prepare: (machine: FakeMachine) => Promise<void>,
): Promise<[first: number, end: number]> {
  const machine = new FakeMachine();
  await prepare(machine);
  const first = machine.acts.length;
  await setup(machine);
  return [first, machine.acts.length];
}

for (
  const [what, prepare] of [
    ["a first setup", () => Promise.resolve()],
    ["an upgrade", newerSetup],
  ] as const
) {
  Deno.test(`runSetup() takes everything back whichever act of ${what} fails`, async () => {
    const [first, end] = await countActs(prepare);
    assert(end - first > 10);
    for (let at = first; at < end; at++) {
      const machine = new FakeMachine();
      await prepare(machine);
      const before = { tree: machine.tree(), running: new Map(machine.running) };
      machine.fault = { at, isCrash: false };
      const act = (): string => machine.acts[at] ?? "";
      const failure = await setup(machine).then(() => null, (error: unknown) => error);
      // A container refuses the sysctl, and an old copy that stays is no reason to take back what has been proven.
      if (failure === null) {
        assert.match(act(), /systemd-sysctl|^remove .*\.old\.tmp$/, act());
        continue;
      }
      assert(failure instanceof SetupFailure, `${act()}: ${failure}`);
      assert.deepEqual(failure.stuck, [], act());
      assert.deepEqual(machine.tree(), before.tree, act());
      assert.deepEqual([...machine.running].sort(), [...before.running].sort(), act());
    }
  });

  Deno.test(`a crash at any act of ${what} leaves what the next setup completes, or uninstall removes`, async () => {
    const [first, end] = await countActs(prepare);
    for (let at = first; at < end; at++) {
      for (const next of ["setup", "uninstall"] as const) {
        const machine = new FakeMachine();
        const pristine = machine.tree();
        await prepare(machine);
        machine.fault = { at, isCrash: true };
        // Cleaning up after the proof may fail without failing the setup.
        await setup(machine).catch((error: unknown) => assert(error instanceof SetupFailure));
        assert(machine.isDead);
        machine.reboot();
        const act = String(machine.acts[at]);
        if (next === "setup") {
          await setup(machine);
          const again = await setup(machine);
          assert.deepEqual(again.steps, [], act);
          assert.equal(machine.text("/usr/local/bin/postern-server"), `server ${machine.version}`, act);
          assert.equal(machine.running.get("postern-server.service"), `server ${machine.version}`, act);
          const leftovers = [...machine.nodes.keys()].filter((path) => path.endsWith(".tmp"));
          assert.deepEqual(leftovers, [], act);
        }
        await uninstall(machine, { root: "/", purge: true, dryRun: false });
        machine.file("/root/postern-setup", "self-extracting");
        assert.deepEqual(machine.tree(), pristine, `${act}, then ${next}`);
        assert.deepEqual([...machine.running], [], act);
      }
    }
  });
}

Deno.test("runSetup() tries a new version beside the running one before it restarts anything", async () => {
  const machine = new FakeMachine();
  await newerSetup(machine);
  const first = machine.acts.length;
  await setup(machine);
  const acts = machine.acts.slice(first).filter((act) =>
    /tryBeside|rename .*server|systemctl (re|st)/.test(act)
  );
  // A power cut in between must not leave the machine with what was never tried.
  assert.deepEqual(acts, [
    "tryBeside",
    "rename /usr/local/bin/.postern-server.new.tmp /usr/local/bin/postern-server",
    "run /usr/bin/systemctl restart postern-commander.service postern-server.service",
  ]);
  assert.equal(machine.running.get("postern-server.service"), "server 2");
});

Deno.test("runSetup() has executables that start in their place alone prove themselves there, and goes back", async () => {
  const machine = new FakeMachine();
  await newerSetup(machine);
  machine.broken.add("server 2");
  const first = machine.acts.length;
  machine.isCompiled = () => Promise.resolve(true);
  await assert.rejects(setup(machine), /could not start postern-server.service: error: broken build/);
  assert(!machine.acts.slice(first).includes("tryBeside"));
  assert.equal(machine.running.get("postern-server.service"), "server 1");
});

Deno.test("runSetup() never stops what runs if the trial of the new version fails", async () => {
  const machine = new FakeMachine();
  await newerSetup(machine);
  machine.broken.add("server 2");
  const first = machine.acts.length;
  await assert.rejects(setup(machine), /the trial failed \(everything this run did was taken back\)/);
  assert(!machine.acts.slice(first).some((act) => /systemctl (restart|stop|start)/.test(act)));
  assert.equal(machine.running.get("postern-server.service"), "server 1");
  assert.equal(machine.text("/usr/local/bin/postern-server"), "server 1");
});

Deno.test("runSetup() restarts the old version from its old file if the new one fails only as a service", async () => {
  const machine = new FakeMachine();
  await newerSetup(machine);
  machine.broken.add("server 2");
  machine.tryBeside = () => Promise.resolve();
  await assert.rejects(setup(machine), /could not start postern-server.service: error: broken build/);
  assert.equal(machine.running.get("postern-server.service"), "server 1");
  assert.equal(machine.running.get("postern-commander.service"), "commander 1");
});

Deno.test("runSetup() keeps a configuration and keys that are there, byte for byte", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  const config = machine.text("/etc/postern/config.toml") ?? "";
  const key = machine.text("/etc/postern/user.key");
  await uninstall(machine, { root: "/", purge: false, dryRun: false });
  machine.file("/etc/postern/config.toml", `${config}\n# mine\n`);
  const report = await runSetup(machine, { ...OPTIONS, ips: "8.8.8.8" }, EXTRAS);
  assert.equal(machine.text("/etc/postern/config.toml"), `${config}\n# mine\n`);
  assert.equal(machine.text("/etc/postern/user.key"), key);
  assert.match(report.findings.notes.join("\n"), /--ips is not used: .* says \[9\.9\.9\.9\]/);
});

Deno.test("runSetup() keeps a unit that somebody changed, or that was there before, and names it", async () => {
  const machine = new FakeMachine();
  machine.file("/etc/systemd/system/postern-commander.service", "mine");
  const first = await setup(machine);
  assert.deepEqual(first.kept, ["/etc/systemd/system/postern-commander.service was there before"]);
  machine.file("/etc/systemd/system/postern-server.service", "edited");
  const second = await setup(machine);
  assert.match(second.kept.join("\n"), /postern-server\.service was changed since setup wrote it/);
  assert.equal(machine.text("/etc/systemd/system/postern-server.service"), "edited");
  const { kept } = await uninstall(machine, { root: "/", purge: true, dryRun: false });
  assert.match(kept.join("\n"), /postern-server\.service: changed since setup wrote it/);
  assert.equal(machine.text("/etc/systemd/system/postern-commander.service"), "mine");
  assert.equal(machine.text("/etc/systemd/system/postern-server.service"), "edited");
});

Deno.test("runSetup() does not go back behind what an update installed", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  machine.file("/usr/local/bin/postern-server", "server 9");
  const hash = await machine.sha256("/usr/local/bin/postern-server");
  machine.file("/var/lib/postern-setup/release.json", JSON.stringify({ files: { server: hash } }));
  machine.version = "2";
  machine.file("/root/postern-setup", "self-extracting 2");
  const report = await setup(machine);
  assert.equal(machine.text("/usr/local/bin/postern-server"), "server 9");
  assert.deepEqual(report.kept, ["/usr/local/bin/postern-server came with an update"]);
  await uninstall(machine, { root: "/", purge: true, dryRun: false });
  assert.equal(machine.text("/usr/local/bin/postern-server"), null);
});

Deno.test("uninstall() keeps configuration, keys, state and user unless it purges, and can purge later", async () => {
  const machine = new FakeMachine();
  const before = machine.tree();
  await setup(machine);
  machine.file("/etc/postern/alice.key", "added later");
  const { kept } = await uninstall(machine, { root: "/", purge: false, dryRun: false });
  for (const name of ["config.toml", "commands.toml", "user.key", "postern-check.key"]) {
    assert(kept.some((line) => line.startsWith(`/etc/postern/${name}: `)), name);
    assert.notEqual(machine.text(`/etc/postern/${name}`), null);
  }
  assert.equal(machine.text("/usr/local/bin/postern-server"), null);
  assert.equal(machine.running.size, 0);
  await uninstall(machine, { root: "/", purge: true, dryRun: false });
  assert.deepEqual(machine.tree(), before);
});

Deno.test("uninstall() in a dry run acts on nothing and says what it would do", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  const first = machine.acts.length;
  const planned = await uninstall(machine, { root: "/", purge: true, dryRun: true });
  assert.deepEqual(machine.acts.slice(first), []);
  assert(planned.removed.includes("remove /usr/local/bin/postern-server"));
});

Deno.test("uninstall() refuses while leases are open", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  machine.file("/var/lib/postern-commander/leases.json", oneOpenLease());
  const before = machine.tree();
  await assert.rejects(
    uninstall(machine, { root: "/", purge: true, dryRun: false }),
    /cannot uninstall: 1 lease is open/,
  );
  assert.deepEqual(machine.tree(), before);
});

Deno.test("uninstall() where nothing was set up says so and changes nothing", async () => {
  const machine = new FakeMachine();
  assert.deepEqual(await uninstall(machine, { root: "/", purge: true, dryRun: false }), {
    removed: [],
    kept: [],
  });
  assert.deepEqual(machine.acts, []);
});

Deno.test("runSetup() leaves everything to another setup that is at work", async () => {
  const machine = new FakeMachine();
  await setup(machine);
  machine.lock = () => Promise.reject(new Error("held"));
  const before = machine.tree();
  newerFile(machine);
  await assert.rejects(setup(machine), /at the step "lock": held/);
  machine.file("/root/postern-setup", "self-extracting");
  assert.deepEqual(machine.tree(), before);
});
