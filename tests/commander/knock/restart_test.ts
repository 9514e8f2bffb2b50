/** What a commander finds when it comes back: commands that outlived the one before, and much to undo. */
import assert from "node:assert/strict";
import { CommanderLab, IP, isAlive, says, until } from "../commander_lab.ts";

const TIMEOUT_MS = 60_000;

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, timeout: TIMEOUT_MS });
}

/** A command that opens the door long after its start, and an undo that notes whether it still lives. */
function lateOpener(folder: string, before: string): string {
  return `[commands.open]
cmd = '${before} echo $$ > ${folder}/pid; sleep 4; sleep 4; touch ${folder}/door'
timeout_sec = 2
undo = '[ -z "$(tr -d "[:cntrl:]" < /proc/$(cat ${folder}/pid)/environ)" ] || echo overlap >> ${folder}/story; rm -f ${folder}/door; echo closed >> ${folder}/story'
undo_after_sec = 3
`;
}

async function pidOf(lab: CommanderLab): Promise<number> {
  await until(() => lab.exists("pid") && lab.read("pid").endsWith("\n"), "the command to run");
  return Number(lab.read("pid"));
}

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  test(`a command that outlives a commander ended by ${signal} is ended before its undo`, async () => {
    await using lab = await CommanderLab.create((folder) => lateOpener(folder, ""));
    const first = await lab.start();
    await lab.knock("open");
    const pid = await pidOf(lab);
    await first.stop(signal);
    assert.equal(await isAlive(pid), true, "it outlived its commander");
    const second = await lab.start();
    assert.equal(await isAlive(pid), false, "gone before the next commander lets anyone knock");
    assert.equal(lab.read("story"), "closed\n", "undone at once, after its end, though not due");
    assert.ok(second.lines.findIndex(says("lease undone")) < second.lines.findIndex(says("commander ready")));
    assert.equal(lab.exists("door"), false);
    assert.deepEqual(JSON.parse(lab.read("state/leases.json")).leases, []);
  });
}

test("a command that outlives its commander and ignores SIGTERM is killed before its undo", async () => {
  await using lab = await CommanderLab.create((folder) => lateOpener(folder, 'trap "" TERM;'));
  const first = await lab.start();
  await lab.knock("open");
  const pid = await pidOf(lab);
  await first.stop("SIGKILL");
  await lab.start();
  assert.equal(await isAlive(pid), false);
  assert.equal(lab.read("story"), "closed\n");
});

test("an undo that outlives its commander is ended before it is run again", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands.open]
cmd = 'touch ${folder}/door'
undo = 'if [ -e ${folder}/pid ]; then rm ${folder}/door; exit; fi; echo $$ > ${folder}/pid; sleep 8; touch ${folder}/late'
undo_after_sec = 1
`
  );
  const first = await lab.start();
  await lab.knock("open");
  const pid = await pidOf(lab);
  await first.stop("SIGKILL");
  assert.equal(await isAlive(pid), true);
  await lab.start();
  assert.equal(await isAlive(pid), false);
  assert.equal(lab.exists("door"), false);
});

/** Kills a commander that holds `count` leases, and waits until all are due. */
async function leaveDueLeases(lab: CommanderLab, count: number): Promise<void> {
  const first = await lab.start();
  await Promise.all(Array.from({ length: count }, (_, i) => lab.knock("open", `198.41.0.${i + 1}`)));
  await until(() => first.lines.filter(says("command finished")).length === count, "all commands");
  await until(() => {
    const leases: { applied: boolean }[] = JSON.parse(lab.read("state/leases.json")).leases;
    return leases.length === count && leases.every((lease) => lease.applied);
  }, "the leases to say so");
  await first.stop("SIGKILL");
  const leases: { dueAtMs: number }[] = JSON.parse(lab.read("state/leases.json")).leases;
  await until(() => leases.every((lease) => Date.now() >= lease.dueAtMs), "the leases to be due");
}

test("a commander undoes what is due at its start side by side", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands.open]
cmd = 'true'
concurrency = 20
undo = 'sleep 0.5; echo "$RUROCO_IP" >> ${folder}/closed'
undo_after_sec = 3
`
  );
  await leaveDueLeases(lab, 20);
  const startedMs = performance.now();
  await lab.start();
  const tookMs = performance.now() - startedMs;
  assert.equal(lab.read("closed").trim().split("\n").length, 20, "all of them before it accepts");
  assert.ok(tookMs < 5000, `${tookMs} ms, where one after the other takes 10000`);
});

test("a commander opens its socket though an undo at its start hangs, but not for that address", async () => {
  await using lab = await CommanderLab.create((folder) =>
    `[commands]
other = 'echo "$RUROCO_IP" >> ${folder}/other'
[commands.open]
cmd = 'echo "$RUROCO_IP" >> ${folder}/opened'
undo = 'echo $$ > ${folder}/pid; sleep 64'
undo_after_sec = 1
`
  );
  const first = await lab.start();
  await lab.knock("open");
  await first.line(says("command finished"));
  await first.stop("SIGKILL");
  const { leases } = JSON.parse(lab.read("state/leases.json"));
  await until(() => Date.now() >= leases[0].dueAtMs, "the lease to be due");

  const second = await lab.start();
  await second.line(says("undos still running", { count: 1 }));
  assert.ok(await isAlive(await pidOf(lab)));
  await lab.knock("open");
  await lab.knock("open", "198.41.0.5");
  await lab.knock("other");
  await second.line(says("command finished", { command: "other", ip: IP }));
  await second.line(says("command finished", { command: "open", ip: "198.41.0.5" }));
  assert.equal(lab.read("opened"), `${IP}\n198.41.0.5\n`, "the first line is the first commander's");
  await second.stop();
  Deno.kill(-Number(lab.read("pid")), "SIGKILL");
});
