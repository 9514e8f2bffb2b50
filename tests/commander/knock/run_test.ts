import assert from "node:assert/strict";
import { CopyForEverybody } from "../../everybody.ts";
import { commandHash, formatCommandHash } from "../../../src/protocol/knock/command_hash.ts";
import { repositoryFolder } from "../../../scripts/lab.ts";
import { CommanderLab, IP, isAlive, message, says, until } from "../commander_lab.ts";

const isRoot = Deno.uid() === 0;
/** The runtime's start, a few processes and a time limit of a second, on a busy machine. */
const TIMEOUT_MS = 60_000;

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, timeout: TIMEOUT_MS });
}

function leasesOf(lab: CommanderLab): unknown[] {
  return JSON.parse(Deno.readTextFileSync(lab.leasesPath)).leases;
}

test("a commander with exactly its permissions runs a command and logs it", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
default = 'echo "$RUROCO_IP $POSTERN_IP" >> ${folder}/ran; printf "out\\033[2J"; echo err >&2; exit 3'
`
  );
  const commander = await lab.start();
  await lab.knock("default");
  const finished = await commander.line(says("command finished"));
  assert.equal(lab.read("ran"), `${IP} ${IP}\n`);
  const { command, ip, status, stdout, stderr, level, role } = finished.fields;
  assert.deepEqual({ command, ip, status, stdout, stderr, level, role }, {
    command: "default",
    ip: IP,
    status: 3,
    stdout: "out\x1b[2J",
    stderr: "err",
    level: "info",
    role: "commander",
  });
  assert.ok(!finished.text.includes("\x1b"));
  const ready = await commander.line(says("commander ready"));
  assert.equal(ready.fields["socket"], lab.socketPath);
  assert.equal(ready.fields["commands"], 1);
  assert.ok(commander.lines.some(says("command started", { command: "default", ip: IP })));
  assert.deepEqual(commander.lines.filter((line) => line.fields["level"] !== "info"), []);
});

test("a commander ignores what is no message or no command, and runs the next one", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  const commander = await lab.start();
  await lab.send(message("default").subarray(0, 23));
  await lab.send(new Uint8Array([...message("default"), 0]));
  await lab.send(new Uint8Array(0));
  await lab.knock("unknown");
  await lab.knock("default", "10.0.0.1");
  await commander.line(says("connection refused", { reason: "long" }));
  await commander.line(says("connection refused", { reason: "short" }));
  const hash = `#${formatCommandHash(commandHash("unknown"))}`;
  await commander.line(says("command refused", { reason: "unknown_command", command: hash }));
  await commander.line(says("command refused", { reason: "address", ip: "10.0.0.1", kind: "private" }));
  await lab.knock("default");
  await commander.line(says("command finished"));
  assert.equal(lab.read("ran"), "x\n");
});

test("a commander takes a message from a server that never closes the connection", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  const commander = await lab.start();
  using conn = await Deno.connect({ transport: "unix", path: lab.socketPath });
  await conn.write(message("default"));
  await commander.line(says("command finished"));
});

test("a commander gives up all of net once it listens, and goes on accepting", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  for (const flags of [undefined, ["--allow-net", "--allow-read", "--allow-write", "--allow-run"]]) {
    const commander = await lab.start(flags);
    commander.kill("SIGUSR1");
    const answer = await commander.line(says("net permission"));
    assert.equal(answer.fields["state"], "prompt", "neither granted nor asked for");
    await lab.knock("default");
    await commander.line(says("command finished"));
    assert.equal((await commander.stop()).code, 0);
  }
});

test("a commander ends a whole group at the time limit with permission for the shell alone", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
slow = { cmd = 'sleep 61 & echo $! > ${folder}/grandchild; wait', timeout_sec = 1 }
`
  );
  const commander = await lab.start();
  await lab.knock("slow");
  await commander.line(says("command finished", { status: 143, timed_out: true }));
  const grandchild = Number(lab.read("grandchild"));
  await until(async () => !(await isAlive(grandchild)), "the grandchild to be gone");
});

test("a commander survives a command that floods its output", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
flood = { cmd = "yes", timeout_sec = 1 }
default = "echo x >> ${folder}/ran"
`
  );
  const commander = await lab.start();
  await lab.knock("flood");
  await commander.line(says("command started", { command: "flood" }));
  await lab.knock("default");
  await commander.line(says("command finished", { command: "default" }));
  const flood = await commander.line(says("command finished", { command: "flood" }));
  assert.ok(String(flood.fields["stdout"]).length <= 64 * 1024);
  assert.ok(Number(flood.fields["dropped_bytes"]) > 0);
});

