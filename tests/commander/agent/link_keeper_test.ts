import assert from "node:assert/strict";
import { LinkKeeper } from "../../../src/commander/agent/link_keeper.ts";
import { EARLY_OUTAGE_MS } from "../../../src/protocol/manage/reconnect.ts";
import { ResetError } from "../../../src/protocol/manage/reset_code.ts";
import { Log } from "../../../src/system/log.ts";
import { FakeTimers, settled } from "../../protocol/rpc/fake_timers.ts";

const MAX_EARLY_MS = 10_000, MAX_LATE_MS = 60_000;

interface Kept {
  readonly timers: FakeTimers;
  /** When each attempt was made. */
  readonly attempts: number[];
  /** What time each one was given. */
  readonly times: (number | undefined)[];
  readonly lines: string[];
  readonly stop: AbortController;
  readonly done: Promise<void>;
  /** Ends the link that stands. */
  lose(error?: ResetError): void;
}

/** A keeper whose attempts come out as the script says: an error, or "link". The last one is repeated. */
function keep(script: readonly (Error | "link")[], random: () => number): Kept {
  const timers = new FakeTimers(), attempts: number[] = [], lines: string[] = [];
  const times: (number | undefined)[] = [];
  const stop = new AbortController();
  let lose = (_error: ResetError): void => {};
  const keeper = new LinkKeeper<"link">({
    dial: (_signal, timeMs) => {
      times.push(timeMs);
      const outcome = script[Math.min(attempts.length, script.length - 1)] ?? "link";
      attempts.push(timers.monotonicMs());
      return outcome === "link" ? Promise.resolve(outcome) : Promise.reject(outcome);
    },
    serve: () => new Promise<ResetError>((resolve) => lose = resolve),
    timers,
    random,
    log: new Log({ role: "agent", format: "text", write: (line) => void lines.push(line) }),
  });
  const done = keeper.run(stop.signal);
  return {
    timers,
    attempts,
    times,
    lines,
    stop,
    done,
    lose: (error = new ResetError("lost", "here", "the link is gone")) => lose(error),
  };
}

const unreachable = new Error("nobody listens there");

Deno.test("LinkKeeper dials at once, then after random pauses of at most 10 s, after ten minutes of 60 s", async () => {
  const kept = keep([unreachable], () => 0.999_999);
  await kept.timers.pass(2 * EARLY_OUTAGE_MS);
  kept.stop.abort();
  await kept.done;
  const [first, ...later] = kept.attempts;
  assert.equal(first, 0);
  const pauses = later.map((atMs, index) => ({ atMs, ms: atMs - (kept.attempts[index] ?? 0) }));
  const early = pauses.filter(({ atMs }) => atMs <= EARLY_OUTAGE_MS), late = pauses.slice(early.length + 1);
  assert.ok(early.length >= 59 && late.length >= 8, `${early.length} early, ${late.length} late`);
  assert.ok(early.every(({ ms }) => ms <= MAX_EARLY_MS && ms > 0.99 * MAX_EARLY_MS));
  assert.ok(late.every(({ ms }) => ms <= MAX_LATE_MS && ms > 0.99 * MAX_LATE_MS));
});

Deno.test("LinkKeeper uses the whole of the jitter", async () => {
  const kept = keep([unreachable], () => 0.25);
  await kept.timers.pass(2_500 * 3);
  kept.stop.abort();
  await kept.done;
  assert.deepEqual(kept.attempts, [0, 2_500, 5_000, 7_500]);
});

Deno.test("LinkKeeper dials a lost link at once again, but not one that is lost again and again", async () => {
  const kept = keep(["link"], () => 0.5);
  await kept.timers.pass(1_000);
  kept.lose();
  await kept.timers.pass(0);
  assert.deepEqual(kept.attempts, [0, 1_000]);
  kept.lose();
  await kept.timers.pass(0);
  assert.equal(kept.attempts.length, 2);
  await kept.timers.pass(5_000);
  assert.deepEqual(kept.attempts, [0, 1_000, 6_000]);
  await kept.timers.pass(10_000);
  kept.lose();
  await kept.timers.pass(0);
  assert.equal(kept.attempts.length, 4);
  kept.stop.abort();
  kept.lose();
  await kept.done;
});

Deno.test("LinkKeeper counts an outage from the loss of the link", async () => {
  const kept = keep(["link", unreachable], () => 0.5);
  // A link that stood for a day: what follows is the beginning of an outage.
  await kept.timers.pass(86_400_000);
  kept.lose();
  await kept.timers.pass(5_000);
  assert.equal(kept.attempts.length, 3);
  kept.stop.abort();
  await kept.done;
});

Deno.test("LinkKeeper asks a server that refuses it more slowly, for ever, and says so once", async () => {
  const refused = new ResetError("revoked", "there", "web1 was revoked");
  const kept = keep([refused], () => 0.5);
  await kept.timers.pass(5 * 60_000);
  assert.deepEqual(kept.attempts.slice(0, 4), [0, 30_000, 60_000, 90_000]);
  assert.equal(kept.lines.length, 1);
  assert.match(
    kept.lines[0] ?? "",
    /WARN agent: no link to the server reason=revoked error="web1 was revoked"/,
  );
  kept.stop.abort();
  await kept.done;
});

Deno.test("LinkKeeper does not ring at once at a server that has ended the link for good", async () => {
  const kept = keep(["link"], () => 0.5);
  await kept.timers.pass(60_000);
  kept.lose(new ResetError("revoked", "there", "web1 was revoked"));
  await kept.timers.pass(29_999);
  assert.equal(kept.attempts.length, 1);
  await kept.timers.pass(1);
  assert.equal(kept.attempts.length, 2);
  kept.stop.abort();
  kept.lose();
  await kept.done;
});

Deno.test("LinkKeeper has more patience with each third attempt of a long outage, and with none of a short one", async () => {
  const kept = keep([unreachable], () => 0.5);
  await kept.timers.pass(3 * 60_000);
  kept.stop.abort();
  await kept.done;
  const early = kept.attempts.findIndex((atMs) => atMs >= 2 * 60_000);
  assert.deepEqual(new Set(kept.times.slice(0, early)), new Set([undefined]));
  const late = kept.times.slice(early);
  assert.ok(late.length >= 12);
  assert.equal(late.filter((timeMs) => timeMs === 20_000).length, Math.floor(late.length / 3));
});

Deno.test("LinkKeeper says another trouble at once, and each again after ten minutes", async () => {
  const refused = new ResetError("in_use", "there", "another living link has this key");
  const kept = keep([unreachable, unreachable, refused, unreachable], () => 0.5);
  await kept.timers.pass(11 * 60_000);
  kept.stop.abort();
  await kept.done;
  const reasons = kept.lines.map((line) => /reason=(\w+)/.exec(line)?.[1]);
  assert.deepEqual(reasons, ["unreachable", "in_use", "unreachable"]);
});

Deno.test("LinkKeeper goes on after a jump of the clock, as a sleep makes it", async () => {
  const kept = keep([unreachable, "link"], () => 0.5);
  await settled();
  // No timer fires in between; then it is tomorrow.
  await kept.timers.pass(24 * 3_600_000);
  assert.equal(kept.attempts.length, 2);
  kept.stop.abort();
  kept.lose();
  await kept.done;
});

Deno.test("LinkKeeper ends in the middle of a pause", async () => {
  const kept = keep([unreachable], () => 0.5);
  await kept.timers.pass(1);
  kept.stop.abort();
  await kept.done;
  assert.equal(kept.timers.pending, 0);
});
