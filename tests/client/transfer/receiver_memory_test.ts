import assert from "node:assert/strict";
import { codeTagOf, decodePairing, encodePairing } from "../../../src/client/transfer/received_pairing.ts";
import type { ReceivedPairing } from "../../../src/client/transfer/received_pairing.ts";
import { ReceiverMemory } from "../../../src/client/transfer/receiver_memory.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { succeeds } from "../../e2e/machine.ts";
import {
  Offered,
  receiveAll,
  SECRET,
  sinkInto,
  TargetFolder,
  treeOf,
  workingFolder,
} from "./file_sink_stage.ts";

const CODE = "481516-ocean-rabbit-velvet";
const DAY_MS = 24 * 60 * 60 * 1000;

class SetClock implements Clock {
  nowMs = 1_700_000_000_000;
  wallMs(): number {
    return this.nowMs;
  }
  wallNs(): bigint {
    return BigInt(this.nowMs) * 1_000_000n;
  }
  monotonicMs(): number {
    return 0;
  }
}

/** A state folder that is not there yet, a target and a clock. */
class Stage implements Disposable {
  readonly #folder = new TargetFolder();
  readonly state: string = `${this.#folder.path}/state/postern/transfers`;
  readonly target: string = `${this.#folder.path}/target`;
  readonly clock = new SetClock();

  constructor() {
    Deno.mkdirSync(this.target);
  }

  memory(code = CODE, stateFolder: string | null = this.state): ReceiverMemory {
    return new ReceiverMemory({ code, target: this.target, stateFolder, clock: this.clock });
  }

