/** An update that dies or fails at any one step: there is always a whole executable under each name. */
import assert from "node:assert/strict";
import { recoverUnderLock } from "../../../src/setup/update/recover.ts";
import { exists } from "../../../src/setup/update/swap_disk.ts";
import { journalPath } from "../../../src/setup/update/update_layout.ts";
import { INSTALLED_ROLES } from "../../../src/setup/role.ts";
import { Failure } from "../../../src/system/failure.ts";
import { FailingDisk, type FailingDiskOptions } from "./failing_disk.ts";
import { allAt, NEW_VERSION, OLD_VERSION, script, UpdateLab } from "./update_lab.ts";

const MAX_STEPS = 60;

/** An installation without a setup executable, and a release: what is not there yet is a case of its own. */
async function makeLab(): Promise<UpdateLab> {
  const lab = await UpdateLab.make(INSTALLED_ROLES);
  await lab.release();
  return lab;
}

/** Back to the start, whatever a crash has left. */
async function reset(lab: UpdateLab): Promise<void> {
  await Deno.remove(lab.layout.binDir, { recursive: true });
  await Deno.remove(lab.layout.stateDir, { recursive: true }).catch(() => {});
  await Deno.mkdir(lab.layout.binDir);
  for (const role of INSTALLED_ROLES) {
    await Deno.writeTextFile(lab.path(role), script(role, OLD_VERSION));
    await Deno.chmod(lab.path(role), 0o755);
  }
  lab.services.runs.clear();
  for (const role of ["server", "commander"]) {
    lab.services.runs.set(`postern-${role}.service`, script(role, OLD_VERSION));
  }
}

async function updateOn(lab: UpdateLab, disk: FailingDisk): Promise<unknown> {
  const machine = lab.machine(disk);
  const { services } = lab;
  try {
    return await lab.update({}, {
      ...machine,
      // A dead process restarts nothing either.
      services: {
        running: (units) => services.running(units),
        restart: (units) => disk.step(() => services.restart(units)),
      },
      proveInstalled: () => disk.step(() => Promise.resolve()),
    });
  } catch (error) {
    return error;
  }
}

async function requireWhole(lab: UpdateLab, what: string): Promise<void> {
  for (const role of INSTALLED_ROLES) {
    const text = await Deno.readTextFile(lab.path(role));
    assert.ok(
      [OLD_VERSION, NEW_VERSION].some((version) => text === script(role, version)),
      `${what}: ${role}`,
    );
    assert.equal(((await Deno.stat(lab.path(role))).mode ?? 0) & 0o777, 0o755, `${what}: mode of ${role}`);
  }
}

/** All old or all new, nothing besides, and the services run just that. */
async function requireSettled(lab: UpdateLab, what: string): Promise<string> {
  const found = await lab.installed();
  const version = found["postern-client"] === script("client", NEW_VERSION) ? NEW_VERSION : OLD_VERSION;
  assert.deepEqual(found, allAt(version), what);
  assert.equal(await exists(journalPath(lab.layout)), false, what);
  for (const role of ["server", "commander"]) {
    assert.equal(lab.services.runs.get(`postern-${role}.service`), script(role, version), `${what}: ${role}`);
  }
  return version;
}

/** Runs `test` with a disk that fails at step 0, 1, 2, ... until an update does not get that far. */
async function atEachStep(
  options: Omit<FailingDiskOptions, "failsAt">,
  test: (disk: FailingDisk, step: number) => Promise<void>,
): Promise<number> {
  for (let step = 0; step < MAX_STEPS; step++) {
    const disk = new FailingDisk({ ...options, failsAt: step });
    await test(disk, step);
    if (!disk.hasFailed) return step;
  }
  throw new Error(`an update takes more than ${MAX_STEPS} steps`);
}

for (const when of ["before", "after"] as const) {
  Deno.test(`update() that dies at any step (${when} it is done) is taken back, or was complete`, async () => {
    await using lab = await makeLab();
    const outcomes: string[] = [];
    const steps = await atEachStep({ when, isDeath: true }, async (disk, step) => {
      await reset(lab);
      await updateOn(lab, disk);
      await requireWhole(lab, `step ${step}`);
      const { disk: good, services } = lab.machine();
      await recoverUnderLock(lab.layout, good, services);
      outcomes.push(await requireSettled(lab, `step ${step}`));
      // And the next update finds nothing in its way.
      await lab.update();
      assert.equal(await requireSettled(lab, `step ${step}, again`), NEW_VERSION);
    });
    assert.ok(steps > 12, `only ${steps} steps`);
    // Once the new ones are the installed ones, nothing brings the old ones back.
    const firstNew = outcomes.indexOf(NEW_VERSION);
    assert.ok(firstNew > 8);
    assert.ok(outcomes.slice(firstNew).every((version) => version === NEW_VERSION));
  });

  Deno.test(`update() that fails at any step (${when} it is done) goes back by itself, or tells what is left`, async () => {
    await using lab = await makeLab();
    await atEachStep({ when, isDeath: false }, async (disk, step) => {
      await reset(lab);
      const outcome = await updateOn(lab, disk);
      await requireWhole(lab, `step ${step}`);
      const version = await requireSettledSoon(lab, `step ${step}`);
      if (outcome instanceof Error) {
        assert.ok(outcome instanceof Failure, String(outcome));
        assert.match(
          outcome.message,
          /nothing was changed$|the old executables are in place again|way back failed/,
        );
      } else {
        assert.equal(version, NEW_VERSION);
      }
    });
  });
}

