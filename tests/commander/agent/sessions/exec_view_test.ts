import assert from "node:assert/strict";
import { ExecView } from "../../../../src/commander/agent/sessions/exec_view.ts";
import { FakeTimers } from "../../../protocol/rpc/fake_timers.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const bytes = new TextEncoder().encode("late");

Deno.test("ExecView gives output that comes after the program has ended, until there is silence", async () => {
  const timers = new FakeTimers();
  const stdout = new TransformStream<Bytes, Bytes>(), stderr = new TransformStream<Bytes, Bytes>();
  let taken = 0, over = 0;
  const view = new ExecView({
    stdout: stdout.readable,
    stderr: stderr.readable,
    timers,
    taken: (count) => taken += count,
    over: () => over++,
  });
  view.finish({ exitCode: 5 });
  await timers.pass(249);
  const writer = stdout.writable.getWriter();
  const first = view.next();
  void writer.write(bytes).catch(() => {});
  assert.deepEqual((await first).value, { stdout: bytes });
  const last = view.next();
  let isLast = false;
  void last.then(() => isLast = true);
  await timers.pass(249);
  assert.equal(isLast, false);
  await timers.pass(1);
  assert.deepEqual((await last).value, { exitCode: 5 });
  assert.deepEqual([taken, over], [bytes.length, 1]);
  assert.equal((await view.next()).done, true);
  assert.equal(timers.pending, 0);
});

Deno.test("ExecView is not silent while its caller takes its time", async () => {
  const timers = new FakeTimers();
  const stdout = new TransformStream<Bytes, Bytes>(), stderr = new TransformStream<Bytes, Bytes>();
  const view = new ExecView({
    stdout: stdout.readable,
    stderr: stderr.readable,
    timers,
    taken: () => {},
    over: () => {},
  });
  await stderr.writable.close();
  const writer = stdout.writable.getWriter();
  void writer.write(bytes);
  void writer.write(bytes);
  void writer.close();
  view.finish({ exitCode: 0 });
  await timers.pass(10_000);
  const items = [];
  for await (const item of view) items.push(item);
  assert.deepEqual(items, [{ stdout: bytes }, { stdout: bytes }, { exitCode: 0 }]);
});
