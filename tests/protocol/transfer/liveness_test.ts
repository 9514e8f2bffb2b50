import assert from "node:assert/strict";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { Liveness, type LivenessHooks } from "../../../src/protocol/transfer/liveness.ts";
import type { DataMessage, TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { MemoryChannel } from "./memory_channel.ts";
import { RelayClock } from "./memory_relay_clock.ts";
import { fileEntry, hashOf, MemorySource, someBytes } from "./memory_source.ts";
import { failed, said, saidMessage, type Victim, victimReceiver, victimSender } from "./session_stage.ts";

const FILE = someBytes(2 * CHUNK_BYTES + 1);

async function say(
  victim: Victim,
  ...messages: readonly Exclude<TransferMessage, DataMessage>[]
): Promise<void> {
  for (const message of messages) await victim.there.send(message);
}

/** Everything up to a step, from which on the test says nothing. */
type Step = (victim: Victim) => Promise<void>;

async function offered(victim: Victim): Promise<void> {
  await say(victim, { type: "offer", kind: "files", entries: 1, totalBytes: FILE.length }, {
    type: "entries",
    entries: [fileEntry("a", FILE.length)],
  });
}

function chunksSent(count: number): Step {
  return async (victim) => {
    await offered(victim);
    await saidMessage(victim, "want");
    for (let chunk = 0; chunk < count; chunk++) {
      const bytes = FILE.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
      await victim.there.sendChunk({ type: "data", file: 0, chunk }, bytes);
    }
  };
}

async function allSent(victim: Victim): Promise<void> {
  await chunksSent(3)(victim);
  await say(victim, { type: "hash", file: 0, hash: await hashOf(FILE) });
}

/** What a receiver says up to the step at which its sender falls silent, and that it ends 15 s later. */
const SILENT_SENDERS: Readonly<Record<string, { readonly step: Step; readonly says: readonly string[] }>> = {
  "before its offer": { step: () => Promise.resolve(), says: [] },
  "in the middle of its offer": {
    step: (victim) => say(victim, { type: "offer", kind: "files", entries: 2, totalBytes: 5 }),
    says: [],
  },
  "behind its offer, while a person thinks": {
    step: async (victim) => {
      (victim as ReturnType<typeof victimReceiver>).sink.before = (): Promise<void> => new Promise(() => {});
      await offered(victim);
    },
    says: [],
  },
  "behind its offer": { step: offered, says: ["want"] },
  "behind the wants": { step: chunksSent(0), says: [] },
  "between chunks": { step: chunksSent(2), says: [] },
  "before a hash": { step: chunksSent(3), says: [] },
  "before its end": { step: allSent, says: ["done"] },
};

for (const [when, { step, says }] of Object.entries(SILENT_SENDERS)) {
  Deno.test(`receiveSession() ends as silent 15 s after the sender fell silent ${when}`, async () => {
    const victim = victimReceiver();
    await step(victim);
    await fallsSilent(victim, says);
  });
}

async function hearOffer(victim: Victim): Promise<void> {
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
}

async function wantAll(victim: Victim): Promise<void> {
  await hearOffer(victim);
  await say(victim, { type: "want", ranges: [{ file: 0, first: 0, count: 3 }], last: true });
}

const SILENT_RECEIVERS: Readonly<Record<string, { readonly step: Step; readonly says: readonly string[] }>> =
  {
    "at once": { step: () => Promise.resolve(), says: ["offer", "entries"] },
    "behind the offer": { step: hearOffer, says: [] },
    "in the middle of its wants": {
      step: async (victim) => {
        await hearOffer(victim);
        await say(victim, { type: "want", ranges: [{ file: 0, first: 0, count: 1 }], last: false });
      },
      says: [],
    },
    "behind its wants": { step: wantAll, says: ["data", "data", "data", "hash"] },
    "behind the first chunk": {
      step: async (victim) => {
        await wantAll(victim);
        await saidMessage(victim, "data");
      },
      says: ["data", "data", "hash"],
    },
    "behind the last hash": {
      step: async (victim) => {
        await wantAll(victim);
        while ((await said(victim))?.message.type !== "hash");
      },
      says: [],
    },
  };

for (const [when, { step, says }] of Object.entries(SILENT_RECEIVERS)) {
  Deno.test(`sendSession() ends as silent 15 s after the receiver fell silent ${when}`, async () => {
    const victim = victimSender(new MemorySource(new Map([["a", FILE]])));
    await step(victim);
    await fallsSilent(victim, says);
  });
}

Deno.test("sendSession() ends as silent while the receiver that fell silent does not read either", async () => {
  const victim = victimSender(new MemorySource(new Map([["a", someBytes(60 * CHUNK_BYTES)]])));
  await hearOffer(victim);
  await say(victim, { type: "want", ranges: [{ file: 0, first: 0, count: 60 }], last: true });
  await victim.timers.pass(14_999);
  assert.equal(await Promise.race([victim.outcome, Promise.resolve("waiting")]), "waiting");
  const error = await failed(victim, "silent");
  assert.equal(victim.timers.monotonicMs(), 15_000);
  assert.ok(error.message.includes("15 seconds"));
});

/** From now on nothing is said to it: for 15 s it goes on with heartbeats, then it ends, and says nothing more. */
async function fallsSilent(victim: Victim, says: readonly string[]): Promise<void> {
  const beganMs = victim.timers.monotonicMs(), heard = listen(victim);
  await victim.timers.pass(14_999);
  assert.equal(await Promise.race([victim.outcome, Promise.resolve("waiting")]), "waiting");
  await victim.timers.pass(1);
  assert.equal(victim.timers.monotonicMs() - beganMs, 15_000);
  assert.notEqual(await Promise.race([victim.outcome, Promise.resolve("waiting")]), "waiting");
  await failed(victim, "silent");
  const types = await heard;
  assert.deepEqual(types.filter((type) => type !== "heartbeat"), says);
  // None is sent after `done`; a sender's first one comes a second after what it said last.
  const beats = types.length - says.length;
  assert.equal(beats, says.includes("done") ? 0 : 14);
}

/** What is said to a test that says nothing, until the channel is closed. */
async function listen(victim: Victim): Promise<string[]> {
  const types: string[] = [];
  try {
    for (let record = await victim.there.receive(); record !== null; record = await victim.there.receive()) {
      types.push(record.message.type);
    }
    types.push("the end");
  } catch (error) {
    assert.ok(error instanceof TransferError && error.code === "lost");
  }
  return types;
}

/** A liveness of its own, and what it did. */
function watching(hooks: Partial<LivenessHooks> = {}): {
  timers: RelayClock;
  here: MemoryChannel;
  there: MemoryChannel;
  liveness: Liveness;
  failures: unknown[];
} {
  const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers), failures: unknown[] = [];
  const liveness = new Liveness(here, timers, {
    beatsAlways: true,
    receivedBytes: () => 7,
    failed: (error) => failures.push(error),
    ...hooks,
  });
  return { timers, here, there, liveness, failures };
}

