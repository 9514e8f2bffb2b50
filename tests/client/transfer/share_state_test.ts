import assert from "node:assert/strict";
import fc from "fast-check";
import { type FoundShare, ShareState } from "../../../src/client/transfer/share_state.ts";
import { type ShareKey, SharePlace } from "../../../src/client/transfer/share_state_place.ts";
import {
  formatRecord,
  parseRecord,
  type ShareRecord,
} from "../../../src/client/transfer/share_state_record.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { type Clock, systemClock } from "../../../src/system/clock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { type FileLayer, systemFiles } from "../../../src/system/file_layer.ts";
import { mountObstacle, succeeds, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { holds } from "../../property.ts";
import { randomBytes } from "./sample_bytes.ts";
import { CODE, FINGERPRINT, KEY, oneFile, SECRETS } from "./share_states.ts";
import { TinyDisk } from "../../e2e/tiny_disk.ts";

const OTHER_CODE = "4712-zebra-zoo-abandon";
const OTHER_FINGERPRINT = new Uint8Array(32).fill(2);
const DAY_MS = 24 * 3600 * 1000;

interface Opening {
  readonly receivers?: number;
  readonly fingerprint?: Uint8Array<ArrayBuffer>;
  readonly isFresh?: boolean;
  readonly clock?: Clock;
  readonly layer?: FileLayer;
}

async function open(folder: string | null, options: Opening = {}): Promise<ShareState> {
  const { receivers = 1, fingerprint = FINGERPRINT, clock = systemClock, ...rest } = options;
  const place = await SharePlace.take(folder, { ...KEY, receivers }, clock);
  return await ShareState.open(place, { receivers, files: oneFile(), fingerprint, ...rest });
}

/** What a run would go by. */
function summary(state: ShareState): [FoundShare, string | null, string[], number] {
  return [state.found, state.code, state.resume.map((secret) => secret.toHex()), state.admissible];
}

const [A, B] = SECRETS.map((secret) => secret.toHex()) as [string, string];

async function guess(
  state: ShareState,
  receiver: number,
  secret: Uint8Array<ArrayBuffer>,
  isRight: boolean,
): Promise<void> {
  await state.memoryOf(receiver).spend(secret);
  if (isRight) await state.memoryOf(receiver).proven(secret);
}

function isSpent(error: unknown): boolean {
  return error instanceof TransferError && error.code === "spent" && !error.message.includes("4711");
}

Deno.test("ShareState begins with nothing, in a folder that only we may look into", async () => {
  await using folder = await TempFolder.make("state");
  const path = `${folder.path}/deep/er/transfers`;
  {
    await using state = await open(path);
    assert.deepEqual(summary(state), ["new", null, [], 1]);
    assert.deepEqual(state.notices, []);
    await state.offerCode(CODE);
  }
  const names: string[] = [];
  for (const { name: folderName } of Deno.readDirSync(path)) {
    assert.match(folderName, /^share-[0-9a-f]{16}-1$/);
    for (const { name } of Deno.readDirSync(`${path}/${folderName}`)) {
      names.push(name);
      assert.equal(((await Deno.stat(`${path}/${folderName}/${name}`)).mode ?? 0) & 0o777, 0o600, name);
    }
    assert.equal(((await Deno.stat(`${path}/${folderName}`)).mode ?? 0) & 0o777, 0o700);
  }
  assert.deepEqual(names.sort(), ["hashes", "lock", "share.json"]);
  assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o777, 0o700);
  assert.equal(((await Deno.stat(`${folder.path}/deep`)).mode ?? 0) & 0o777, 0o700);
});

Deno.test("ShareState offers the same code again if nobody has guessed at it", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    assert.equal(state.code, CODE);
    await state.offerCode(CODE);
  }
  await using again = await open(folder.path);
  assert.deepEqual(summary(again), ["again", CODE, [], 1]);
});

Deno.test("ShareState goes on with a receiver that was let in, and without the code", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    await guess(state, 1, SECRETS[0], true);
    assert.equal(state.code, null);
  }
  await using again = await open(folder.path);
  assert.deepEqual(summary(again), ["again", null, [A], 0]);
  await assert.rejects(again.offerCode(CODE), isSpent);
});

