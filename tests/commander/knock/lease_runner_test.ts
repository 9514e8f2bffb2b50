import assert from "node:assert/strict";
import { CommandRunner } from "../../../src/commander/knock/command_runner.ts";
import type { CommandSpec, LeaseTerms } from "../../../src/commander/knock/command_spec.ts";
import { Dispatcher } from "../../../src/commander/knock/dispatcher.ts";
import type { Execution, ExecutionResult } from "../../../src/commander/knock/execute.ts";
import type { RunEnding } from "../../../src/commander/knock/survivors.ts";
import { LeaseRunner } from "../../../src/commander/knock/lease_runner.ts";
import { LeaseStore } from "../../../src/commander/knock/lease_store.ts";
import { readLeasesFile } from "../../../src/commander/knock/leases_file.ts";
import { Scheduler } from "../../../src/commander/knock/scheduler.ts";
import { parseIp } from "../../../src/protocol/knock/address.ts";
import { Log } from "../../../src/system/log.ts";
import { FaultyFiles, STEPS } from "../../system/faulty_files.ts";
import { FakeClock } from "../fake_clock.ts";

const SELF = Deno.uid() ?? 0;
const A = "198.41.0.4";
const B = "2606:4700::1";
const C = "198.41.0.5";
const MINUTE = 60_000;
const RUN_1 = "1".padStart(32, "0");

interface StageOptions {
  terms?: Partial<LeaseTerms> | null;
  spec?: Partial<CommandSpec>;
  maxLeases?: number;
  allowNonRoutableIps?: boolean;
  /** Commands beside `open`. */
  more?: CommandSpec[];
}

