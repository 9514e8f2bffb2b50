import assert from "node:assert/strict";
import { zstdCompressSync } from "node:zlib";
import { TransferError, type TransferErrorCode } from "../../../src/protocol/transfer/errors.ts";
import type { DataMessage, TransferMessage } from "../../../src/protocol/transfer/messages.ts";
import { CHUNK_BYTES, type OfferEntry } from "../../../src/protocol/transfer/offer.ts";
import { fileEntry, folderEntry, hashOf, someBytes } from "./memory_source.ts";
import {
  ended,
  failed,
  saidMessage,
  type StageOptions,
  stopSaid,
  type Victim,
  victimReceiver,
} from "./session_stage.ts";
import { ZSTD } from "./test_compression.ts";

type Receiver = ReturnType<typeof victimReceiver>;
type Said = Exclude<TransferMessage, DataMessage>;

/** What a hostile sender says, and what becomes of it. */
interface Lie {
  readonly says: (victim: Receiver) => Promise<void>;
  readonly code: TransferErrorCode;
  readonly options?: StageOptions;
  /** What the sink may have been asked, besides to flush what came before. */
  readonly acts?: readonly string[];
}

const FILE = someBytes(2 * CHUNK_BYTES + 10);
const FIRST = FILE.slice(0, CHUNK_BYTES), SECOND = FILE.slice(CHUNK_BYTES, 2 * CHUNK_BYTES);
const THIRD = FILE.slice(2 * CHUNK_BYTES);

async function say(victim: Victim, ...messages: readonly Said[]): Promise<void> {
  for (const message of messages) await victim.there.sendRaw({ message });
}

function chunk(victim: Victim, file: number, number: number, bytes: Uint8Array): Promise<void> {
  return victim.there.sendRaw({ message: { type: "data", file, chunk: number }, body: bytes.slice() });
}

function offer(entries: number, totalBytes: number, kind: "files" | "text" = "files"): Said {
  return { type: "offer", kind, entries, totalBytes };
}

function entries(...list: readonly OfferEntry[]): Said {
  return { type: "entries", entries: list };
}

/** Offers two files, of which the first has three chunks and the second one byte, and hears what is wanted. */
async function offerTwo(victim: Victim): Promise<void> {
  await say(victim, offer(2, FILE.length + 1), entries(fileEntry("a", FILE.length), fileEntry("b", 1)));
  const { ranges, last } = await saidMessage(victim, "want");
  assert.deepEqual(ranges, [{ file: 0, first: 0, count: 3 }, { file: 1, first: 0, count: 1 }]);
  assert.ok(last);
}

/** The first chunks of the first file. */
function sendChunks(count: number): (victim: Victim) => Promise<void> {
  return async (victim) => {
    await offerTwo(victim);
    for (const [at, bytes] of [FIRST, SECOND, THIRD].slice(0, count).entries()) {
      await chunk(victim, 0, at, bytes);
    }
  };
}

/** The first file, whole and right. */
async function sendFirst(victim: Victim): Promise<void> {
  await sendChunks(3)(victim);
  await say(victim, { type: "hash", file: 0, hash: await hashOf(FILE) });
}

async function sendBoth(victim: Victim): Promise<void> {
  await sendFirst(victim);
  await chunk(victim, 1, 0, new Uint8Array([7]));
  await say(victim, { type: "hash", file: 1, hash: await hashOf(new Uint8Array([7])) });
}

const WITH_ZSTD: StageOptions = { compression: ZSTD };
const BOMB = zstdCompressSync(new Uint8Array(1024 * 1024 * 1024));
const CUT_OFF = zstdCompressSync(new Uint8Array(CHUNK_BYTES)).subarray(0, -4);
const TOO_SOON: Pick<Lie, "code" | "acts"> = { code: "malformed", acts: ["accept"] };
const ACCEPTED = ["accept"];
const FIRST_WRITTEN = ["accept", "write 0:0"];
const FILE_WRITTEN = ["accept", "write 0:0", "write 0:1", "write 0:2", "chunkHashes 0", "finishFile 0"];
const ALL_WRITTEN = [...FILE_WRITTEN, "write 1:0", "chunkHashes 1", "finishFile 1", "finish"];