Deno.test("ShareState after a wrong guess starts over with another code, also the next time and the time after", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    await guess(state, 1, SECRETS[0], false);
    assert.equal(state.code, null);
    await assert.rejects(state.offerCode(CODE), isSpent);
  }
  {
    await using state = await open(folder.path);
    assert.deepEqual(summary(state), ["spent", null, [], 1]);
    assert.match(state.notices.join(), /wrong guess/);
    await assert.rejects(state.offerCode(CODE), isSpent);
    await state.offerCode(OTHER_CODE);
    assert.equal(state.code, OTHER_CODE);
  }
  await using again = await open(folder.path);
  assert.deepEqual(summary(again), ["again", OTHER_CODE, [], 1]);
  await assert.rejects(again.offerCode(CODE), isSpent);
});

Deno.test("ShareState refuses a spent code also when it starts over because of a change, or freshly", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    await guess(state, 1, SECRETS[0], true);
  }
  {
    await using state = await open(folder.path, { isFresh: true });
    assert.deepEqual(summary(state), ["new", null, [], 1]);
    await assert.rejects(state.offerCode(CODE), isSpent);
    await state.offerCode(OTHER_CODE);
    await guess(state, 1, SECRETS[0], false);
  }
  await using state = await open(folder.path, { fingerprint: OTHER_FINGERPRINT });
  assert.equal(state.found, "changed");
  for (const code of [CODE, OTHER_CODE]) await assert.rejects(state.offerCode(code), isSpent);
});

Deno.test("ShareState to several lets in as many as it was told, each once", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path, { receivers: 3 });
    assert.equal(state.admissible, 3);
    await state.offerCode(CODE);
    await guess(state, 1, SECRETS[0], true);
    assert.deepEqual([state.code, state.admissible], [CODE, 2]);
    await guess(state, 2, SECRETS[1], true);
    await state.finished(1);
  }
  {
    await using state = await open(folder.path, { receivers: 3 });
    assert.deepEqual(summary(state), ["again", CODE, [B], 1]);
    await state.finished(1); // which is another one in this run
  }
  {
    await using state = await open(folder.path, { receivers: 3 });
    assert.deepEqual(summary(state), ["again", CODE, [], 1]);
    await guess(state, 1, SECRETS[0], true);
    assert.deepEqual([state.code, state.admissible], [null, 0]);
  }
  await using state = await open(folder.path, { receivers: 3 });
  assert.deepEqual(summary(state), ["again", null, [A], 0]);
});

Deno.test("ShareState to several goes on with those that were let in after a wrong guess, the others by a new code", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path, { receivers: 3 });
    await state.offerCode(CODE);
    await guess(state, 1, SECRETS[0], true);
    await guess(state, 2, SECRETS[1], false);
    assert.equal(state.code, null);
  }
  await using state = await open(folder.path, { receivers: 3 });
  assert.deepEqual(summary(state), ["again", null, [A], 2]);
  await assert.rejects(state.offerCode(CODE), isSpent);
  await state.offerCode(OTHER_CODE);
  assert.equal(state.code, OTHER_CODE);
});

Deno.test("ShareState never opens a code again by a right guess after a wrong one", async () => {
  await using state = await open(null, { receivers: 5 });
  await state.offerCode(CODE);
  await guess(state, 1, SECRETS[0], false);
  await guess(state, 2, SECRETS[1], true);
  assert.equal(state.code, null);
});

/** As a process that is killed leaves it: nothing is closed, only the lock is given back. */
async function kill(state: ShareState, folder: string): Promise<void> {
  const copy = await Deno.makeTempDir();
  assert.ok(await succeeds("cp", ["-a", `${folder}/.`, copy]));
  await state.forget();
  assert.ok(await succeeds("cp", ["-a", `${copy}/.`, folder]));
  await Deno.remove(copy, { recursive: true });
}

