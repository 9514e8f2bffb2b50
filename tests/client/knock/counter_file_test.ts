import assert from "node:assert/strict";
import { MAX_COUNTER } from "../../../src/client/knock/counter.ts";
import { COUNTER_FILE_BYTES, CounterFile } from "../../../src/client/knock/counter_file.ts";
import type { Clock } from "../../../src/system/clock.ts";
import { describeError, Failure } from "../../../src/system/failure.ts";
import { acquireLock } from "../../../src/system/lock.ts";
import { TempFolder } from "./temp_folder.ts";

const NOW = 1_795_254_818_000_000_000n;

class SettableClock implements Clock {
  ns = NOW;
  wallNs(): bigint {
    return this.ns;
  }
  wallMs(): number {
    return Number(this.ns / 1_000_000n);
  }
  monotonicMs(): number {
    return 0;
  }
}

/** 16 bytes, written here by hand and not by the code under test. */
function counterBytes(counter: bigint): Uint8Array<ArrayBuffer> {
  const hex = counter.toString(16).padStart(2 * COUNTER_FILE_BYTES, "0");
  return Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

function isRecoverable(error: unknown, path: string): boolean {
  return error instanceof Failure && error.hint?.includes("postern client reseed") === true &&
    describeError(error).includes(path);
}

Deno.test("CounterFile.next() makes the folder and a file of 16 bytes for nobody else to read", async () => {
  using folder = new TempFolder();
  const config = `${folder.path}/deep/er/postern`;
  const { counter } = await new CounterFile(config, new SettableClock()).next();
  assert.equal(counter, NOW);
  assert.deepEqual(await Deno.readFile(`${config}/counter`), counterBytes(NOW));
  assert.equal(((await Deno.stat(`${config}/counter`)).mode ?? 0) & 0o777, 0o600);
  assert.equal(((await Deno.stat(config)).mode ?? 0) & 0o777, 0o700);
  const names = [...Deno.readDirSync(config)].map((entry) => entry.name).sort();
  assert.deepEqual(names, ["client.lock", "counter"]);
});

Deno.test("CounterFile.next() goes on from the file when the clock was set back", async () => {
  using folder = new TempFolder();
  const clock = new SettableClock();
  const file = new CounterFile(folder.path, clock);
  await file.next();
  clock.ns = NOW - 86_400_000_000_000n;
  assert.equal((await file.next()).counter, NOW + 1n);
  assert.equal((await new CounterFile(folder.path, clock).next()).counter, NOW + 2n);
  assert.deepEqual(await Deno.readFile(file.path), counterBytes(NOW + 2n));
});

Deno.test("CounterFile.next() stores the counter before it gives it", async () => {
  using folder = new TempFolder();
  const file = new CounterFile(folder.path, new SettableClock());
  for (let i = 0; i < 3; i++) {
    const { counter } = await file.next();
    assert.deepEqual(await Deno.readFile(file.path), counterBytes(counter));
  }
});

for (const bytes of [0, 1, 15, 17, 1000]) {
  Deno.test(`CounterFile refuses a file of ${bytes} bytes and leaves it untouched`, async () => {
    using folder = new TempFolder();
    const file = new CounterFile(folder.path, new SettableClock());
    const content = new Uint8Array(bytes).fill(7);
    await Deno.writeFile(file.path, content);
    await assert.rejects(file.next(), (error) => isRecoverable(error, file.path));
    await assert.rejects(file.peek(), (error) => isRecoverable(error, file.path));
    assert.deepEqual(await Deno.readFile(file.path), content);
  });
}

Deno.test("CounterFile refuses a counter that cannot be read, and leaves it", async () => {
  using folder = new TempFolder();
  const file = new CounterFile(folder.path, new SettableClock());
  // A folder in its place cannot be read by root either.
  await Deno.mkdir(file.path);
  await assert.rejects(file.next(), (error) => isRecoverable(error, file.path));
  assert((await Deno.stat(file.path)).isDirectory);
});

Deno.test("CounterFile refuses to overflow and leaves the file untouched", async () => {
  using folder = new TempFolder();
  const file = new CounterFile(folder.path, new SettableClock());
  await Deno.writeFile(file.path, counterBytes(MAX_COUNTER));
  await assert.rejects(file.next(), (error) => error instanceof Failure && /largest/.test(error.message));
  assert.deepEqual(await Deno.readFile(file.path), counterBytes(MAX_COUNTER));
});

Deno.test("CounterFile passes on the warning of a counter far ahead, and still counts", async () => {
  using folder = new TempFolder();
  const file = new CounterFile(folder.path, new SettableClock());
  const ahead = NOW + 3_600_000_000_001n;
  await Deno.writeFile(file.path, counterBytes(ahead));
  const { counter, warning } = await file.next();
  assert.equal(counter, ahead + 1n);
  assert.match(warning ?? "", /more than an hour ahead/);
});

Deno.test("CounterFile.peek() makes and changes nothing", async () => {
  using folder = new TempFolder();
  const file = new CounterFile(`${folder.path}/none`, new SettableClock());
  assert.equal((await file.peek()).counter, NOW);
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
});

Deno.test("CounterFile.reseed() sets the present time whatever the file holds", async () => {
  for (const content of [null, new Uint8Array(3), counterBytes(MAX_COUNTER), counterBytes(NOW + 5n)]) {
    using folder = new TempFolder();
    const file = new CounterFile(folder.path, new SettableClock());
    if (content !== null) await Deno.writeFile(file.path, content);
    const { previous, counter } = await file.reseed();
    assert.equal(counter, NOW);
    assert.equal(previous === null, content === null || content.length !== COUNTER_FILE_BYTES);
    assert.deepEqual(await Deno.readFile(file.path), counterBytes(NOW));
  }
});

Deno.test("CounterFile.next() waits for another holder of the lock", async () => {
  using folder = new TempFolder();
  const held = await acquireLock(`${folder.path}/client.lock`, { timeoutMs: 0 });
  const waiting = new CounterFile(folder.path, new SettableClock()).next();
  held[Symbol.dispose]();
  assert.equal((await waiting).counter, NOW);
});