const LIES: Readonly<Record<string, Lie>> = {
  // Before anything is asked for.
  "begins with entries": { says: (v) => say(v, entries(fileEntry("a", 1))), code: "malformed" },
  "begins with a chunk": { says: (v) => chunk(v, 0, 0, FIRST), code: "malformed" },
  "begins with done": { says: (v) => say(v, { type: "done" }), code: "malformed" },
  "begins with a want": { says: (v) => say(v, { type: "want", ranges: [], last: true }), code: "malformed" },
  "begins with the end": { says: (v) => v.there.end(), code: "malformed" },
  "claims progress of its own": {
    says: (v) => say(v, { type: "heartbeat", receivedBytes: 1 }),
    code: "malformed",
  },
  "offers nothing": { says: (v) => say(v, offer(0, 0)), code: "malformed" },
  "claims ten million entries": { says: (v) => say(v, offer(10_000_000, 1)), code: "limit" },
  "claims more bytes than are accepted": {
    says: (v) => say(v, offer(1, 1001)),
    code: "limit",
    options: { limits: { maxTotalBytes: 1000 } },
  },
  "claims a text that is longer than any text": {
    says: (v) => say(v, offer(1, CHUNK_BYTES + 1, "text")),
    code: "limit",
  },
  "offers a text of two entries": { says: (v) => say(v, offer(2, 5, "text")), code: "malformed" },
  "offers a text that is a folder": {
    says: (v) => say(v, offer(1, 0, "text"), entries(folderEntry("a"))),
    code: "malformed",
  },
  "sends entries without any": { says: (v) => say(v, offer(1, 1), entries()), code: "malformed" },
  "sends more entries than it claimed": {
    says: (v) => say(v, offer(1, 1), entries(fileEntry("a", 1), fileEntry("b", 0))),
    code: "malformed",
  },
  "sends names without an end": {
    says: endlessEntries,
    code: "limit",
    options: { limits: { maxPathBytes: 500 } },
  },
  "offers a folder that has a size": {
    says: (v) => say(v, offer(1, 5), entries({ ...folderEntry("a"), sizeBytes: 5 })),
    code: "malformed",
  },
  "offers files that are larger than their sum": {
    says: (v) => say(v, offer(3, 10), entries(fileEntry("a", 6), fileEntry("b", 5))),
    code: "malformed",
  },
  "offers files that are smaller than their sum": {
    says: (v) => say(v, offer(1, 10), entries(fileEntry("a", 9))),
    code: "malformed",
  },
  "offers sizes whose sum is no number any more": {
    says: (v) =>
      say(
        v,
        offer(2, 10),
        entries(fileEntry("a", Number.MAX_SAFE_INTEGER), fileEntry("b", Number.MAX_SAFE_INTEGER)),
      ),
    code: "malformed",
  },
  "offers twice": { says: (v) => say(v, offer(1, 1), offer(1, 1)), code: "malformed" },
  "ends in the middle of the entries": {
    says: async (v) => {
      await say(v, offer(2, 1), entries(fileEntry("a", 1)));
      await v.there.end();
    },
    code: "malformed",
  },

  // While a person thinks it over, who has not answered yet.
  "sends a chunk before it was asked": {
    says: (v) => pondering(v, () => chunk(v, 0, 0, FIRST)),
    ...TOO_SOON,
  },
  "sends a hash before it was asked": {
    says: (v) => pondering(v, () => say(v, { type: "hash", file: 0, hash: new Uint8Array(32) })),
    ...TOO_SOON,
  },
  "adds entries to what is being judged": {
    says: (v) => pondering(v, () => say(v, entries(fileEntry("b", 0)))),
    ...TOO_SOON,
  },
  "ends while it is being judged": { says: (v) => pondering(v, () => v.there.end()), ...TOO_SOON },

  // Once chunks are wanted.
  "begins with the second chunk": after(offerTwo, (v) => chunk(v, 0, 1, SECOND), ACCEPTED),
  "begins with the second file": after(offerTwo, (v) => chunk(v, 1, 0, new Uint8Array(1)), ACCEPTED),
  "sends a chunk of a file that nobody offered": after(offerTwo, (v) => chunk(v, 9, 0, FIRST), ACCEPTED),
  "sends a chunk that the file does not have": after(offerTwo, (v) => chunk(v, 0, 3, FIRST), ACCEPTED),
  "sends a chunk twice": after(sendChunks(1), (v) => chunk(v, 0, 0, FIRST), FIRST_WRITTEN),
  "leaves a chunk out": after(sendChunks(1), (v) => chunk(v, 0, 2, THIRD), FIRST_WRITTEN),
  "sends a chunk that was not asked for": after(
    async (v) => {
      const accept = v.sink.accept.bind(v.sink);
      v.sink.accept = async (offered) => {
        await accept(offered);
        return [{ file: 0, first: 0, count: 1 }, { file: 0, first: 2, count: 1 }];
      };
      await say(v, offer(1, FILE.length), entries(fileEntry("a", FILE.length)));
      await saidMessage(v, "want");
      await chunk(v, 0, 0, FIRST);
    },
    (v) => chunk(v, 0, 1, SECOND),
    FIRST_WRITTEN,
  ),
  "sends more bytes than the last chunk has": after(
    sendChunks(2),
    (v) => chunk(v, 0, 2, new Uint8Array(11)),
    ["accept", "write 0:0", "write 0:1"],
  ),
  "sends fewer bytes that are no frame": after(
    offerTwo,
    (v) => chunk(v, 0, 0, FIRST.subarray(1)),
    ACCEPTED,
    WITH_ZSTD,
  ),
  "sends a frame that becomes longer than the chunk": after(
    offerTwo,
    (v) => chunk(v, 0, 0, zstdCompressSync(new Uint8Array(CHUNK_BYTES + 1))),
    ACCEPTED,
    WITH_ZSTD,
  ),
  "sends a frame that becomes a gigabyte": after(
    offerTwo,
    (v) => chunk(v, 0, 0, BOMB),
    ACCEPTED,
    WITH_ZSTD,
  ),
  "sends a frame that becomes shorter than the chunk": after(
    offerTwo,
    (v) => chunk(v, 0, 0, zstdCompressSync(new Uint8Array(CHUNK_BYTES - 1))),
    ACCEPTED,
    WITH_ZSTD,
  ),
  "sends a frame that is longer than the chunk": after(
    sendChunks(2),
    (v) => chunk(v, 0, 2, zstdCompressSync(THIRD)),
    ["accept", "write 0:0", "write 0:1"],
    WITH_ZSTD,
  ),
  "sends a frame that was cut off": after(
    offerTwo,
    (v) => chunk(v, 0, 0, CUT_OFF),
    ACCEPTED,
    WITH_ZSTD,
  ),
  "sends a hash where a chunk is due": after(
    offerTwo,
    (v) => say(v, { type: "hash", file: 0, hash: new Uint8Array(32) }),
    ACCEPTED,
  ),
  "sends a chunk where the hash is due": after(
    sendChunks(3),
    (v) => chunk(v, 1, 0, new Uint8Array(1)),
    ["accept", "write 0:0", "write 0:1", "write 0:2"],
  ),
  "sends a hash twice": after(
    sendFirst,
    (v) => say(v, { type: "hash", file: 0, hash: new Uint8Array(32) }),
    FILE_WRITTEN,
  ),
  "sends the hash of another file": after(
    async (v) => {
      await sendFirst(v);
      await chunk(v, 1, 0, new Uint8Array(1));
    },
    (v) => say(v, { type: "hash", file: 0, hash: new Uint8Array(32) }),
    [...FILE_WRITTEN, "write 1:0"],
  ),
  "sends another chunk of a file after its hash": after(
    sendFirst,
    (v) => chunk(v, 0, 2, THIRD),
    FILE_WRITTEN,
  ),
  "offers something else in the middle": after(sendFirst, (v) => say(v, offer(1, 1)), FILE_WRITTEN),
  "is done itself": after(offerTwo, (v) => say(v, { type: "done" }), ACCEPTED),
  "asks for chunks itself": after(
    offerTwo,
    (v) => say(v, { type: "want", ranges: [], last: true }),
    ACCEPTED,
  ),
  "ends before the last hash": after(sendFirst, (v) => v.there.end(), FILE_WRITTEN),
  "sends another chunk behind the last hash": after(
    sendBoth,
    (v) => chunk(v, 0, 0, FIRST),
    ALL_WRITTEN,
  ),
};