Deno.test("ShareState killed in a guess tries its secret, lets nobody else in, and gives it up if nobody comes by it", async () => {
  await using folder = await TempFolder.make("state");
  const begun = await open(folder.path);
  await begun.offerCode(CODE);
  await guess(begun, 1, SECRETS[0], false);
  await kill(begun, folder.path);
  {
    await using state = await open(folder.path);
    assert.deepEqual(summary(state), ["again", null, [A], 0]);
  }
  await using state = await open(folder.path);
  assert.deepEqual(summary(state), ["spent", null, [], 1]);
});

Deno.test("ShareState killed in a guess keeps the receiver that comes back by its secret", async () => {
  await using folder = await TempFolder.make("state");
  const begun = await open(folder.path);
  await begun.offerCode(CODE);
  await guess(begun, 1, SECRETS[0], false);
  await kill(begun, folder.path);
  {
    await using state = await open(folder.path);
    await state.paired(1);
    await state.paired(1);
  }
  await using state = await open(folder.path);
  assert.deepEqual(summary(state), ["again", null, [A], 0]);
});

Deno.test("ShareState killed when all were done, but before it was forgotten, is a new one", async () => {
  await using folder = await TempFolder.make("state");
  const done = await open(folder.path);
  await done.offerCode(CODE);
  await guess(done, 1, SECRETS[0], true);
  await done.finished(1);
  await kill(done, folder.path);
  await using state = await open(folder.path);
  assert.deepEqual(summary(state), ["new", null, [], 1]);
});

Deno.test("ShareState of what was changed starts over, says so, and knows no hash of before", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    state.hashes.keep(0, 1, randomBytes(32), true);
  }
  await using state = await open(folder.path, { fingerprint: OTHER_FINGERPRINT });
  assert.deepEqual(summary(state), ["changed", null, [], 1]);
  assert.match(
    state.notices.join(),
    /was changed since it was shared before: it starts over, with a new code/,
  );
  assert.equal(state.hashes.get(0, 1), null);
  // Nobody has guessed at it: so whoever chose it may choose it again.
  await state.offerCode(CODE);
});

Deno.test("ShareState knows the hashes of before, those that were to last", async () => {
  await using folder = await TempFolder.make("state");
  const hashes = [randomBytes(32), randomBytes(32)] as const;
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    state.hashes.keep(0, 0, hashes[0], true);
    state.hashes.keep(0, 1, hashes[1], false);
    assert.deepEqual(state.hashes.get(0, 1), hashes[1]);
  }
  {
    await using state = await open(folder.path);
    assert.deepEqual([0, 1, 2].map((chunk) => state.hashes.get(0, chunk)), [hashes[0], null, null]);
  }
  await using fresh = await open(folder.path, { isFresh: true });
  assert.equal(fresh.hashes.get(0, 0), null);
});

Deno.test("ShareState.forget() leaves nothing", async () => {
  await using folder = await TempFolder.make("state");
  const state = await open(folder.path);
  await state.offerCode(CODE);
  await guess(state, 1, SECRETS[0], true);
  state.hashes.keep(0, 0, randomBytes(32), true);
  await state.forget();
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
  await using again = await open(folder.path);
  assert.deepEqual(summary(again), ["new", null, [], 1]);
});

Deno.test("ShareState is another one for other paths, another order, another relay and more receivers", async () => {
  await using folder = await TempFolder.make("state");
  const keys: readonly ShareKey[] = [
    { what: ["/a", "/b"], relay: "r", receivers: 1 },
    { what: ["/b", "/a"], relay: "r", receivers: 1 },
    { what: ["/a"], relay: "r", receivers: 1 },
    { what: ["/a", "/b"], relay: "", receivers: 1 },
    { what: ["/a", "/b"], relay: "r", receivers: 2 },
  ];
  const paths = new Set<string | null>();
  for (const key of keys) {
    using place = await SharePlace.take(folder.path, key, systemClock);
    paths.add(place.path);
  }
  assert.equal(paths.size, keys.length);
});