test("a commander takes 100 connections at once and runs different commands side by side", async () => {
  await using lab = await CommanderLab.create((folder) =>
    "[commands]\n" +
    Array.from({ length: 10 }, (_, i) => `c${i} = { cmd = "echo ${i} >> ${folder}/ran", concurrency = 4 }\n`)
      .join("")
  );
  const commander = await lab.start();
  await Promise.all(Array.from({ length: 100 }, (_, i) => lab.knock(`c${i % 10}`)));
  await until(() => commander.lines.filter(says("command finished")).length === 100, "100 commands");
  assert.equal(lab.read("ran").trim().split("\n").length, 100);
});

test("a commander that is killed between command and undo is followed by one that undoes first", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
open = { cmd = 'touch ${folder}/door', undo = 'rm -f ${folder}/door; echo "$RUROCO_IP" >> ${folder}/closed', undo_after_sec = 2 }
`
  );
  const first = await lab.start();
  await lab.knock("open");
  await first.line(says("command finished"));
  await first.stop("SIGKILL");
  assert.ok(lab.exists("door"));
  assert.equal(leasesOf(lab).length, 1);
  assert.equal((Deno.statSync(lab.leasesPath).mode ?? 0) & 0o777, 0o600);
  const dueAtMs = Number((leasesOf(lab)[0] as { dueAtMs: number }).dueAtMs);
  await until(() => Date.now() >= dueAtMs, "the lease to be due");
  assert.ok(lab.exists("door"), "nobody was there to close it");
  const second = await lab.start();
  assert.ok(!lab.exists("door"), "closed before the commander was ready");
  assert.equal(lab.read("closed"), `${IP}\n`);
  assert.ok(second.lines.findIndex(says("lease undone")) < second.lines.findIndex(says("commander ready")));
  assert.deepEqual(leasesOf(lab), []);
});

test("a commander undoes a lease on its date, also when its command is no longer configured", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
open = { cmd = 'touch ${folder}/door', undo = 'rm ${folder}/door', undo_after_sec = 2 }
`
  );
  const first = await lab.start();
  await lab.knock("open");
  await first.line(says("command finished"));
  assert.equal((await first.stop()).code, 0);
  await lab.writeCommands('[commands]\nother = "true"\n');
  const second = await lab.start();
  await second.line(says("lease undone", { command: "open", ip: IP }));
  assert.ok(!lab.exists("door"));
});

test("a second commander is refused by the lock and the first goes on", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  const first = await lab.start();
  const second = await lab.spawn();
  assert.equal((await second.status).code, 1);
  const refusal = await second.line((line) => line.text.includes("could not lock"));
  assert.match(refusal.text, /run\/commander.lock: another process holds it, waited 1000 ms$/);
  await lab.knock("default");
  await first.line(says("command finished"));
});

test("a commander takes over from one that was killed, whose socket is stale", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  const first = await lab.start();
  await first.stop("SIGKILL");
  assert.ok(lab.exists("run/ruroco.socket"));
  const second = await lab.start();
  await lab.knock("default");
  await second.line(says("command finished"));
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} ends a commander within a second; running commands and leases stay`, async () => {
    await using lab = await CommanderLab.create((folder) =>
      `[commands]
