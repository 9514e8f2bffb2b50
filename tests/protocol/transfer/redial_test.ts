import assert from "node:assert/strict";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { TransferEvent } from "../../../src/protocol/transfer/events.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { DEFAULT_LIMITS, SILENCE_MS } from "../../../src/protocol/transfer/limits.ts";
import { Backoff, GraceTime, pause } from "../../../src/protocol/transfer/redial.ts";
import { redialledSessions, type Session } from "../../../src/protocol/transfer/redialled_sessions.ts";
import { meet, type Met } from "../../../src/protocol/transfer/rendezvous.ts";
import { MemoryRelay } from "./memory_relay.ts";
import { Dice, RelayClock } from "./memory_relay_clock.ts";
import { GuessBook } from "./memory_relay_parties.ts";

const GRACE_MS = 60_000;

/** Random bytes that are all the same. */
function always(byte: number): (length: number) => Uint8Array<ArrayBuffer> {
  return (length) => new Uint8Array(length).fill(byte);
}

Deno.test("Backoff pauses 0.5 s at least, and up to 1, 2, 4 and then always 5 s", () => {
  const shortest = new Backoff(always(0)), longest = new Backoff(always(0xff));
  const tries = Array.from({ length: 6 }, () => [shortest.nextMs(), Math.round(longest.nextMs())]);
  assert.deepEqual(tries, [[500, 1000], [500, 2000], [500, 4000], [500, 5000], [500, 5000], [500, 5000]]);
  longest.reset();
  assert.equal(Math.round(longest.nextMs()), 1000);
});

Deno.test("GraceTime begins anew after a session that moved something, and only then", async () => {
  const timers = new RelayClock();
  const grace = new GraceTime({ graceMs: GRACE_MS, timers, random: always(0xff) });
  assert.equal(grace.untilMs, GRACE_MS);
  await timers.pass(10_000);
  grace.lost(false);
  assert.deepEqual([grace.untilMs, Math.round(grace.pauseMs)], [GRACE_MS, 1000]);
  grace.lost(false);
  assert.equal(Math.round(grace.pauseMs), 2000);
  grace.lost(true);
  assert.equal(grace.untilMs, 10_000 + GRACE_MS);
  assert(grace.pauseMs > 200 && grace.pauseMs < 250, "not in step with all others that lost the same relay");
  grace.lost(false);
  assert.equal(Math.round(grace.pauseMs), 1000);
  await timers.pass(GRACE_MS - 300);
  assert.equal(grace.pauseMs, 300, "no longer than the grace time");
  await timers.pass(1_000);
  assert.equal(grace.pauseMs, 0);
});

Deno.test("pause() ends at its time, or at once by the signal, and leaves no timer", async () => {
  const timers = new RelayClock(), stop = new AbortController(), reason = new Error("enough");
  const first = pause(1_000, timers, stop.signal), second = pause(2_000, timers, stop.signal);
  const refused = assert.rejects(second, reason);
  await timers.pass(1_000);
  await first;
  stop.abort(reason);
  await refused;
  await assert.rejects(pause(1, timers, stop.signal), reason);
  assert.equal(timers.pending, 0);
});

/** A sender's sessions as a test wants them, and a receiver that comes back each time. */
class Stage {
  readonly clock = new RelayClock();
  readonly dice = new Dice(1);
  readonly relay = new MemoryRelay(() => this.clock.monotonicMs());
  readonly secret = this.dice.bytes(32);
  readonly stop = new AbortController();
  readonly events: TransferEvent[] = [];
  sessions = 0;

  /** Meets, once; the connection is held until the other side closes it. */
  meet(role: "sender" | "receiver"): Promise<Met> {
    return meet({
      dial: this.relay.dialFor(role),
      pairing: {
        role,
        rendezvous: { kind: "resume", secret: this.secret },
        sendIdentifier: true,
        memory: new GuessBook(),
      },
      untilMs: this.clock.monotonicMs() + 10 * GRACE_MS,
      graceMs: GRACE_MS,
      timers: this.clock,
      random: this.dice.bytes,
      signal: this.stop.signal,
      onWaiting: () => {},
      onUnreachable: () => {},
    });
  }

  async run(session: Session): Promise<void> {
    const other = this.#comeBack();
    try {
      await redialledSessions(await this.meet("sender"), {
        role: "sender",
        dial: this.relay.dialFor("sender"),
        throughRelay: true,
        graceMs: GRACE_MS,
        timers: this.clock,
        random: this.dice.bytes,
        signal: this.stop.signal,
        onEvent: (event) => void this.events.push(event),
        receiver: 1,
        secret: this.secret,
        memory: new GuessBook(),
        limits: DEFAULT_LIMITS,
        session: (channel, onEvent) => (this.sessions++, session(channel, onEvent)),
        isComplete: () => false,
      });
    } finally {
      this.stop.abort(new Error("over"));
      await other.catch(() => {});
    }
  }