Deno.test("SharePlace gives two processes that share the same a folder each, and each finds one again", async () => {
  await using folder = await TempFolder.make("state");
  const take = (): Promise<SharePlace> => SharePlace.take(folder.path, KEY, systemClock);
  const [first, second] = [await take(), await take()];
  assert.notEqual(first.path, second.path);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  const third = await take();
  assert.equal(third.path, first.path);
  third.remove();
  second[Symbol.dispose]();
  // Not a new one while there is one to go on with.
  const fourth = await take();
  assert.equal(fourth.path, second.path);
  fourth.remove();
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
});

Deno.test("SharePlace taken and removed by many at once is never two processes' at a time", async () => {
  await using folder = await TempFolder.make("state");
  const held = new Set<string>();
  const lane = async (): Promise<void> => {
    for (let round = 0; round < 25; round++) {
      const place = await SharePlace.take(folder.path, KEY, systemClock);
      assert.ok(place.path !== null, place.notice ?? "");
      assert.ok(!held.has(place.path), "taken twice");
      held.add(place.path);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
      held.delete(place.path);
      if (round % 2 === 0) place.remove();
      else place[Symbol.dispose]();
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
});

function inDays(days: number): Clock {
  return { ...systemClock, wallMs: () => Date.now() + days * DAY_MS };
}

Deno.test("SharePlace drops after a week what nobody came back to, whoever shares something then", async () => {
  await using folder = await TempFolder.make("state");
  const other: ShareKey = { ...KEY, what: ["/other"] };
  const names = (): number => [...Deno.readDirSync(folder.path)].length;
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
  }
  (await SharePlace.take(folder.path, other, inDays(6.9))).remove();
  assert.equal(names(), 1);
  (await SharePlace.take(folder.path, other, inDays(7.1))).remove();
  assert.equal(names(), 0);
});

Deno.test("SharePlace is taken although an old one cannot be, such as one of a run as root", async () => {
  await using folder = await TempFolder.make("state");
  await Deno.mkdir(`${folder.path}/share-0123456789abcdef-1/lock`, { recursive: true });
  using place = await SharePlace.take(folder.path, KEY, inDays(8));
  assert.deepEqual([place.notice, place.path === null], [null, false]);
});

Deno.test("SharePlace takes away what killed runs have left of streams, and leaves those of others that run", async () => {
  await using folder = await TempFolder.make("state");
  const paths: string[] = [];
  for (const name of ["killed", "running"]) {
    const place = await SharePlace.take(folder.path, { ...KEY, what: ["-", name] }, systemClock);
    if (name === "killed") place[Symbol.dispose]();
    await Deno.writeTextFile(`${place.path}/spool`, "all that came");
    await Deno.writeTextFile(`${place.path}/share.json`, "what goes on");
    paths.push(place.path ?? "");
    if (name === "killed") continue;
    (await SharePlace.take(folder.path, KEY, systemClock)).remove();
    const left = paths.map((path) => [...Deno.readDirSync(path)].map((entry) => entry.name).toSorted());
    assert.deepEqual(left, [["lock", "share.json"], ["lock", "share.json", "spool"]]);
    place.remove();
  }
});

Deno.test("SharePlace drops nothing that is in use, and nothing that is not its own", async () => {
  await using folder = await TempFolder.make("state");
  await Deno.writeTextFile(`${folder.path}/receive-of-somebody`, "");
  await Deno.mkdir(`${folder.path}/share-not-quite`);
  await using state = await open(folder.path);
  await state.offerCode(CODE);
  (await SharePlace.take(folder.path, { ...KEY, what: ["/other"] }, inDays(30))).remove();
  const names = [...Deno.readDirSync(folder.path)].map(({ name }) => name);
  assert.equal(names.length, 3);
});

Deno.test("ShareState works without a folder, as long as the process lives", async () => {
  await using state = await open(null);
  await state.offerCode(CODE);
  await guess(state, 1, SECRETS[0], false);
  assert.deepEqual(summary(state), ["new", null, [], 0]);
  await assert.rejects(state.offerCode(CODE), isSpent);
  await state.finished(1);
  await state.forget();
});

Deno.test("ShareState says why it keeps nothing where there can be no folder, and works", async () => {
  await using folder = await TempFolder.make("state");
  await Deno.writeTextFile(`${folder.path}/file`, "");
  await Deno.mkdir(`${folder.path}/open`);
  await Deno.chmod(`${folder.path}/open`, 0o770);
  for (const path of [`${folder.path}/file`, `${folder.path}/file/below`, `${folder.path}/open`]) {
    await using state = await open(path);
    assert.match(
      state.notices.join(),
      /could not keep anything in .*; so this share cannot go on after a restart/,
    );
    await state.offerCode(CODE);
    assert.equal(state.code, CODE);
  }
  assert.deepEqual([...Deno.readDirSync(`${folder.path}/open`)], []);
});

Deno.test({
  name: "ShareState says so where a permission is missing",
  permissions: { read: true },
  fn: async () => {
    await using state = await open("/tmp/postern-state-that-may-not-be");
    assert.match(state.notices.join(), /cannot go on after a restart/);
  },
});

Deno.test({
  ...unless(
    await mountObstacle(),
    "ShareState on a read-only disk says so and works, and finds nothing of before",
  ),
  fn: async () => {
    await using disk = await TinyDisk.mount(1024 * 1024);
    {
      await using state = await open(disk.path);
      await state.offerCode(CODE);
    }
    await disk.makeReadOnly();
    await using state = await open(disk.path);
    assert.match(state.notices.join(), /[Rr]ead-only file system/);
    assert.deepEqual(summary(state), ["new", null, [], 1]);
    await state.offerCode(CODE);
  },
});

Deno.test({
  ...unless(
    await mountObstacle(),
    "ShareState on a full disk lets no guess be looked at, and the code is gone",
  ),
  fn: async () => {
    await using disk = await TinyDisk.mount(1024 * 1024);
    await using state = await open(disk.path);
    await state.offerCode(CODE);
    await disk.fill();
    await assert.rejects(state.memoryOf(1).spend(SECRETS[0]), Failure);
    assert.equal(state.code, null);
    await Deno.remove(`${disk.path}/filler`);
  },
});

/** Fails at the step of this number, and writes down what is done. */
class FailingLayer implements FileLayer {
  readonly log: string[] = [];
  failAt = Infinity;

  async createNew(path: string, mode: number): ReturnType<FileLayer["createNew"]> {
    this.#step("create");
    const file = await systemFiles.createNew(path, mode);
    return {
      write: (bytes): Promise<number> => this.#does("write", () => file.write(bytes)),
      sync: (): Promise<void> => this.#does("sync", () => file.sync()),
      close: (): void => file.close(),
    };
  }
  rename(from: string, to: string): Promise<void> {
    return this.#does("rename", () => systemFiles.rename(from, to));
  }
  syncFolder(path: string): Promise<void> {
    return this.#does("sync folder", () => systemFiles.syncFolder(path));
  }
  remove(path: string): Promise<void> {
    return systemFiles.remove(path);
  }
  readFile(path: string): Promise<Uint8Array> {
    return systemFiles.readFile(path);
  }

  #does<T>(what: string, act: () => Promise<T>): Promise<T> {
    this.#step(what);
    return act();
  }
  #step(what: string): void {
    if (this.log.length === this.failAt) throw new Error(`invented trouble at ${what}`);
    this.log.push(what);
  }
}