  get stateFile(): string {
    return `${this.state}/received-${codeTagOf(CODE)}.json`;
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

Deno.test("ReceiverMemory knows in the next process how far a code has come", async () => {
  using stage = new Stage();
  assert.deepEqual(await stage.memory().find(), { state: "unknown" });
  const memory = stage.memory();
  const found = { resumeSecret: SECRET, target: stage.target };
  await memory.spend(SECRET);
  assert.deepEqual(await stage.memory().find(), { state: "spent", ...found });
  await memory.proven(SECRET);
  assert.deepEqual(await stage.memory().find(), { state: "proven", ...found });
  assert.deepEqual(await stage.memory("481516-ocean-rabbit-velvets").find(), { state: "unknown" });
  await memory.finished();
  assert.deepEqual(await stage.memory().find(), { state: "finished", ...found });
  assert.deepEqual(treeOf(stage.target), {});
});

Deno.test("ReceiverMemory of a code proven for one folder is free for another, and each keeps its own", async () => {
  using stage = new Stage();
  const other = `${stage.target}/other`, secret = SECRET.map((byte) => byte ^ 1);
  const there = (): ReceiverMemory =>
    new ReceiverMemory({ code: CODE, target: other, stateFolder: stage.state, clock: stage.clock });
  await stage.memory().spend(SECRET);
  const open = { state: "spent", resumeSecret: SECRET, target: stage.target };
  assert.deepEqual(await there().find(), open, "an open guess stops it anywhere");
  for (const state of ["proven", "finished"] as const) {
    const memory = stage.memory();
    await memory.find();
    await (state === "proven" ? memory.proven(SECRET) : memory.finished());
    assert.deepEqual(await there().find(), { state: "unknown", elsewhere: stage.target });
  }
  const second = there();
  await second.find();
  await second.spend(secret);
  assert.deepEqual(await there().find(), { state: "spent", resumeSecret: secret, target: other });
  await second.proven(secret);
  assert.deepEqual(await there().find(), { state: "proven", resumeSecret: secret, target: other });
  assert.deepEqual(await stage.memory().find(), {
    state: "finished",
    resumeSecret: SECRET,
    target: stage.target,
  });
  const { clock } = stage;
  const third = new ReceiverMemory({ clock, code: CODE, target: `${other}/2`, stateFolder: stage.state });
  await second.spend(secret);
  assert.equal((await third.find()).state, "spent", "an open guess of any of them");
  stage.clock.nowMs += 7 * DAY_MS + 1;
  assert.deepEqual(await there().find(), { state: "unknown" });
  assert.deepEqual(treeOf(stage.state), {});
});

Deno.test("ReceiverMemory keeps neither code nor words, in a private file of a private folder", async () => {
  using stage = new Stage();
  await stage.memory().spend(SECRET);
  assert.equal((Deno.lstatSync(stage.state).mode ?? 0) & 0o777, 0o700);
  assert.deepEqual([...Deno.readDirSync(stage.state)].map(({ name }) => name), [
    `received-${codeTagOf(CODE)}.json`,
  ]);
  assert.equal((Deno.lstatSync(stage.stateFile).mode ?? 0) & 0o777, 0o600);
  assert.doesNotMatch(Deno.readTextFileSync(stage.stateFile), /ocean|rabbit|velvet|481516/);
});

Deno.test("ReceiverMemory tells a code that was found to be finished by a later run", async () => {
  using stage = new Stage();
  await stage.memory().spend(SECRET);
  await stage.memory().proven(SECRET);
  const later = stage.memory();
  await later.find();
  await later.finished();
  assert.equal((await stage.memory().find()).state, "finished");
});

Deno.test("ReceiverMemory does not forget when its secret is cleared by whoever gave it", async () => {
  using stage = new Stage();
  const secret = SECRET.slice();
  const memory = stage.memory(CODE, null);
  await memory.spend(secret);
  secret.fill(0);
  assert.deepEqual(await memory.find(), { state: "spent", resumeSecret: SECRET, target: stage.target });
});

Deno.test("ReceiverMemory without a state folder keeps what is proven in the working folder", async () => {
  using stage = new Stage();
  const memory = stage.memory(CODE, null);
  await memory.spend(SECRET);
  assert.deepEqual(treeOf(stage.target), {});
  assert.deepEqual(await stage.memory(CODE, null).find(), { state: "unknown" });
  await memory.proven(SECRET);
  assert.deepEqual(Object.keys(treeOf(workingFolder(stage.target))), ["pairing"]);
  const found = { state: "proven", resumeSecret: SECRET, target: stage.target };
  assert.deepEqual(await stage.memory(CODE, null).find(), found);
  assert.deepEqual(await stage.memory().find(), found, "the state folder may have been lost");
  assert.deepEqual(await stage.memory("1234-a-b-c", null).find(), { state: "unknown" });

  const offered = new Offered({ a: { content: 5 } });
  await using sink = sinkInto(stage.target, { codeTag: memory.codeTag });
  await receiveAll(sink, offered);
  await memory.finished();
  await sink.close();
  assert.deepEqual(Object.keys(treeOf(stage.target)), ["a"]);
});

Deno.test("ReceiverMemory leaves nothing in the target for a text, or an offer that was refused", async () => {
  using stage = new Stage();
  for (const isText of [true, false]) {
    const memory = stage.memory(CODE, null);
    await memory.spend(SECRET);
    await memory.proven(SECRET);
    const offered = new Offered(
      { a: { content: new TextEncoder().encode("text") } },
      isText ? "text" : "files",
    );
    const sink = sinkInto(stage.target, { codeTag: memory.codeTag, confirm: () => Promise.resolve(isText) });
    if (isText) await receiveAll(sink, offered);
    else await assert.rejects(sink.accept(offered.offer), TransferError);
    await sink.close();
    assert.deepEqual(treeOf(stage.target), {});
  }
});

Deno.test("ReceiverMemory finds the pairing that a sink keeps, and a sink that failed early keeps it", async () => {
  using stage = new Stage();
  const memory = stage.memory(CODE, null);
  await memory.proven(SECRET);
  const idle = sinkInto(stage.target, { codeTag: memory.codeTag });
  await idle.open();
  await idle.close();
  assert.equal(
    (await stage.memory(CODE, null).find()).state,
    "proven",
    "the link was lost before the offer came",
  );
  await using sink = sinkInto(`${stage.target}/new`, { codeTag: memory.codeTag });
  await sink.accept(new Offered({ a: { content: 5 } }).offer);
  await sink.close();
  const there = new ReceiverMemory({ code: CODE, target: `${stage.target}/new`, stateFolder: null });
  assert.equal((await there.find()).state, "proven");
});

Deno.test("ReceiverMemory makes no target folder, and needs none", async () => {
  using stage = new Stage();
  Deno.removeSync(stage.target);
  const memory = stage.memory(CODE, null);
  await memory.spend(SECRET);
  await memory.proven(SECRET);
  assert.throws(() => Deno.lstatSync(stage.target), Deno.errors.NotFound);
  assert.deepEqual(await stage.memory(CODE, null).find(), { state: "unknown" });
});

Deno.test("ReceiverMemory drops what is older than a week, and nothing else", async () => {
  using stage = new Stage();
  await stage.memory("1111-a-b-c").spend(SECRET);
  stage.clock.nowMs += 6 * DAY_MS;
  await stage.memory().spend(SECRET);
  await stage.memory(CODE, null).proven(SECRET);
  for (const name of ["share-x.json", "received-x.json"]) {
    Deno.writeTextFileSync(`${stage.state}/${name}`, "{}");
  }
  const broken = `received-${"0".repeat(64)}.json`;
  Deno.writeTextFileSync(`${stage.state}/${broken}`, "{}");
  stage.clock.nowMs += DAY_MS;
  assert.equal((await stage.memory("1111-a-b-c").find()).state, "spent", "a week and not more");
  stage.clock.nowMs += 1;
  assert.equal((await stage.memory("1111-a-b-c").find()).state, "unknown");
  assert.equal((await stage.memory().find()).state, "spent");
  assert.deepEqual(
    Object.keys(treeOf(stage.state)).sort(),
    [
      broken,
      `received-${codeTagOf(CODE)}.json`,
      "received-x.json",
      "share-x.json",
    ].sort(),
  );
  stage.clock.nowMs += 7 * DAY_MS;
  assert.equal((await stage.memory().find()).state, "unknown", "nor by the working folder");
  stage.clock.nowMs -= 30 * DAY_MS;
  assert.equal((await stage.memory(CODE, null).find()).state, "proven", "the clock was set back");
});

Deno.test("ReceiverMemory counts the week from when the code was spent", async () => {
  using stage = new Stage();
  await stage.memory().spend(SECRET);
  stage.clock.nowMs += 6 * DAY_MS;
  const later = stage.memory();
  await later.find();
  await later.finished();
  stage.clock.nowMs += DAY_MS + 1;
  assert.equal((await stage.memory().find()).state, "unknown");
});

Deno.test("ReceiverMemory takes a code for spent when its file cannot be read, whatever is in it", async () => {
  using stage = new Stage();
  await stage.memory().spend(SECRET);
  const whole = Deno.readTextFileSync(stage.stateFile);
  const contents = ["", "{", "null", "[]", whole.slice(0, -5), whole.replace("spent", "unspent")];
  for (const content of [...contents, whole.replace(codeTagOf(CODE), codeTagOf("x"))]) {
    Deno.writeTextFileSync(stage.stateFile, content);
    await assert.rejects(stage.memory().find(), (error: unknown) => {
      assert(error instanceof Failure);
      assert.match(error.message, /counts as spent/);
      assert.match(error.hint ?? "", /new code/);
      return true;
    });
  }
  Deno.removeSync(stage.stateFile);
  Deno.mkdirSync(stage.stateFile);
  await assert.rejects(stage.memory().find(), TransferError);
});

Deno.test("ReceiverMemory does not wait at a pipe that lies among what it looks through", async () => {
  using stage = new Stage();
  await stage.memory("4815-zebra-zero-zone").spend(SECRET);
  assert(await succeeds("mkfifo", [stage.stateFile.replace(/[0-9a-f]{64}/, "0".repeat(64))]));
  assert.deepEqual(await stage.memory().find(), { state: "unknown" });
});

Deno.test("ReceiverMemory refuses to go on when it cannot remember", async () => {
  using stage = new Stage();
  Deno.writeTextFileSync(`${stage.target}/file`, "");
  const memory = stage.memory(CODE, `${stage.target}/file/state`);
  await assert.rejects(memory.spend(SECRET), (error: unknown) => {
    return error instanceof TransferError && error.code === "storage" &&
      /cannot write .*received-/.test(error.message);
  });
});

Deno.test({
  name: "ReceiverMemory without a state folder and without permissions remembers for itself alone",
  permissions: { read: false, write: false },
  async fn(): Promise<void> {
    const memory = new ReceiverMemory({ code: CODE, target: "/tmp", stateFolder: null });
    assert.deepEqual(await memory.find(), { state: "unknown" });
    await memory.spend(SECRET);
    await memory.proven(SECRET);
    assert.equal((await memory.find()).state, "proven");
  },
});

Deno.test("decodePairing() gives what was encoded, and refuses everything else", () => {
  const pairing: ReceivedPairing = {
    codeTag: codeTagOf(CODE),
    resumeSecret: SECRET,
    target: '/a \u00e9\n"b',
    timeMs: 1.5,
    state: "proven",
  };
  assert.deepEqual(decodePairing(encodePairing(pairing)), pairing);
  const fields = JSON.parse(new TextDecoder().decode(encodePairing(pairing)));
  const changes: Record<string, unknown>[] = [
    { version: 2 },
    { more: 1 },
    { code: "ab" },
    { secret: "7".repeat(63) },
    { secret: "G".repeat(64) },
    { target: 5 },
    { timeMs: "5" },
    { state: "new" },
    { state: 1 },
  ];
  for (const change of changes) {
    const bytes = new TextEncoder().encode(JSON.stringify({ ...fields, ...change }));
    assert.equal(decodePairing(bytes), null, JSON.stringify(change));
  }
  assert.equal(decodePairing(new Uint8Array([0xff])), null);
});
