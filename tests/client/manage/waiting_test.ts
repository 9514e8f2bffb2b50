import assert from "node:assert/strict";
import { waitFor } from "../../../src/client/manage/waiting.ts";
import { FakeTimers } from "../../protocol/rpc/fake_timers.ts";

function wait(
  timers: FakeTimers,
  signal?: AbortSignal,
): { notices: string[] } & Parameters<typeof waitFor>[0] {
  const notices: string[] = [];
  return {
    notices,
    what: "web1 to answer",
    timeoutMs: 10_000,
    timers,
    onNotice: (line: string): void => void notices.push(line),
    ...(signal === undefined ? {} : { signal }),
  };
}

Deno.test("waitFor() says nothing of what is there within a second, and leaves no timer behind", async () => {
  const timers = new FakeTimers(), how = wait(timers);
  const { promise, resolve } = Promise.withResolvers<string>();
  const waiting = waitFor(how, () => promise);
  await timers.pass(999);
  resolve("there");
  assert.equal(await waiting, "there");
  assert.equal(timers.pending, 0);
  assert.deepEqual(how.notices, []);
});

Deno.test("waitFor() says after a second what is waited for, once, and how long", async () => {
  const timers = new FakeTimers(), how = wait(timers);
  const { promise, resolve } = Promise.withResolvers<string>();
  const waiting = waitFor(how, () => promise);
  await timers.pass(5_000);
  assert.deepEqual(how.notices, ["waiting for web1 to answer, 10 s at most"]);
  resolve("late");
  assert.equal(await waiting, "late");
});

Deno.test("waitFor() ends, and aborts what it waits for", async () => {
  const timers = new FakeTimers(), how = wait(timers);
  let given: AbortSignal | null = null;
  const waiting = waitFor(how, (signal) => {
    given = signal;
    return new Promise(() => {});
  });
  const failed = assert.rejects(waiting, {
    name: "Failure",
    message: "waited 10 s in vain for web1 to answer",
  });
  await timers.pass(10_000);
  await failed;
  assert.equal((given as AbortSignal | null)?.aborted, true);
});

Deno.test("waitFor() throws the reason of the signal, also before it begins", async () => {
  const timers = new FakeTimers(), giveUp = new AbortController(), reason = new Error("Ctrl-C");
  const waiting = waitFor(
    wait(timers, giveUp.signal),
    (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("cancelled")))),
  );
  giveUp.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(waitFor(wait(timers, giveUp.signal), () => assert.fail("begun")), reason);
  assert.equal(timers.pending, 0);
});

Deno.test("waitFor() passes on what the work fails with", async () => {
  const timers = new FakeTimers(), error = new Error("refused");
  await assert.rejects(waitFor(wait(timers), () => Promise.reject(error)), error);
  assert.equal(timers.pending, 0);
});