const DURABLE = ["create", "write", "sync", "rename", "sync folder"];

Deno.test("ShareState settles each act that guards something only when it is durable", async () => {
  await using folder = await TempFolder.make("state");
  const layer = new FailingLayer();
  await using state = await open(folder.path, { layer });
  const acts: readonly (() => Promise<void>)[] = [
    () => state.offerCode(CODE),
    () => state.memoryOf(1).spend(SECRETS[0]),
    () => state.memoryOf(1).proven(SECRETS[0]),
    () => state.finished(1),
  ];
  for (const act of acts) {
    layer.log.length = 0;
    await act();
    assert.deepEqual(layer.log, DURABLE);
  }
});

Deno.test("ShareState rejects an act whose writing fails at any step, and does not offer the code any more", async () => {
  for (let failAt = 0; failAt < DURABLE.length; failAt++) {
    await using folder = await TempFolder.make("state");
    const layer = new FailingLayer();
    {
      await using state = await open(folder.path, { layer });
      await state.offerCode(CODE);
      layer.log.length = 0;
      layer.failAt = failAt;
      await assert.rejects(state.memoryOf(1).spend(SECRETS[0]), Failure, DURABLE[failAt]);
      assert.equal(state.code, null);
      layer.failAt = Infinity;
    }
    await using again = await open(folder.path);
    assert.deepEqual(summary(again), ["spent", null, [], 1], "it is written when the disk works again");
  }
});