/** The commander from message to execution with real files, a fake clock and no processes. */
class Stage implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly files = new FaultyFiles(undefined);
  /** Everything that was run, as `text ip`, in order of start. */
  ran: string[] = [];
  /** The run ids of all that was run. */
  readonly runIds: (string | undefined)[] = [];
  /** Log messages with their reason, if they have one. */
  said: string[] = [];
  /** Exit codes by shell text; 0 unless set. */
  readonly statuses: Record<string, number> = {};
  /** Set to keep executions waiting until it resolves. */
  gate: Promise<void> | undefined;
  /** The same for one shell text. */
  readonly gates: Record<string, Promise<void>> = {};
  /** What comes of the search for processes of an earlier commander. */
  ending: RunEnding = "gone";
  /** Run ids are numbered. */
  runs = 0;
  store!: LeaseStore;
  leases!: LeaseRunner;
  dispatcher!: Dispatcher;
  /** What the next restart is configured with. */
  #options: StageOptions;
  readonly #parent: string;

  private constructor(parent: string, options: StageOptions) {
    this.#parent = parent;
    this.#options = options;
  }

  static async create(options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(await Deno.makeTempDir({ prefix: "postern-stage-" }), options);
    await stage.restart();
    return stage;
  }

  /** A new commander over the same files, as after a kill -9. */
  async restart(bootId = "this boot"): Promise<void> {
    const { clock, files, ran, statuses } = this;
    const { terms, maxLeases = 10, allowNonRoutableIps = false } = this.#options;
    const log = new Log({
      role: "commander",
      format: "json",
      clock,
      write: (line) => {
        const { message, reason } = JSON.parse(line);
        this.said.push(reason === undefined ? message : `${message}: ${reason}`);
      },
    });
    const execute = async (execution: Execution): Promise<ExecutionResult> => {
      ran.push(`${execution.text} ${execution.ip}`);
      this.runIds.push(execution.runId);
      await Promise.all([this.gate, this.gates[execution.text]]);
      const status = statuses[execution.text] ?? 0;
      return { status, timedOut: false, durationMs: 1, stdout: "", stderr: "", droppedBytes: 0 };
    };
    const { monotonicMs } = clock;
    const spec: CommandSpec = {
      name: "open",
      hash: 7n,
      cmd: "open",
      timeoutMs: 1000,
      cooldownMs: 0,
      concurrency: 1,
      lease: terms === null ? null : { undo: "close", undoAfterMs: MINUTE, onRenew: "keep", ...terms },
      ...this.#options.spec,
    };
    const commands = [spec, ...this.#options.more ?? []];
    this.store = await LeaseStore.open({
      stateDir: `${this.#parent}/state`,
      maxLeases,
      ownUid: SELF,
      commands: commands.filter((each) => each.lease !== null).map((each) => each.name),
      files,
      bootId,
      clock,
    });
    const scheduler = new Scheduler({ monotonicMs, maxQueued: 2 });
    const endRun = (runId: string): Promise<RunEnding> => {
      ran.push(`end ${runId}`);
      return Promise.resolve(this.ending);
    };
    const newRunId = (): string => (++this.runs).toString(16).padStart(32, "0");
    const runner = new CommandRunner({ log, execute, endRun, monotonicMs });
    this.leases = new LeaseRunner({ store: this.store, scheduler, runner, log, clock, newRunId });
    this.dispatcher = new Dispatcher({
      commands,
      allowNonRoutableIps,
      scheduler,
      runner,
      leases: this.leases,
    });
  }

  /** Commands are edited, and the commander is started anew. */
  async reconfigure(options: Partial<StageOptions>): Promise<void> {
    this.#options = { ...this.#options, ...options };
    await this.restart();
  }

  async knock(ip = A, hash = 7n): Promise<void> {
    await this.dispatcher.handle({ commandHash: hash, ip: parseIp(ip) });
  }

  /** Lets time pass in steps of a second, undoing what becomes due as the timer would. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1000) {
      this.clock.pass(Math.min(1000, ms - passed));
      await this.leases.undoDue();
    }
  }

  /** What ran since the last call. */
  takeRan(): string[] {
    return this.ran.splice(0);
  }

  takeSaid(): string[] {
    return this.said.splice(0);
  }

  async onDisk(): Promise<number | undefined> {
    return (await readLeasesFile(`${this.#parent}/state`, SELF))?.leases.length;
  }

  async runIdsOnDisk(): Promise<(string | null)[] | undefined> {
    return (await readLeasesFile(`${this.#parent}/state`, SELF))?.leases.map((lease) => lease.runId);
  }

  /** A knock whose command still runs when the commander is killed; a new one takes over. */
  async killDuring(text: string): Promise<void> {
    this.gates[text] = new Promise(() => {});
    this.knock();
    await until(() => this.ran.length === 1);
    delete this.gates[text];
    this.takeRan();
    this.takeSaid();
    await this.restart();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.leases.stop();
    await Deno.remove(this.#parent, { recursive: true });
  }
}

/** Lets file writes and promises go on until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

Deno.test("a lease is recorded, runs its command, and is undone on its date", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  assert.deepEqual(stage.takeSaid(), ["lease recorded", "command started", "command finished"]);
  assert.equal(await stage.onDisk(), 1);
  await stage.pass(MINUTE - 1);
  assert.deepEqual(stage.takeRan(), []);
  await stage.pass(1);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
  assert.deepEqual(stage.takeSaid(), ["lease undone"]);
  assert.equal(await stage.onDisk(), 0);
  await stage.pass(10 * MINUTE);
  assert.deepEqual(stage.takeRan(), []);
});

Deno.test("a lease is in its file before its command starts", async () => {
  await using stage = await Stage.create();
  const gate = Promise.withResolvers<void>();
  stage.gate = gate.promise;
  const knock = stage.knock();
  await until(() => stage.ran.length === 1);
  assert.equal(await stage.onDisk(), 1);
  gate.resolve();
  await knock;
});

for (const step of STEPS) {
  Deno.test(`a command is not run when ${step} fails while its lease is recorded`, async () => {
    await using stage = await Stage.create();
    stage.files.failAt = step;
    await stage.knock();
    assert.deepEqual(stage.takeRan(), []);
    assert.deepEqual(stage.takeSaid(), ["lease not recorded"]);
    assert.equal(stage.store.leases.size, 0);
    stage.files.failAt = undefined;
    await stage.knock();
    assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  });

  Deno.test(`a renewal changes nothing and runs nothing when ${step} fails`, async () => {
    await using stage = await Stage.create({ terms: { onRenew: "run" } });
    await stage.knock();
    stage.takeRan();
    stage.clock.pass(MINUTE / 2);
    stage.files.failAt = step;
    await stage.knock();
    stage.files.failAt = undefined;
    assert.deepEqual(stage.takeRan(), []);
    await stage.pass(MINUTE / 2);
    assert.deepEqual(stage.takeRan(), [`close ${A}`], "on the date it had before");
  });
}

Deno.test("a knock while the lease is held moves its date and does not run the command", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  for (let i = 0; i < 5; i++) {
    await stage.pass(MINUTE - 1000);
    await stage.knock();
  }
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  assert.equal(stage.takeSaid().filter((line) => line === "lease renewed").length, 5);
  await stage.pass(MINUTE);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test('on_renew = "run" runs the command again and still undoes once', async () => {
  await using stage = await Stage.create({ terms: { onRenew: "run" }, spec: { cooldownMs: 10 * MINUTE } });
  await stage.knock();
  await stage.pass(1000);
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `open ${A}`], "a renewal is no start: no cooldown");
  await stage.pass(2 * MINUTE);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("each address has a lease of its own", async () => {
  await using stage = await Stage.create();
  await stage.knock(A);
  await stage.pass(MINUTE / 2);
  await stage.knock(B);
  await stage.pass(MINUTE / 2);
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `open ${B}`, `close ${A}`]);
  await stage.pass(MINUTE / 2);
  assert.deepEqual(stage.takeRan(), [`close ${B}`]);
});

Deno.test("a command that failed is undone and run again by the next knock", async () => {
  await using stage = await Stage.create();
  stage.statuses["open"] = 1;
  await stage.knock();
  stage.statuses["open"] = 0;
  await stage.knock();
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`, `open ${A}`]);
  await stage.pass(MINUTE);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("a knock on a lease that is due, before its undo came, undoes it first", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.clock.pass(MINUTE);
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`, `open ${A}`]);
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), []);
  await stage.pass(MINUTE);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("a failed undo is tried again, ever more slowly, until it works", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.statuses["close"] = 1;
  await stage.pass(MINUTE);
  assert.equal(stage.takeRan().length, 2);
  await stage.pass(7000);
  assert.equal(stage.takeRan().length, 3, "after 1, 3 and 7 s");
  assert.equal(stage.store.leases.all()[0]?.undoFailures, 4);
  stage.statuses["close"] = 0;
  await stage.pass(8000);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
  assert.equal(await stage.onDisk(), 0);
});

Deno.test("a failed undo does not spin when the disk fails too", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.statuses["close"] = 1;
  stage.files.failAt = "sync";
  await stage.pass(MINUTE);
  for (let i = 0; i < 10; i++) await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`]);
});

Deno.test("a knock while the undo fails opens anew, under a new date", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.statuses["close"] = 1;
  await stage.pass(MINUTE);
  stage.takeRan();
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`close ${A}`, `open ${A}`]);
  stage.statuses["close"] = 0;
  await stage.pass(MINUTE - 1000);
  assert.deepEqual(stage.takeRan(), []);
  await stage.pass(1000);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("an undone lease whose removal fails is undone once more after a restart", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.files.failAt = "write";
  await stage.pass(2 * MINUTE);
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`]);
  stage.files.failAt = undefined;
  await stage.restart();
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
  assert.equal(await stage.onDisk(), 0);
});

Deno.test("a killed commander's leases are kept until their date and undone after it", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.clock.pass(MINUTE / 2);
  await stage.restart();
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`open ${A}`], "not due yet");
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [], "and renewable");
  stage.clock.pass(MINUTE);
  await stage.restart();
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("a commander that was killed while a command ran ends it and undoes it before all else", async () => {
  await using stage = await Stage.create();
  await stage.killDuring("open");
  const knock = stage.knock();
  const undone = stage.leases.undoDue();
  await Promise.all([knock, undone]);
  const again = stage.knock();
  await again;
  assert.deepEqual(stage.takeRan(), [`end ${RUN_1}`, `close ${A}`, `open ${A}`]);
  await stage.pass(MINUTE);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
  assert.equal(await stage.onDisk(), 0);
});

Deno.test("a commander that was killed while a renewed command ran ends it and undoes it, though applied", async () => {
  await using stage = await Stage.create({ terms: { onRenew: "run" } });
  await stage.knock();
  stage.takeRan();
  await stage.killDuring("open");
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`end ${"2".padStart(32, "0")}`, `close ${A}`]);
  assert.equal(await stage.onDisk(), 0);
});

Deno.test("a commander that was killed while an undo ran ends that before it undoes again", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.takeRan();
  stage.gate = new Promise(() => {});
  stage.clock.pass(MINUTE);
  stage.leases.undoDue();
  await until(() => stage.ran.length === 1);
  stage.gate = undefined;
  // Set back, so that the date alone would keep the lease.
  stage.clock.wall -= MINUTE / 2;
  await stage.restart();
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`close ${A}`, `end ${"2".padStart(32, "0")}`, `close ${A}`]);
});

Deno.test("a lease has its run id in the file while a command of it runs, and only then", async () => {
  for (const status of [0, 1]) {
    await using stage = await Stage.create();
    stage.statuses["open"] = status;
    const gate = Promise.withResolvers<void>();
    stage.gate = gate.promise;
    const knock = stage.knock();
    await until(() => stage.ran.length === 1);
    assert.deepEqual(await stage.runIdsOnDisk(), [RUN_1]);
    assert.deepEqual(stage.runIds, [RUN_1]);
    gate.resolve();
    await until(() => stage.said.includes("command finished"));
    assert.deepEqual(await stage.runIdsOnDisk(), [null], "once it is said to have finished");
    await knock;
    await stage.restart();
    await stage.pass(MINUTE);
    assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`], "nothing to be ended");
  }
});

for (const ending of ["cannot look", "would not end"] as const) {
  Deno.test(`a commander that learns "${ending}" undoes at once, and again after the time limit`, async () => {
    await using stage = await Stage.create({ spec: { timeoutMs: 5 * MINUTE } });
    await stage.killDuring("open");
    stage.ending = ending;
    stage.statuses["close"] = 1;
    await stage.leases.undoDue();
    assert.deepEqual(stage.takeRan(), [`end ${RUN_1}`, `close ${A}`]);
    assert.deepEqual(stage.takeSaid().slice(-2), [
      `command may still run: ${
        ending === "cannot look" ? "its processes cannot be looked for here" : "it would not end"
      }`,
      "undo failed",
    ]);
    stage.statuses["close"] = 0;
    await stage.pass(1000);
    assert.deepEqual(stage.takeRan(), [`end ${RUN_1}`, `close ${A}`], "a failed undo does not count");
    await stage.pass(5 * MINUTE - 1);
    assert.deepEqual(stage.takeRan(), []);
    await stage.pass(1);
    assert.deepEqual(stage.takeRan(), [`close ${A}`]);
    assert.equal(await stage.onDisk(), 0);
  });
}

Deno.test("a second undo that cannot be recorded is not run in a loop", async () => {
  await using stage = await Stage.create();
  await stage.killDuring("open");
  stage.ending = "cannot look";
  stage.files.failAt = "sync";
  for (let i = 0; i < 10; i++) await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`end ${RUN_1}`, `close ${A}`]);
});

Deno.test("a reboot undoes what was open before it, whatever its date", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  await stage.restart("next boot");
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`]);
});

Deno.test("a clock in 1970, or set back, or far ahead closes what is open", async () => {
  for (const wall of [0, Date.UTC(2026, 10, 20), Date.UTC(2036, 0, 1)]) {
    await using stage = await Stage.create();
    await stage.knock();
    stage.clock.wall = wall;
    await stage.leases.undoDue();
    assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`], new Date(wall).toISOString());
  }
});

Deno.test("a lease that was recorded under a clock in 1970 closes when the clock is set right", async () => {
  await using stage = await Stage.create();
  stage.clock.wall = 5000;
  await stage.knock();
  await stage.pass(MINUTE / 2);
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  stage.clock.wall = Date.UTC(2026, 10, 21);
  await stage.leases.undoDue();
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("beyond max_leases a command is refused and not run; renewals go on", async () => {
  await using stage = await Stage.create({ maxLeases: 1, spec: { concurrency: 2 } });
  await stage.knock(A);
  stage.takeSaid();
  await stage.knock(B);
  assert.deepEqual(stage.takeSaid(), ["command refused: max_leases"]);
  await stage.knock(A);
  assert.deepEqual(stage.takeSaid(), ["lease renewed"]);
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  await stage.pass(MINUTE);
  await Promise.all([stage.knock(A), stage.knock(B)]);
  assert.deepEqual(stage.takeRan(), [`close ${A}`, `open ${A}`], "also when two come at once");
});

Deno.test("command, renewals and undo of one address never overlap, and too many knocks are refused", async () => {
  await using stage = await Stage.create({ terms: { onRenew: "run" }, spec: { concurrency: 10 } });
  const gate = Promise.withResolvers<void>();
  stage.gate = gate.promise;
  const knocks = Array.from({ length: 6 }, () => stage.knock());
  await until(() => stage.ran.length === 1);
  stage.clock.pass(2 * MINUTE);
  const undone = stage.leases.undoDue();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(stage.takeRan(), [`open ${A}`], "all others wait");
  assert.equal(stage.takeSaid().filter((line) => line === "command refused: queue_full").length, 1);
  stage.gate = undefined;
  gate.resolve();
  await Promise.all([...knocks, undone]);
  // The first lease was due when its command ended, so the next knock undid it; the undo itself then found a new one.
  assert.deepEqual(stage.takeRan(), [`close ${A}`, ...Array(4).fill(`open ${A}`)]);
});

Deno.test("an undo waits for no other run of its command, nor for those that wait", async () => {
  for (const concurrency of [1, 8]) {
    await using stage = await Stage.create({ spec: { concurrency } });
    await stage.knock(A);
    stage.takeRan();
    const gate = Promise.withResolvers<void>();
    stage.gates["open"] = gate.promise;
    stage.clock.pass(MINUTE);
    const knocks = [stage.knock(B), stage.knock(C)];
    await until(() => stage.ran.length === Math.min(concurrency, 2));
    stage.takeRan();
    await stage.leases.undoDue();
    assert.deepEqual(stage.takeRan(), [`close ${A}`]);
    gate.resolve();
    await Promise.all(knocks);
  }
});

Deno.test('on_renew = "run" with an edited undo runs the one of what is open first', async () => {
  await using stage = await Stage.create({ terms: { onRenew: "run" } });
  await stage.knock();
  await stage.reconfigure({ terms: { onRenew: "run", undo: "close differently" } });
  await stage.knock();
  await stage.knock();
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`, `open ${A}`, `open ${A}`]);
  await stage.pass(MINUTE);
  assert.deepEqual(stage.takeRan(), [`close differently ${A}`]);
});

Deno.test("a knock runs nothing while an undo that was edited since cannot close what is open", async () => {
  for (const onRenew of ["run", "keep"] as const) {
    await using stage = await Stage.create({ terms: { onRenew } });
    await stage.knock();
    if (onRenew === "keep") stage.clock.pass(MINUTE);
    stage.statuses["close"] = 1;
    await stage.reconfigure({ terms: { onRenew, undo: "close differently" } });
    await stage.knock();
    assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`]);
    assert.equal(stage.takeSaid().at(-1), "command refused: undo_failed");
    stage.statuses["close"] = 0;
    await stage.pass(MINUTE);
    assert.deepEqual(stage.takeRan(), [`close ${A}`], "tried again all the same");
    await stage.knock();
    await stage.pass(MINUTE);
    assert.deepEqual(stage.takeRan(), [`open ${A}`, `close differently ${A}`]);
  }
});

Deno.test("one command's leases leave every other command its share of max_leases", async () => {
  const lease: LeaseTerms = { undo: "hide", undoAfterMs: MINUTE, onRenew: "keep" };
  const harmless: CommandSpec = {
    name: "harmless",
    hash: 9n,
    cmd: "show",
    timeoutMs: 1000,
    cooldownMs: 0,
    concurrency: 1,
    lease,
  };
  await using stage = await Stage.create({ maxLeases: 4, more: [harmless] });
  for (let i = 1; i <= 10; i++) await stage.knock(`198.41.0.${i}`, 9n);
  assert.equal(stage.takeRan().length, 2);
  await stage.knock(A);
  await stage.knock(B);
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `open ${B}`]);
  await stage.knock(C);
  assert.deepEqual(stage.takeRan(), []);
});

Deno.test("a start that is refused for want of room takes no cooldown", async () => {
  await using stage = await Stage.create({ maxLeases: 1, spec: { cooldownMs: 10 * MINUTE } });
  await stage.knock(A);
  stage.clock.pass(10 * MINUTE);
  await stage.knock(B);
  assert.equal(stage.takeSaid().at(-1), "command refused: max_leases");
  await stage.leases.undoDue();
  await stage.knock(B);
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`, `open ${B}`]);
});

Deno.test("a clock that is set back again and again prolongs no lease", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  for (let i = 0; i < 5; i++) {
    await stage.pass(MINUTE / 5 - 1);
    stage.clock.wall -= MINUTE / 5 - 1;
  }
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  await stage.pass(5);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("a renewal under a clock that was set back lasts its whole time", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  await stage.pass(MINUTE / 2);
  stage.clock.wall -= MINUTE / 2;
  await stage.knock();
  assert.equal(stage.takeSaid().at(-1), "lease renewed");
  await stage.pass(MINUTE - 1);
  assert.deepEqual(stage.takeRan(), [`open ${A}`]);
  await stage.pass(1);
  assert.deepEqual(stage.takeRan(), [`close ${A}`]);
});

Deno.test("cooldown_sec drops a second start, of a command with and without lease", async () => {
  for (const terms of [undefined, null]) {
    await using stage = await Stage.create({
      ...(terms === null ? { terms } : {}),
      spec: { cooldownMs: 5000 },
    });
    await stage.knock(A);
    await stage.knock(B);
    assert.deepEqual(stage.takeRan(), [`open ${A}`]);
    assert.equal(stage.takeSaid().at(-1), "command refused: cooldown");
    stage.clock.pass(5000);
    await stage.knock(B);
    assert.deepEqual(stage.takeRan(), [`open ${B}`]);
  }
});

Deno.test("Dispatcher.handle() refuses unknown hashes and addresses that route nowhere", async () => {
  await using stage = await Stage.create({ terms: null });
  await stage.knock(A, 8n);
  await stage.knock("127.0.0.1");
  await stage.knock("192.168.1.1");
  assert.deepEqual(stage.takeRan(), []);
  assert.deepEqual(stage.takeSaid(), [
    "command refused: unknown_command",
    "command refused: address",
    "command refused: address",
  ]);
  await using open = await Stage.create({ terms: null, allowNonRoutableIps: true });
  await open.knock("127.0.0.1");
  assert.deepEqual(open.takeRan(), ["open 127.0.0.1"]);
});

Deno.test("Dispatcher.handle() logs a flood of refusals a few times only", async () => {
  await using stage = await Stage.create({ terms: null });
  for (let i = 0; i < 1000; i++) await stage.knock(A, 8n);
  assert.equal(stage.takeSaid().length, 5);
});

Deno.test("LeaseRunner.start() undoes on the date by itself", async () => {
  await using stage = await Stage.create();
  await stage.knock();
  stage.leases.start();
  stage.clock.pass(MINUTE);
  await until(() => stage.ran.length === 2);
  assert.deepEqual(stage.takeRan(), [`open ${A}`, `close ${A}`]);
  await until(() => stage.store.leases.size === 0);
  await stage.store.whenIdle();
});
