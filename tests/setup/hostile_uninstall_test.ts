/** An uninstall takes away what setup made, and nothing else, whatever it finds. */
import assert from "node:assert/strict";
import { oneOpenLease } from "./open_lease.ts";
import type { SetupOptions } from "../../src/setup/preflight.ts";
import { runSetup, SetupFailure } from "../../src/setup/setup.ts";
import { uninstall, type UninstallReport } from "../../src/setup/uninstall.ts";
import { Failure } from "../../src/system/failure.ts";
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
const MANIFEST = "/var/lib/postern-setup/manifest.json";
const SERVER = "/usr/local/bin/postern-server";

async function installed(prepare: (machine: FakeMachine) => void = () => {}): Promise<FakeMachine> {
  const machine = new FakeMachine();
  prepare(machine);
  await runSetup(machine, OPTIONS, EXTRAS);
  return machine;
}

function purge(machine: FakeMachine): Promise<UninstallReport> {
  return uninstall(machine, { root: "/", purge: true, dryRun: false });
}

function edit(machine: FakeMachine, change: (manifest: Record<string, unknown>) => void): void {
  const manifest = JSON.parse(machine.text(MANIFEST) ?? "");
  change(manifest);
  machine.file(MANIFEST, JSON.stringify(manifest));
}

for (
  const [path, kind] of [
    ["/", "cache"],
    ["/", "folder"],
    ["/etc", "state"],
    ["/etc/postern/../passwd", "config"],
    ["/etc/passwd", "file"],
    ["/etc/passwd", "key"],
    ["etc/postern", "folder"],
    ["/usr/bin/postern-server", "executable"],
    ["/usr/local/bin/postern-", "executable"],
    ["/home/alice", "folder"],
    ["/var/cache", "cache"],
    ["/etc/systemd/system/ssh.service", "file"],
  ] as const
) {
  Deno.test(`uninstall() refuses a list that names ${path} as ${kind}, and removes nothing`, async () => {
    const machine = await installed();
    edit(
      machine,
      (manifest) => (manifest["entries"] as unknown[]).push({ path, kind, mode: 420, owner: "root" }),
    );
    const [before, first] = [machine.tree(), machine.acts.length];
    await assert.rejects(
      purge(machine),
      /could not read .*manifest\.json: found another form, or what setup never/,
    );
    assert.deepEqual(machine.tree(), before);
    assert.deepEqual(machine.acts.slice(first), []);
  });
}

Deno.test("uninstall() refuses a list that names units of others", async () => {
  const machine = await installed();
  edit(machine, (manifest) => manifest["enabled"] = ["ssh.service"]);
  await assert.rejects(purge(machine), /found another form/);
});

for (
  const [what, change] of [
    ["another user's", { owner: { uid: 1000, gid: 1000 } }],
    ["written by a group", { mode: 0o660 }],
    ["a link", { target: "/etc/passwd" }],
  ] as const
) {
  for (const path of [MANIFEST, "/var/lib/postern-setup"]) {
    if ("target" in change && path !== MANIFEST) continue;
    Deno.test(`uninstall() and setup refuse ${path} that is ${what}`, async () => {
      const machine = await installed();
      machine.change(path, change);
      const before = machine.tree();
      await assert.rejects(purge(machine), /could not trust \/var\/lib\/postern-setup/);
      await assert.rejects(
        runSetup(machine, OPTIONS, EXTRAS),
        /postern-setup.* is (owned by uid 1000|mode 0660|a link)|could not trust/,
      );
      assert.deepEqual(machine.tree(), before);
    });
  }
}