function after(
  first: (victim: Receiver) => Promise<void>,
  then: (victim: Receiver) => Promise<void>,
  acts: readonly string[],
  options: StageOptions = {},
): Lie {
  return {
    says: async (victim) => {
      await first(victim);
      await victim.timers.pass(0);
      await then(victim);
    },
    code: "malformed",
    acts: [...acts, "flush"],
    options,
  };
}

async function pondering(victim: Receiver, act: () => Promise<void>): Promise<void> {
  victim.sink.before = (): Promise<void> => new Promise(() => {});
  await say(victim, offer(1, FILE.length), entries(fileEntry("a", FILE.length)));
  await victim.timers.pass(3_600);
  await act();
}

async function endlessEntries(victim: Victim): Promise<void> {
  await say(victim, offer(1000, 0));
  for (let at = 0; !victim.there.isClosed && at < 100_000; at++) {
    await say(victim, entries(fileEntry(`file ${at}`, 0))).catch(() => {});
  }
}

for (const [lie, { says, code, options, acts }] of Object.entries(LIES)) {
  Deno.test(`receiveSession() ends as ${code} when the sender ${lie}`, async () => {
    const victim = victimReceiver(options);
    await says(victim);
    const stop = await stopSaid(victim);
    assert.equal(stop.reason, code);
    victim.there.close();
    await failed(victim, code);
    assert.deepEqual(victim.sink.acts, acts ?? []);
    assert.deepEqual(victim.sink.complaints, []);
  });
}