Deno.test("Liveness says each second how far it is, when it is to beat always", async () => {
  const { timers, here, there, liveness } = watching();
  await timers.pass(999);
  assert.equal(there.waiting, 0);
  for (let second = 1; second <= 3; second++) {
    await timers.pass(second === 1 ? 1 : 500);
    assert.deepEqual(await there.receive(), { message: { type: "heartbeat", receivedBytes: 7 } });
    await timers.pass(500);
    await here.send({ type: "done" });
    assert.equal((await there.receive())?.message.type, "done");
  }
  liveness.stop();
  await timers.pass(5_000);
  assert.equal(there.waiting, 0);
  assert.equal(timers.pending, 0);
});

Deno.test("Liveness says nothing while something else is said each second, when it is not", async () => {
  const { timers, here, there, liveness } = watching({ beatsAlways: false });
  for (let tenth = 0; tenth < 47; tenth++) {
    await timers.pass(900);
    await here.send({ type: "done" });
    assert.equal((await there.receive())?.message.type, "done");
  }
  await timers.pass(999);
  assert.equal(there.waiting, 0);
  await timers.pass(1);
  assert.equal((await there.receive())?.message.type, "heartbeat");
  liveness.stop();
});

Deno.test("Liveness keeps one heartbeat waiting and no more while the other side does not read", async () => {
  const { timers, here, there, liveness } = watching();
  const sending = Promise.all(Array.from({ length: 20 }, () => here.send({ type: "done" })));
  sending.catch(() => {});
  const before = there.waiting;
  await timers.pass(60_000);
  assert.equal(there.waiting, before + 1);
  liveness.stop();
  there.close();
  await timers.pass(0);
});

Deno.test("Liveness takes nothing for silence that nobody listened to", async () => {
  const { timers, there, liveness, failures } = watching();
  await timers.pass(50_000); // its next look is in the middle of the wait
  assert.deepEqual(failures, []);
  const hearing = liveness.receive();
  hearing.catch(() => {});
  await timers.pass(14_999);
  assert.deepEqual(failures, []);
  await timers.pass(1);
  assert.equal(failures.length, 1);
  liveness.stop();
  there.close();
});

Deno.test("Liveness counts silence from the last bytes, whole records or not", async () => {
  const { timers, here, there, liveness, failures } = watching();
  liveness.receive().catch(() => {});
  for (let piece = 0; piece < 10; piece++) {
    await timers.pass(14_000);
    here.heardMs = timers.monotonicMs();
  }
  assert.deepEqual(failures, []);
  await timers.pass(14_999);
  assert.deepEqual(failures, []);
  await timers.pass(1);
  assert.equal(failures.length, 1);
  liveness.stop();
  there.close();
});

Deno.test("Liveness.receive() gives whoever calls again the same record", async () => {
  const { there, liveness } = watching();
  const one = liveness.receive(), other = liveness.receive();
  await there.send({ type: "done" });
  assert.equal(await one, await other);
  liveness.stop();
});

Deno.test("Liveness beats no more once nothing can be said, and leaves it to the listener to find out", async () => {
  const { timers, there, liveness, failures } = watching();
  there.close();
  await timers.pass(60_000);
  assert.deepEqual(failures, []);
  assert.equal(timers.pending, 1); // the judgement of silence
  liveness.stop();
  assert.equal(timers.pending, 0);
});