Deno.test("uninstall() keeps what became something else, and removes the rest", async () => {
  const machine = await installed();
  machine.nodes.delete(SERVER);
  machine.folder(SERVER);
  machine.file(`${SERVER}/mine`, "mine");
  const copy = machine.text("/usr/local/bin/postern-client") ?? "";
  machine.file("/opt-client", copy);
  machine.symlink("/usr/local/bin/postern-client", "/opt-client");
  machine.change("/etc/postern/config.toml", { isFifo: true });
  machine.nodes.delete("/var/cache/postern/runtime");
  machine.symlink("/var/cache/postern", "/root");
  const { kept } = await purge(machine);
  for (
    const path of [SERVER, "/usr/local/bin/postern-client", "/etc/postern/config.toml", "/var/cache/postern"]
  ) {
    assert(kept.some((line) => line.startsWith(`${path}: no `)), `${path}: ${kept.join("\n")}`);
    assert(machine.nodes.has(path), path);
  }
  assert.equal(machine.text(`${SERVER}/mine`), "mine");
  assert.equal(machine.text("/usr/local/bin/postern-setup"), null);
  assert.notEqual(machine.text("/root/postern-setup"), null);
});

Deno.test("uninstall() leaves temporary files of others where they are", async () => {
  const machine = await installed();
  const others = [
    "/usr/local/bin/.postern-server.backup.tmp",
    "/usr/local/bin/.postern-server.old.mine.tmp",
    "/usr/local/bin/postern-server.tmp",
    "/etc/systemd/.system.x.tmp",
    "/usr/local/share/.man.x.tmp",
  ];
  const ours = [
    "/usr/local/bin/.postern-server.new.tmp",
    "/usr/local/bin/.postern-server.0123456789abcdef.tmp",
    "/usr/local/bin/..postern-server.new.tmp.0123456789abcdef.tmp",
  ];
  for (const path of [...others, ...ours]) machine.file(path, "x");
  await purge(machine);
  for (const path of others) assert(machine.nodes.has(path), path);
  for (const path of ours) assert(!machine.nodes.has(path), path);
});

Deno.test("uninstall() without the list removes nothing, and says what is there", async () => {
  const machine = await installed();
  machine.nodes.delete(MANIFEST);
  machine.file("/var/lib/postern-setup/release.json", "{}");
  const before = machine.tree();
  const { removed, kept } = await purge(machine);
  assert.deepEqual(removed, []);
  assert.match(
    kept.join("\n"),
    /postern-server: not on a list of what setup made, since .*manifest\.json is missing/,
  );
  const after = machine.tree();
  assert.deepEqual(after, before);
  await machine.removeTree("/var/lib/postern-setup");
  assert.match((await purge(machine)).kept.join("\n"), /postern-server: not on a list/);
});

Deno.test("uninstall() starts the services again if a lease was opened while they were stopped", async () => {
  const machine = await installed();
  const run = machine.run.bind(machine);
  machine.run = (program, args, ...rest) => {
    if (args.includes("stop")) machine.file("/var/lib/postern-commander/leases.json", oneOpenLease());
    return run(program, args, ...rest);
  };
  const [before, running] = [machine.tree(), [...machine.running]];
  await assert.rejects(purge(machine), /1 lease is open/);
  machine.nodes.delete("/var/lib/postern-commander/leases.json");
  assert.deepEqual(machine.tree(), before);
  assert.deepEqual([...machine.running].sort(), running.sort());
});

Deno.test("uninstall() looks for leases where the configuration has them, also in a dry run", async () => {
  const machine = await installed();
  const path = "/etc/postern/config.toml";
  const config = (machine.text(path) ?? "").replace(
    /^commander_state_dir = .*$/m,
    'commander_state_dir = "/srv/l"',
  );
  machine.file(path, config);
  machine.file("/srv/l/leases.json", oneOpenLease());
  for (const dryRun of [true, false]) {
    await assert.rejects(uninstall(machine, { root: "/", purge: false, dryRun }), /1 lease is open/);
  }
});

Deno.test("uninstall() stops services that somebody else enabled before it takes their executables", async () => {
  const machine = await installed();
  edit(machine, (manifest) => manifest["enabled"] = []);
  await purge(machine);
  assert.deepEqual([...machine.running], []);
});