open = { cmd = 'echo $$ > ${folder}/pid; sleep 62', undo = 'true', undo_after_sec = 600 }
`
    );
    const commander = await lab.start();
    await lab.knock("open");
    await lab.knock("open", "198.41.0.5");
    await until(() => lab.exists("pid") && lab.read("pid").endsWith("\n"), "the command to run");
    const pid = Number(lab.read("pid"));
    const startedMs = performance.now();
    assert.equal((await commander.stop(signal)).code, 0);
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs < 1500, `${tookMs} ms: a second, and something for a busy machine`);
    assert.equal(await isAlive(pid), true);
    Deno.kill(-pid, "SIGKILL");
    assert.equal(lab.exists("run/ruroco.socket"), false);
    assert.equal(leasesOf(lab).length, 1, "the one that waited was never recorded");
    assert.ok(commander.lines.some(says("commander stopped", { left_running: 1, dropped: 1 })));
  });
}

test("SIGTERM lets a short command finish", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "sleep 0.3; echo x >> ${folder}/ran"\n`
  );
  const commander = await lab.start();
  await lab.knock("default");
  await commander.line(says("command started"));
  assert.equal((await commander.stop()).code, 0);
  assert.equal(lab.read("ran"), "x\n");
  assert.ok(commander.lines.some(says("command finished")));
});

test("SIGTERM lets commands that wait for a slot run, as long as there is time", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
default = 'sleep 0.1; echo "$RUROCO_IP" >> ${folder}/ran'
open = { cmd = 'sleep 0.1; echo "$RUROCO_IP" >> ${folder}/ran', undo = 'true', undo_after_sec = 600 }
`
  );
  const commander = await lab.start();
  for (const name of ["default", "open"]) {
    for (const ip of [IP, "198.41.0.5", "198.41.0.6"]) await lab.knock(name, ip);
  }
  await commander.line(says("command started", { command: "default" }));
  await commander.line(says("command started", { command: "open" }));
  assert.equal((await commander.stop()).code, 0);
  assert.equal(lab.read("ran").trim().split("\n").length, 6);
  assert.ok(commander.lines.some(says("commander stopped", { left_running: 0, dropped: 0 })));
});

test("SIGTERM names once every command and address whose turn did not come", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
default = 'echo $$ >> ${folder}/pids; sleep 65'
open = { cmd = 'echo $$ >> ${folder}/pids; sleep 65', undo = 'true', undo_after_sec = 600 }
`
  );
  const commander = await lab.start();
  const started = ["default", "open"].map((command) => commander.line(says("command started", { command })));
  for (const command of ["default", "open"]) await lab.knock(command, "198.41.0.1");
  await Promise.all(started);
  const waiting = Array.from({ length: 8 }, (_, i) => `198.41.0.${i + 2}`);
  for (const command of ["default", "open"]) {
    for (const ip of [...waiting, ...waiting]) await lab.knock(command, ip);
  }
  // Waits in the lane of its address, not in the queue of its command.
  await lab.knock("open", "198.41.0.1");
  await lab.knock("missing");
  await commander.line(says("command refused", { reason: "unknown_command" }));
  assert.equal((await commander.stop()).code, 0);
  for (const pid of lab.read("pids").trim().split("\n")) Deno.kill(-Number(pid), "SIGKILL");
  const dropped = commander.lines.filter(says("command refused", { reason: "stopping" }))
    .map(({ fields }) => `${fields["command"]} ${fields["ip"]}`);
  assert.deepEqual(
    dropped.sort(),
    [...waiting.map((ip) => `default ${ip}`), ...waiting.map((ip) => `open ${ip}`), "open 198.41.0.1"].sort(),
  );
  assert.ok(commander.lines.some(says("commander stopped", { left_running: 2, dropped: 17 })));
});

test("SIGHUP is ignored, and said to be", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]\ndefault = "echo x >> ${folder}/ran"\n`
  );
  const commander = await lab.start();
  commander.kill("SIGHUP");
  const said = await commander.line(says("SIGHUP ignored: restart to read commands.toml again"));
  assert.equal(said.fields["level"], "warn");
  await lab.knock("default");
  await commander.line(says("command finished"));
  assert.equal((await commander.stop()).code, 0);
});

test("SIGTERM ends a commander that still undoes at its start", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
open = { cmd = 'true', undo = 'echo $$ > ${folder}/pid; sleep 63', undo_after_sec = 1 }
`
  );
  const first = await lab.start();
  await lab.knock("open");
  await first.line(says("command finished"));
  await first.stop("SIGKILL");
  const dueAtMs = Number((leasesOf(lab)[0] as { dueAtMs: number }).dueAtMs);
  await until(() => Date.now() >= dueAtMs, "the lease to be due");
  const second = await lab.spawn();
  await until(() => lab.exists("pid") && lab.read("pid").endsWith("\n"), "the undo to run");
  const startedMs = performance.now();
  assert.equal((await second.stop()).code, 0);
  assert.ok(performance.now() - startedMs < 1500);
  assert.ok(!second.lines.some(says("commander ready")));
  assert.equal(leasesOf(lab).length, 1);
  Deno.kill(-Number(lab.read("pid")), "SIGKILL");
});