  /** What a run ended with, in whatever time of the clock that takes. */
  async outcome(run: Promise<void>): Promise<unknown> {
    const outcome = run.then(() => "done", (error) => error);
    await this.clock.settle([outcome], 20 * GRACE_MS);
    assert.deepEqual([this.clock.pending, this.relay.open], [0, 0]);
    return await outcome;
  }

  async #comeBack(): Promise<void> {
    for (;;) {
      const { connection } = await this.meet("receiver");
      await connection.read(new Uint8Array(1)).catch(() => null);
      connection.close();
    }
  }
}

function failed(code: TransferErrorCode, side: "here" | "there" = "here"): TransferError {
  return new TransferError(code, "it ended", { side });
}

Deno.test("redialledSessions() redials after a lost link, and not after what the other side has ended", async () => {
  for (const code of ["lost", "silent"] as const) {
    const stage = new Stage();
    const twice: Session = () => stage.sessions < 3 ? Promise.reject(failed(code)) : Promise.resolve();
    assert.equal(await stage.outcome(stage.run(twice)), "done");
    const again = { event: "paired", receiver: 1, resumed: true };
    const interrupted = { event: "interrupted", receiver: 1, reason: code, message: "it ended" };
    assert.deepEqual(stage.events, [interrupted, again, interrupted, again]);
  }
  for (
    const failure of [failed("lost", "there"), failed("tampered"), failed("malformed"), new Error("a fault")]
  ) {
    const stage = new Stage();
    assert.equal(await stage.outcome(stage.run(() => Promise.reject(failure))), failure);
    assert.deepEqual([stage.sessions, stage.events], [1, []]);
  }
});

Deno.test("redialledSessions() counts as progress what was accepted, received or done, when it is more than before", async () => {
  const moving: Record<string, (session: number) => Parameters<Parameters<Session>[1]>[0]> = {
    accepted: (session) => ({ event: "accepted", missingBytes: 1_000 - session }),
    progress: (session) => ({
      event: "progress",
      receivedBytes: session * CHUNK_BYTES,
      file: 0,
      fileBytes: 0,
    }),
    file_done: (session) => ({ event: "file_done", file: session }),
  };
  const SESSIONS = 200;
  for (const [name, event] of Object.entries(moving)) {
    const stage = new Stage();
    const outcome = await stage.outcome(stage.run(async (_, onEvent) => {
      await stage.clock.pause(1_000);
      onEvent(event(stage.sessions));
      if (stage.sessions < SESSIONS) throw failed("lost");
    }));
    assert.equal(outcome, "done", `${name}: it goes on for longer than the grace time`);
    const idle = new Stage();
    const failure = await idle.outcome(idle.run(async (_, onEvent) => {
      await idle.clock.pause(1_000);
      onEvent(event(1));
      throw failed("lost");
    }));
    assert(failure instanceof TransferError && failure.code === "lost");
    assert(idle.sessions < GRACE_MS / 1_000, `${name}: the same again is none; ${idle.sessions} sessions`);
  }
});

Deno.test("redialledSessions() is held no longer than the grace time by a relay that lets one more byte of a chunk pass each time", async () => {
  const stage = new Stage();
  const outcome = await stage.outcome(stage.run(async (_, onEvent) => {
    await stage.clock.pause(1_000);
    onEvent({ event: "progress", receivedBytes: stage.sessions, file: 0, fileBytes: stage.sessions });
    throw failed("lost");
  }));
  assert(outcome instanceof TransferError && outcome.code === "lost");
  assert(stage.sessions < GRACE_MS / 1_000, `${stage.sessions} sessions`);
});

Deno.test("redialledSessions() is held no longer than the grace time by a relay that lets both prove themselves and then is silent", async () => {
  for (const code of ["silent", "lost"] as const) {
    const stage = new Stage();
    const outcome = await stage.outcome(stage.run(async () => {
      // The one that looks first hangs up, a little after the time is over; the other one finds the link lost.
      await stage.clock.pause(SILENCE_MS + 100);
      throw failed(code);
    }));
    assert(outcome instanceof TransferError && outcome.code === "lost");
    assert(stage.clock.monotonicMs() <= GRACE_MS + SILENCE_MS + 100, `${stage.clock.monotonicMs()} ms`);
  }
});

Deno.test("redialledSessions() closes the connection by its signal, whatever the session is at", async () => {
  const stage = new Stage();
  const reason = new Error("enough");
  const run = stage.run(async (channel) => void await channel.receive());
  const outcome = stage.outcome(run);
  stage.clock.later(5_000, () => stage.stop.abort(reason));
  assert.equal(await outcome, reason);
  assert.equal(stage.clock.monotonicMs(), 5_000);
});