Deno.test("a group that was there before outlives a setup that fails, and an uninstall", async () => {
  for (const members of ["", "alice"]) {
    const group = `root:x:0:\npostern:x:555:${members}\n`;
    const machine = new FakeMachine();
    machine.file("/etc/group", group);
    machine.prove = () => Promise.reject(new Failure("no knock works"));
    const before = machine.tree();
    await assert.rejects(runSetup(machine, OPTIONS, EXTRAS), SetupFailure);
    assert.deepEqual(machine.tree(), before);
    const other = await installed((m) => m.file("/etc/group", group));
    const { removed } = await purge(other);
    assert.equal(other.text("/etc/group"), group);
    assert.doesNotMatch(other.text("/etc/passwd") ?? "", /postern/);
    assert(removed.includes("remove user postern"));
  }
});

Deno.test("a user that was there before outlives a setup that fails, and an uninstall; its new group does not", async () => {
  const passwd = "root:x:0:0::/root:/bin/sh\npostern:x:600:100::/:/usr/sbin/nologin\n";
  const machine = await installed((m) => m.file("/etc/passwd", passwd));
  await purge(machine);
  assert.equal(machine.text("/etc/passwd"), passwd);
  assert.doesNotMatch(machine.text("/etc/group") ?? "", /postern/);
});

Deno.test("uninstall() forgets an account it has removed: one of that name that comes later is not its own", async () => {
  const machine = await installed();
  machine.file("/etc/systemd/system/postern-server.service", "mine");
  await purge(machine);
  machine.file("/etc/passwd", "root:x:0:0::/root:/bin/sh\npostern:x:1000:1000::/home/p:/bin/sh\n");
  await purge(machine);
  assert.match(machine.text("/etc/passwd") ?? "", /^postern:/m);
});

Deno.test("setup and uninstall take back an update that was broken off before they do anything", async () => {
  const machine = await installed();
  assert.equal(machine.settled, 1);
  await purge(machine);
  assert.equal(machine.settled, 2);
});

Deno.test("runSetup() that is told to end takes back everything, at whatever step", async () => {
  const count = (await installed()).acts.length;
  let ended = 0;
  for (let at = 1; at < count; at += 3) {
    const machine = new FakeMachine();
    const before = machine.tree();
    const controller = new AbortController();
    const push = machine.acts.push.bind(machine.acts);
    machine.acts.push = (...acts) => {
      if (machine.acts.length === at) controller.abort(new Failure("could not go on: ended by SIGHUP"));
      return push(...acts);
    };
    const error = await runSetup(machine, OPTIONS, EXTRAS, () => {}, controller.signal).then(
      () => null,
      (each: unknown) => each,
    );
    if (error === null) continue;
    ended++;
    assert(error instanceof SetupFailure, String(error));
    assert.match(error.message, /ended by SIGHUP \(everything this run did was taken back\)/);
    assert.deepEqual(machine.tree(), before, String(machine.acts[at]));
    assert.deepEqual([...machine.running], []);
  }
  assert(ended > 10, `${ended}`);
});

Deno.test("two first setups at once: the slower one is refused and takes nothing away", async () => {
  const machine = new FakeMachine();
  const makeFolder = machine.makeFolder.bind(machine);
  machine.makeFolder = async (path, ...rest) => {
    if (path === "/var/lib/postern-setup") {
      machine.folder(path);
      machine.file(`${path}/lock`, "");
    }
    await makeFolder(path, ...rest);
  };
  machine.lock = () => Promise.reject(new Failure("held"));
  await assert.rejects(runSetup(machine, OPTIONS, EXTRAS), (error) => {
    assert(error instanceof SetupFailure);
    assert.deepEqual([error.undone, error.stuck], [[], []]);
    return true;
  });
  assert(machine.nodes.has("/var/lib/postern-setup/lock"));
});