/** What failed after the swap was settled may have left a second name, which the next run removes. */
async function requireSettledSoon(lab: UpdateLab, what: string): Promise<string> {
  const { disk, services } = lab.machine();
  await recoverUnderLock(lab.layout, disk, services);
  return await requireSettled(lab, what);
}

Deno.test("recoverUnderLock() that dies at any step is taken up by the next one", async () => {
  await using lab = await makeLab();
  let crashes = 0;
  // Every third step, so that the square of them stays small; the way back has its own steps, all of them.
  for (let step = 1; step < 24; step += 3) {
    await atEachStep({ when: "before", isDeath: true }, async (second, secondStep) => {
      await reset(lab);
      await updateOn(lab, new FailingDisk({ failsAt: step, when: "after", isDeath: true }));
      const services = {
        running: (units: readonly string[]) => lab.services.running(units),
        restart: (units: readonly string[]) => second.step(() => lab.services.restart(units)),
      };
      await recoverUnderLock(lab.layout, second, services).then(() => {}, () => crashes++);
      await requireWhole(lab, `steps ${step}, ${secondStep}`);
      await requireSettledSoon(lab, `steps ${step}, ${secondStep}`);
    });
  }
  assert.ok(crashes > 20, `only ${crashes} crashes`);
});

Deno.test("recoverUnderLock() names what it cannot put back, and touches nothing of it", async () => {
  await using lab = await makeLab();
  // After the renames and before the end.
  await updateOn(lab, new FailingDisk({ failsAt: 12, when: "before", isDeath: true }));
  const { disk, services } = lab.machine();
  await Deno.remove(`${lab.layout.binDir}/.postern-server.old`);
  await Deno.writeTextFile(lab.path("server"), "somebody's own");
  await assert.rejects(
    recoverUnderLock(lab.layout, disk, services),
    /could not put back the old .*postern-server:/,
  );
  assert.equal(await Deno.readTextFile(lab.path("server")), "somebody's own");
  assert.equal(await exists(journalPath(lab.layout)), true);
});

Deno.test("recoverUnderLock() puts nothing in place that is not the old executable", async () => {
  await using lab = await makeLab();
  await updateOn(lab, new FailingDisk({ failsAt: 12, when: "before", isDeath: true }));
  const { disk, services } = lab.machine();
  await Deno.writeTextFile(`${lab.layout.binDir}/.postern-server.old`, "half a file");
  await assert.rejects(
    recoverUnderLock(lab.layout, disk, services),
    /could not put back the old .*postern-server:/,
  );
  assert.equal(await Deno.readTextFile(lab.path("server")), script("server", NEW_VERSION));
});

Deno.test("recoverUnderLock() refuses a journal that is damaged, and says what to do", async () => {
  await using lab = await makeLab();
  await Deno.mkdir(lab.layout.stateDir);
  for (
    const text of [
      "",
      "{",
      '{"format":2}',
      '{"format":1,"version":"1.0.0","files":[{"role":"../x"}],"units":[]}',
    ]
  ) {
    await Deno.writeTextFile(journalPath(lab.layout), text);
    await assert.rejects(lab.update(), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(error.message, /could not use the journal of an update .*: it is damaged/);
      assert.match(error.hint ?? "", /by hand, then remove/);
      return true;
    });
  }
});

Deno.test({
  name: "update() killed with -9 at each step leaves whole executables, and the next one ends well",
  timeout: 120_000,
  async fn(): Promise<void> {
    await using lab = await makeLab();
    let kills = 0;
    for (let step = 0; step < MAX_STEPS; step++) {
      await reset(lab);
      const { signal, code } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--no-check",
          new URL("./killed_update.ts", import.meta.url).pathname,
          lab.dir,
          lab.keys.publicKey.toBase64(),
          String(step),
          step % 2 === 0 ? "before" : "after",
        ],
        stderr: "inherit",
      }).output();
      await requireWhole(lab, `step ${step}`);
      // Its services were not ours: as after a boot, they run what is there.
      await lab.services.restart(["postern-server.service", "postern-commander.service"]);
      const report = await lab.update();
      assert.equal(await requireSettled(lab, `step ${step}`), NEW_VERSION);
      if (signal !== "SIGKILL") {
        assert.equal(code, 0);
        assert.ok(kills > 12, `only ${kills} kills`);
        assert.deepEqual(report.replaced, []);
        return;
      }
      kills++;
    }
    throw new Error("every step was the last one");
  },
});