test("a commander with a corrupt leases file does not start and quotes nothing", async () => {
  await using lab = await CommanderLab.create(() => '[commands]\ndefault = "true"\n');
  await Deno.mkdir(`${lab.folder}/state`, { mode: 0o700 });
  await Deno.writeTextFile(lab.leasesPath, '{"version": 1, "leases": "hunter2"}', { mode: 0o600 });
  const commander = await lab.spawn();
  assert.equal((await commander.status).code, 1);
  const refusal = await commander.line((line) => line.text.includes("leases.json"));
  assert.match(refusal.text, /could not read \S+leases.json: found a wrong value at bootId, accepted/);
  assert.ok(!commander.lines.some((line) => line.text.includes("hunter2")));
  assert.equal(lab.exists("run/ruroco.socket"), false);
  assert.equal(lab.exists("run/.commander/ruroco.socket"), false, "nothing is left behind");
});

test("a commander whose commands file others can write does not start", async () => {
  await using lab = await CommanderLab.create(() => '[commands]\ndefault = "hunter2"\n');
  const words = await lab.words();
  await Deno.chmod(lab.commandsPath, 0o666);
  const output = await new Deno.Command(Deno.execPath(), { args: words }).output();
  const said = new TextDecoder().decode(output.stderr);
  assert.equal(output.code, 1);
  assert.match(said, /^could not trust \S+commands.toml: found mode 0666, accepted is owner root/);
  assert.ok(!said.includes("hunter2"));
});

test("a commander makes a missing socket folder and says when others may replace its socket", async () => {
  await using lab = await CommanderLab.create(() => '[commands]\ndefault = "true"\n');
  await Deno.remove(`${lab.folder}/run`);
  const first = await lab.start();
  assert.equal((Deno.statSync(`${lab.folder}/run`).mode ?? 0) & 0o777, 0o755);
  assert.equal((await first.stop()).code, 0);
  await Deno.chmod(`${lab.folder}/run`, 0o777);
  const second = await lab.start();
  const warned = await second.line(says("configuration"));
  assert.match(
    String(warned.fields["warning"]),
    /run: others may replace the commander's socket \(mode 0777\)/,
  );
});

Deno.test({
  name: "a commander runs as an ordinary user (needs root to become one)",
  ignore: !isRoot,
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const uid = 65534;
    await using lab = await CommanderLab.create((folder) =>
      `[commands]
open = { cmd = 'id -u > ${folder}/run/ran', undo = 'rm ${folder}/run/ran', undo_after_sec = 1 }
`
    );
    const words = await lab.words();
    await Deno.mkdir(`${lab.folder}/state`, { mode: 0o700 });
    for (const name of ["", "/run", "/state", "/commands.toml"]) {
      await Deno.chown(lab.folder + name, uid, uid);
    }
    using copy = CopyForEverybody.make();
    const child = new Deno.Command(copy.denoPath, {
      args: words.map((word) => word.replace(repositoryFolder, copy.repositoryFolder)),
      uid,
      gid: uid,
      cwd: "/",
      env: { DENO_DIR: copy.cacheFolder },
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    try {
      await until(() => lab.exists("run/ruroco.socket"), "the socket");
      assert.equal(Deno.lstatSync(lab.socketPath).uid, uid);
      await lab.knock("open");
      await until(() => lab.exists("run/ran"), "the command");
      await until(() => !lab.exists("run/ran"), "its undo");
    } finally {
      if (await isAlive(child.pid)) child.kill("SIGTERM");
    }
    const { code, stderr } = await output;
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.match(new TextDecoder().decode(stderr), /"lease undone"/);
  },
});
