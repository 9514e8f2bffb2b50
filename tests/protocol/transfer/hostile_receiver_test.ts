import assert from "node:assert/strict";
import type { TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { DataMessage, TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES, type ChunkRange } from "../../../src/protocol/transfer/offer.ts";
import { MemorySource, someBytes } from "./memory_source.ts";
import { MemoryChannel } from "./memory_channel.ts";
import { RelayClock } from "./memory_relay_clock.ts";
import { NO_COMPRESSION } from "./test_compression.ts";
import { sendSession } from "../../../src/protocol/transfer/sending.ts";
import {
  ended,
  failed,
  outcomeOf,
  said,
  saidMessage,
  stopSaid,
  type Victim,
  victimSender,
} from "./session_stage.ts";

type Sender = ReturnType<typeof victimSender>;
type Said = Exclude<TransferMessage, DataMessage>;

const CHUNKS = 5;

/** A folder, a file of five chunks, an empty one, one of a single byte. */
function source(): MemorySource {
  return new MemorySource(
    new Map([
      ["d", null],
      ["d/a", someBytes((CHUNKS - 1) * CHUNK_BYTES + 1)],
      ["d/b", someBytes(0)],
      ["d/c", someBytes(1)],
    ]),
  );
}

async function say(victim: Pick<Victim, "there">, ...messages: readonly Said[]): Promise<void> {
  for (const message of messages) await victim.there.sendRaw({ message });
}

async function hearOffer(victim: Victim): Promise<void> {
  assert.deepEqual(await saidMessage(victim, "offer"), {
    type: "offer",
    kind: "files",
    entries: 4,
    totalBytes: (CHUNKS - 1) * CHUNK_BYTES + 2,
  });
  assert.equal((await saidMessage(victim, "entries")).entries.length, 4);
}

function want(ranges: readonly ChunkRange[], last = true): Said {
  return { type: "want", ranges, last };
}

function range(file: number, first: number, count: number): ChunkRange {
  return { file, first, count };
}

/** Asks for all, and takes all but leaves `done` unsaid. */
async function takeAll(victim: Victim): Promise<void> {
  await hearOffer(victim);
  await say(victim, want([range(1, 0, CHUNKS), range(3, 0, 1)]));
  for (let hashes = 0; hashes < 3;) {
    const record = await said(victim);
    if (record?.message.type === "hash") hashes++;
  }
}

/** What a hostile receiver says, and what becomes of it. */
interface Lie {
  readonly says: (victim: Sender) => Promise<void>;
  readonly code?: TransferErrorCode;
}

/** What it asks for behind the offer. */
function asks(...wants: readonly Said[]): Lie {
  return {
    says: async (victim) => {
      await hearOffer(victim);
      await say(victim, ...wants);
    },
  };
}

const LIES: Readonly<Record<string, Lie>> = {
  "asks for chunks that overlap": asks(want([range(1, 0, 3), range(1, 2, 1)])),
  "asks for a chunk twice in two messages": asks(want([range(1, 0, 3)], false), want([range(1, 2, 1)])),
  "asks for chunks that descend": asks(want([range(1, 3, 1), range(1, 0, 1)])),
  "asks for files that descend": asks(want([range(3, 0, 1), range(1, 0, 1)])),
  "asks for a chunk behind the last": asks(want([range(1, CHUNKS, 1)])),
  "asks for more chunks than there are": asks(want([range(1, 4, 2)])),
  "asks for four thousand million chunks": asks(want([range(1, 0, 0xffff_ffff)])),
  "asks for a chunk before the first": asks(want([range(1, -1, 2)])),
  "asks for no chunk": asks(want([range(1, 0, 0)])),
  "asks for fewer chunks than none": asks(want([range(1, 3, -1)])),
  "asks for half a chunk": asks(want([range(1, 0.5, 1)])),
  "asks for what is no number": asks(want([range(1, NaN, 1)])),
  "asks for a chunk of a folder": asks(want([range(0, 0, 1)])),
  "asks for a chunk of an empty file": asks(want([range(2, 0, 1)])),
  "asks for a chunk of a file that was not offered": asks(want([range(4, 0, 1)])),
  "asks for a chunk of a file before the first": asks(want([range(-1, 0, 1)])),
  "asks for nothing, and not for the last time": asks(want([], false)),
  "asks for more after the last want": asks(want([range(1, 0, 1)]), want([range(3, 0, 1)])),
  "asks for nothing after the last want": asks(want([range(1, 0, 1)]), want([])),
  "is done before it asked": { says: (v) => say(v, { type: "done" }) },
  "is done before it was sent anything": asks(want([range(1, 0, CHUNKS)]), { type: "done" }),
  "is done while it asks": asks(want([range(1, 0, 1)], false), { type: "done" }),
  "is done before the last hash": {
    says: async (victim) => {
      // The last file cannot be read yet, so that its hash is not said.
      const later = Promise.withResolvers<void>();
      victim.source.before = (_act, file): Promise<void> => file === 3 ? later.promise : Promise.resolve();
      await hearOffer(victim);
      await say(victim, want([range(1, 0, CHUNKS), range(3, 0, 1)]));
      for (let hashes = 0; hashes < 2;) if ((await said(victim))?.message.type === "hash") hashes++;
      await say(victim, { type: "done" });
      await victim.timers.pass(0);
      later.resolve();
    },
  },
  "offers something itself": {
    says: (v) => say(v, { type: "offer", kind: "files", entries: 1, totalBytes: 1 }),
  },
  "sends a chunk itself": {
    says: (v) => v.there.sendRaw({ message: { type: "data", file: 0, chunk: 0 }, body: new Uint8Array(1) }),
  },
  "sends a hash itself": { says: (v) => say(v, { type: "hash", file: 0, hash: new Uint8Array(32) }) },
  "claims to have more than was offered": {
    says: (v) => say(v, { type: "heartbeat", receivedBytes: CHUNKS * CHUNK_BYTES }),
  },
  "ends at once": { says: (v) => v.there.end() },
  "ends after the offer": {
    says: async (victim) => {
      await hearOffer(victim);
      await victim.there.end();
    },
  },
  "ends after its wants": {
    says: async (victim) => {
      await hearOffer(victim);
      await say(victim, want([range(1, 0, CHUNKS)]));
      await victim.there.end();
    },
  },
  "ends instead of saying done": {
    says: async (victim) => {
      await takeAll(victim);
      await victim.there.end();
    },
  },
};

for (const [lie, { says, code = "malformed" }] of Object.entries(LIES)) {
  Deno.test(`sendSession() ends as ${code} when the receiver ${lie}`, async () => {
    const victim = victimSender(source());
    await says(victim);
    assert.equal((await stopSaid(victim)).reason, code);
    victim.there.close();
    await failed(victim, code);
    assert.ok(victim.source.reads.length <= CHUNKS + 1);
  });
}

Deno.test("sendSession() answers no stop with another", async () => {
  const victim = victimSender(source());
  await hearOffer(victim);
  await say(victim, { type: "stop", reason: "space", text: "no room" });
  await assert.rejects(said(victim), { name: "TransferError", code: "lost" });
  await failed(victim, "space", "there");
});

Deno.test("sendSession() ends as malformed when the receiver of nothing but folders is done before it asked", async () => {
  const victim = victimSender(new MemorySource(new Map([["a", null]])));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await say(victim, { type: "done" });
  assert.equal((await stopSaid(victim)).reason, "malformed");
  victim.there.close();
  await failed(victim, "malformed");
});

Deno.test("sendSession() takes done for right as soon as it has said the last hash, written or not", async () => {
  const timers = new RelayClock(), [here, there] = MemoryChannel.pair(timers), send = here.send.bind(here);
  here.send = async (message): Promise<void> => {
    await send(message);
    if (message.type === "hash") await timers.pause(500);
  };
  const outcome = outcomeOf(sendSession(here, { source: source(), compression: NO_COMPRESSION, timers }));
  await say({ there }, want([range(1, 0, CHUNKS), range(3, 0, 1)]));
  const receiving = (async (): Promise<void> => {
    for (let hashes = 0; hashes < 3;) if ((await there.receive())?.message.type === "hash") hashes++;
    await say({ there }, { type: "done" });
    await there.end();
  })();
  await timers.settle([outcome, receiving], 10_000);
  assert.equal(await outcome, "done");
});

Deno.test("sendSession() reads the files of few bytes a few ahead, and not all", async () => {
  const tree = new Map(Array.from({ length: 500 }, (_, at) => [`${at}`, someBytes(1)] as const));
  const victim = victimSender(new MemorySource(tree));
  victim.source.before = (): Promise<void> => new Promise(() => {});
  await saidMessage(victim, "offer");
  while ((await saidMessage(victim, "entries")).entries.at(-1)?.path !== "499");
  await say(victim, want(Array.from({ length: 500 }, (_, file) => range(file, 0, 1))));
  await victim.timers.pass(0);
  assert.equal(victim.source.reads.length, 8);
  victim.there.close();
  await failed(victim, "lost");
});

Deno.test("sendSession() ends with what the receiver stops with, at any time", async () => {
  const steps: readonly ((victim: Victim) => Promise<void>)[] = [
    () => Promise.resolve(),
    hearOffer,
    async (victim) => {
      await hearOffer(victim);
      await say(victim, want([range(1, 0, CHUNKS), range(3, 0, 1)]));
      await saidMessage(victim, "data");
    },
    takeAll,
  ];
  for (const step of steps) {
    const victim = victimSender(source());
    await step(victim);
    while (victim.there.waiting > 0) await victim.there.receive();
    await say(victim, { type: "stop", reason: "space", text: "no room" });
    await victim.timers.settle([victim.outcome], 1_000);
    const error = await failed(victim, "space", "there");
    assert.equal(error.message, "the other side ended the transfer: no room");
  }
});

Deno.test("sendSession() resolves when the receiver is gone right after done", async () => {
  const victim = victimSender(source());
  await takeAll(victim);
  await say(victim, { type: "done" });
  victim.there.close();
  assert.equal(await ended(victim), "done");
});

Deno.test("sendSession() does not wait for ever for the end of a receiver that is done", async () => {
  const victim = victimSender(source());
  await takeAll(victim);
  await say(victim, { type: "done" });
  assert.equal(await said(victim), null);
  await victim.timers.pass(2_999);
  assert.equal(await Promise.race([victim.outcome, Promise.resolve("waiting")]), "waiting");
  assert.equal(await ended(victim), "done");
});

Deno.test("sendSession() reads a few chunks and no more while the receiver takes none", async () => {
  const chunks = 200;
  const victim = victimSender(new MemorySource(new Map([["a", someBytes(chunks * CHUNK_BYTES)]])));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  await say(victim, want([range(0, 0, chunks)]));
  for (let second = 0; second < 120; second++) {
    await victim.timers.pass(1_000);
    await say(victim, { type: "heartbeat", receivedBytes: 0 });
  }
  // Four ahead, one being said, and those that wait in the channel of the test.
  assert.ok(victim.source.reads.length <= 4 + 1 + 9, `${victim.source.reads.length} were read`);
  assert.ok(victim.there.waiting <= 10, `${victim.there.waiting} wait`);
  assert.equal(await Promise.race([victim.outcome, Promise.resolve("waiting")]), "waiting");
  victim.there.close();
  await failed(victim, "lost");
});

Deno.test("sendSession() holds no more for wants without an end than a bit for each chunk", async () => {
  const chunks = 3_000;
  const victim = victimSender(sparseSource(chunks));
  await saidMessage(victim, "offer");
  await saidMessage(victim, "entries");
  let asked = 0;
  // One chunk a message, every second one; then it can only begin again.
  for (; asked < chunks; asked += 2) await say(victim, want([range(0, asked, 1)], false));
  await say(victim, want([range(0, 0, 1)], false));
  assert.equal((await stopSaid(victim)).reason, "malformed");
  victim.there.close();
  await failed(victim, "malformed");
});

function sparseSource(chunks: number): MemorySource {
  const sparse = new MemorySource(new Map([["a", new Uint8Array(1)]]));
  const [entry] = sparse.offer.entries;
  assert.ok(entry !== undefined);
  const sizeBytes = chunks * CHUNK_BYTES;
  Object.assign(sparse, {
    offer: { kind: "files", entries: [{ ...entry, sizeBytes }], totalBytes: sizeBytes },
  });
  return sparse;
}