Deno.test("ShareState.finished() is no failure if it cannot be kept", async () => {
  await using folder = await TempFolder.make("state");
  const layer = new FailingLayer();
  await using state = await open(folder.path, { layer });
  await state.offerCode(CODE);
  await guess(state, 1, SECRETS[0], true);
  layer.failAt = layer.log.length;
  await state.finished(1);
  assert.equal(layer.log.length, layer.failAt);
});

Deno.test("ShareState keeps the order of acts that are under way at once", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path, { receivers: 2 });
    await Promise.all([
      state.offerCode(CODE),
      state.memoryOf(1).spend(SECRETS[0]),
      state.memoryOf(1).proven(SECRETS[0]),
      state.memoryOf(2).spend(SECRETS[1]),
      state.memoryOf(2).proven(SECRETS[1]),
      state.finished(1),
    ]);
  }
  await using again = await open(folder.path, { receivers: 2 });
  assert.deepEqual(summary(again), ["again", null, [B], 0]);
});

Deno.test("ShareState takes a record that it cannot read for none, and repeats nothing of it", async () => {
  await using folder = await TempFolder.make("state");
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
  }
  const [{ name = "" } = {}] = [...Deno.readDirSync(folder.path)];
  const path = `${folder.path}/${name}/share.json`;
  const good = await Deno.readTextFile(path);
  const bad = [
    "",
    good.slice(0, -5),
    good.replace('"version":1', '"version":2'),
    good.replace(/"fingerprint":"[0-9a-f]{2}/, '"fingerprint":"'),
    good.replace('"openGuesses":0', '"openGuesses":-1'),
    good.replace('"admitted":0', '"admitted":"0"'),
    good.replace('"pairings":[]', '"pairings":[{"secret":"4711","isProven":true}]'),
    good.replace('"pairings":[]', `"pairings":[{"secret":"${A}"}]`),
    good.replace('"spentCodes":[]', '"spentCodes":[4711]'),
    "[]",
    "null",
    "4711",
  ];
  for (const text of bad) {
    assert.notEqual(text, good);
    await Deno.writeTextFile(path, text);
    await using state = await open(folder.path);
    assert.deepEqual(summary(state), ["new", null, [], 1], text);
    assert.match(state.notices.join(), /could not read what was kept of this share.*it starts over/);
    assert.doesNotMatch(state.notices.join(), /4711/);
  }
});

const WITH_PROTOTYPE = { noNullPrototype: true } as const;

Deno.test("parseRecord() gives back what formatRecord() was given", () => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((each) => new Uint8Array(each));
  const record: fc.Arbitrary<ShareRecord> = fc.record({
    fingerprint: bytes,
    modifiedMs: fc.option(fc.nat()),
    code: fc.option(fc.string()),
    openGuesses: fc.nat(),
    admitted: fc.nat(),
    pairings: fc.array(fc.record({ secret: bytes, isProven: fc.boolean() }, WITH_PROTOTYPE), {
      maxLength: 4,
    }),
    spentCodes: fc.array(fc.string(), { maxLength: 4 }),
  }, WITH_PROTOTYPE);
  holds(fc.property(record, (each) => assert.deepEqual(parseRecord(formatRecord(each)), each)));
});

Deno.test("ShareState does not change the secrets that it was given, nor is it changed by them", async () => {
  await using folder = await TempFolder.make("state");
  const secret = SECRETS[0].slice();
  {
    await using state = await open(folder.path);
    await state.offerCode(CODE);
    await state.memoryOf(1).spend(secret);
    secret.fill(0);
    await state.memoryOf(1).proven(secret);
  }
  await using again = await open(folder.path);
  assert.deepEqual(summary(again), ["again", null, [A], 0]);
});