Deno.test("receiveSession() takes no more entries of an endless list than were announced", async () => {
  const victim = victimReceiver({ limits: { maxEntries: 1000 } });
  let said = 0;
  await say(victim, offer(1000, 0));
  while (!victim.there.isClosed && said < 1_000_000) {
    await say(victim, entries(...Array.from({ length: 300 }, () => fileEntry("x", 0)))).catch(() => {});
    said += 300;
    if (victim.there.waiting > 0) break;
  }
  await failed(victim, "malformed");
  assert.ok(said <= 3_000, `it listened to ${said}`);
  assert.deepEqual(victim.sink.acts, []);
});

Deno.test("receiveSession() forgets a file whose hash is wrong, and tells the sender", async () => {
  const victim = victimReceiver();
  await sendFirst(victim);
  await chunk(victim, 1, 0, new Uint8Array([7]));
  await say(victim, { type: "hash", file: 1, hash: await hashOf(new Uint8Array([8])) });
  assert.deepEqual(await stopSaid(victim), {
    type: "stop",
    reason: "hash",
    text: "a file that arrived is not the file that was sent",
  });
  victim.there.close();
  await failed(victim, "hash");
  assert.deepEqual(victim.sink.acts, [
    ...FILE_WRITTEN,
    "write 1:0",
    "chunkHashes 1",
    "forgetFile 1",
    "flush",
  ]);
  assert.deepEqual([...victim.sink.finished], [0]);
  assert.ok(!victim.events.some((event) => event.event === "file_done" && event.file === 1));
});

Deno.test("receiveSession() takes the size into the hash: the same chunks of another size are another file", async () => {
  const victim = victimReceiver();
  await say(victim, offer(1, 0), entries(fileEntry("a", 0)));
  await saidMessage(victim, "want");
  // Of an empty list of chunks, as an empty file has, but for a size that is not 0.
  const hash = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new Uint8Array([0, 0, 0, 0, 0, 0, 0, 1])),
  );
  await say(victim, { type: "hash", file: 0, hash });
  assert.equal((await stopSaid(victim)).reason, "hash");
  victim.there.close();
  await failed(victim, "hash");
});

Deno.test("receiveSession() ends with what the sender stops with, at any time", async () => {
  const stop: Said = { type: "stop", reason: "changed", text: "\x1b[2Jthe file was changed" };
  for (const first of [() => Promise.resolve(), offerTwo, sendChunks(1), sendFirst, sendBoth]) {
    const victim = victimReceiver();
    await first(victim);
    await say(victim, stop);
    const error = await failed(victim, "changed", "there");
    assert.ok(error.message.includes(stop.type === "stop" ? stop.text : ""));
  }
});

Deno.test("receiveSession() ends with what the sender stops with while a person thinks", async () => {
  const victim = victimReceiver();
  await pondering(victim, () => say(victim, { type: "stop", reason: "storage", text: "" }));
  await failed(victim, "storage", "there");
  assert.deepEqual(victim.sink.acts, ["accept"]);
});

Deno.test("a session is never made to redial by a stop", async () => {
  for (const reason of ["lost", "silent", "unreachable", "absent", "mismatch", "spent", "code"] as const) {
    const victim = victimReceiver();
    await say(victim, { type: "stop", reason, text: "x" });
    await failed(victim, "cancelled", "there");
  }
});

Deno.test("receiveSession() answers a lie after all went well with an error, and leaves what is in place", async () => {
  const victim = victimReceiver();
  await sendBoth(victim);
  await saidMessage(victim, "done");
  await chunk(victim, 0, 0, FIRST);
  await failed(victim, "malformed");
  assert.deepEqual(victim.sink.acts, [...ALL_WRITTEN, "flush"]);
});

Deno.test("receiveSession() is not held by a sender that goes on for ever when everything is in place", async () => {
  const victim = victimReceiver();
  await sendBoth(victim);
  await saidMessage(victim, "done");
  const beat = (): void => {
    say(victim, { type: "heartbeat", receivedBytes: 0 }).catch(() => {});
    if (!victim.there.isClosed) victim.timers.later(1_000, beat);
  };
  beat();
  const outcome = await ended(victim, 60_000);
  assert.ok(outcome instanceof TransferError && outcome.code === "silent");
  assert.deepEqual(victim.sink.acts, [...ALL_WRITTEN, "flush"]);
});

Deno.test("receiveSession() holds a few hashes and no more while the disk is slow", async () => {
  const victim = victimReceiver(), files = 200;
  victim.sink.before = (act): Promise<void> =>
    act === "chunkHashes" ? new Promise(() => {}) : Promise.resolve();
  await say(
    victim,
    offer(files, 0),
    entries(...Array.from({ length: files }, (_, at) => fileEntry(`${at}`, 0))),
  );
  await saidMessage(victim, "want");
  let taken = 0;
  const sending = (async (): Promise<void> => {
    for (; taken < files; taken++) {
      await say(victim, { type: "hash", file: taken, hash: await hashOf(new Uint8Array(0)) });
    }
  })();
  sending.catch(() => {});
  await victim.timers.pass(60_000);
  // 64 with the lane, one in hand, and those that wait in the channel of the test.
  assert.ok(taken <= 64 + 1 + 9, `${taken} were taken`);
  victim.abort.abort();
  await victim.timers.pass(0);
});

Deno.test("receiveSession() holds a few chunks and no more while the disk is slow", async () => {
  const victim = victimReceiver();
  const sizeBytes = 64 * CHUNK_BYTES;
  victim.sink.before = (act): Promise<void> => act === "write" ? new Promise(() => {}) : Promise.resolve();
  await say(victim, offer(1, sizeBytes), entries(fileEntry("a", sizeBytes)));
  await saidMessage(victim, "want");
  let taken = 0;
  const sending = (async (): Promise<void> => {
    for (; taken < 64; taken++) await chunk(victim, 0, taken, FIRST);
  })();
  sending.catch(() => {});
  await victim.timers.pass(60_000);
  // Four with the lane, one in hand, and those that wait in the channel of the test.
  assert.ok(taken <= 5 + 9, `${taken} were taken`);
  victim.abort.abort();
  await victim.timers.pass(0);
  assert.deepEqual(victim.sink.acts, ["accept", "write 0:0"], "flush must wait for the write");
});
