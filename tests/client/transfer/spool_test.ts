import assert from "node:assert/strict";
import { FileSource } from "../../../src/client/transfer/file_source.ts";
import { ShareState } from "../../../src/client/transfer/share_state.ts";
import { type ShareKey, SharePlace } from "../../../src/client/transfer/share_state_place.ts";
import { type SpooledFile, type SpooledMemory, spoolStream } from "../../../src/client/transfer/spool.ts";
import { CHUNK_BYTES } from "../../../src/protocol/transfer/offer.ts";
import { type Clock, systemClock } from "../../../src/system/clock.ts";
import { Failure } from "../../../src/system/failure.ts";
import { mountObstacle, unless } from "../../e2e/machine.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";
import { CODE, SECRETS } from "./share_states.ts";
import { randomBytes } from "./sample_bytes.ts";
import { TinyDisk } from "../../e2e/tiny_disk.ts";

const KEY: ShareKey = { what: ["-", "name.bin"], relay: "", receivers: 1 };
const MIB = 1024 * 1024;

/** The bytes in pieces of any lengths. */
function streamOf(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = 1 + Math.floor(Math.random() * 200_000);
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return ReadableStream.from(pieces);
}

function place(folder: string | null): Promise<SharePlace> {
  return SharePlace.take(folder, KEY, systemClock);
}

async function spooledFile(
  bytes: Uint8Array<ArrayBuffer>,
  at: SharePlace,
  clock: Clock = systemClock,
): Promise<SpooledFile> {
  const spooled = await spoolStream(streamOf(bytes), { name: "name.bin", place: at, clock });
  assert.ok(spooled.kind === "file");
  return spooled;
}

/** As `share` does: keeps it in the place and reads it through a source. */
async function stateOf(at: SharePlace, spooled: SpooledFile): Promise<ShareState> {
  const { files, fingerprint, modifiedMs } = spooled;
  const state = await ShareState.open(at, { receivers: 1, files, fingerprint, modifiedMs });
  spooled.tellHashes(state.hashes);
  return state;
}

async function allOf(source: FileSource | SpooledMemory["source"]): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < source.offer.totalBytes; at += CHUNK_BYTES) {
    chunks.push(await source.read(0, at / CHUNK_BYTES));
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

Deno.test("spoolStream() keeps what comes in a private file and knows the hash of every chunk", async () => {
  await using folder = await TempFolder.make("spool");
  for (const length of [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES - 1, 70 * CHUNK_BYTES + 5]) {
    const bytes = randomBytes(length);
    const at = await place(folder.path);
    const spooled = await spooledFile(bytes, at);
    assert.equal(((await Deno.stat(`${at.path}/spool`)).mode ?? 0) & 0o777, 0o600);
    const state = await stateOf(at, spooled);
    using source = new FileSource(spooled.files, state.hashes);
    const [entry] = source.offer.entries;
    assert.deepEqual([entry?.kind, entry?.path, entry?.sizeBytes], ["file", "name.bin", length]);
    assert.deepEqual(await allOf(source), bytes);
    for (let chunk = 0; chunk * CHUNK_BYTES < length; chunk++) {
      const part = bytes.slice(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", part));
      assert.deepEqual(source.knownHash(0, chunk), hash);
    }
    await source.verifyUnchanged(0);
    await state.forget();
    assert.deepEqual([...Deno.readDirSync(folder.path)], []);
  }
});

Deno.test("spoolStream() of the same bytes under the same command goes on, with the offer of before", async () => {
  await using folder = await TempFolder.make("spool");
  const bytes = randomBytes(2 * CHUNK_BYTES + 9);
  const early: Clock = { ...systemClock, wallMs: () => 1_000_000 };
  const first = await place(folder.path);
  const begun = await spooledFile(bytes, first, early);
  {
    await using state = await stateOf(first, begun);
    await state.offerCode(CODE);
    await state.memoryOf(1).spend(SECRETS[0]);
    await state.memoryOf(1).proven(SECRETS[0]);
  }
  const second = await place(folder.path);
  assert.equal(second.path, first.path);
  const spooled = await spooledFile(bytes, second);
  assert.deepEqual(spooled.files.entries, begun.files.entries);
  assert.equal(spooled.modifiedMs, 1_000_000);
  await using state = await stateOf(second, spooled);
  assert.deepEqual([state.found, state.resume.length], ["again", 1]);
});

Deno.test("spoolStream() of other bytes starts over", async () => {
  await using folder = await TempFolder.make("spool");
  const bytes = randomBytes(CHUNK_BYTES);
  const first = await place(folder.path);
  {
    await using state = await stateOf(first, await spooledFile(bytes, first));
    await state.offerCode(CODE);
  }
  bytes[77] = (bytes[77] ?? 0) ^ 1;
  const second = await place(folder.path);
  await using state = await stateOf(second, await spooledFile(bytes, second));
  assert.equal(state.found, "changed");
});

Deno.test("spoolStream() leaves no file behind when its place is given back, or when a killed run did", async () => {
  await using folder = await TempFolder.make("spool");
  const at = await place(folder.path);
  await Deno.writeTextFile(`${at.path}/spool`, "left by a run that was killed while it read");
  const spooled = await spooledFile(randomBytes(10), at);
  assert.equal(spooled.files.totalBytes, 10);
  await (await stateOf(at, spooled)).close();
  await assert.rejects(Deno.stat(`${at.path}/spool`), Deno.errors.NotFound);
});

Deno.test("spoolStream() writes through no link that somebody put there", async () => {
  await using folder = await TempFolder.make("spool");
  using at = await place(folder.path);
  await Deno.writeTextFile(`${folder.path}/precious`, "precious");
  await Deno.symlink(`${folder.path}/precious`, `${at.path}/spool`);
  await spooledFile(randomBytes(10), at);
  assert.equal(await Deno.readTextFile(`${folder.path}/precious`), "precious");
});

Deno.test("spoolStream() holds 8 MiB in memory where there is no folder, and refuses more", async () => {
  using at = await place(null);
  const bytes = randomBytes(8 * MIB);
  const spooled = await spoolStream(streamOf(bytes), { name: "x", place: at });
  assert.ok(spooled.kind === "memory");
  assert.deepEqual(await allOf(spooled.source), bytes);
  await assert.rejects(
    spoolStream(streamOf(randomBytes(8 * MIB + 1)), { name: "x", place: at }),
    (error) => error instanceof Failure && /found more than 8 MiB, and no folder/.test(error.message),
  );
});

Deno.test("spoolStream() refuses a name that is none for a file, before it reads anything", async () => {
  using at = await place(null);
  for (const name of ["", "a/b", "..", "new\nline", "CON"]) {
    const stream = streamOf(randomBytes(10));
    await assert.rejects(
      spoolStream(stream, { name, place: at }),
      (error) => error instanceof Failure && error.hint === "choose another one: --name NAME",
    );
    assert.equal(stream.locked, false);
  }
});

Deno.test("spoolStream() ends at its signal, also while nothing comes, and leaves no file", async () => {
  await using folder = await TempFolder.make("spool");
  for (const comes of [[], [randomBytes(3 * MIB)]]) {
    using at = await place(folder.path);
    const abort = new AbortController();
    const cancelled = Promise.withResolvers<unknown>();
    const waits = Promise.withResolvers<void>();
    const reason = new Error("invented reason");
    const stream = new ReadableStream<Uint8Array>({
      pull(controller): void {
        const piece = comes.shift();
        if (piece === undefined) waits.resolve();
        else controller.enqueue(piece);
      },
      cancel: (why) => cancelled.resolve(why),
    }, { highWaterMark: 0 });
    const spooling = spoolStream(stream, { name: "x", place: at, signal: abort.signal });
    await waits.promise;
    abort.abort(reason);
    await assert.rejects(spooling, (error) => error === reason);
    assert.equal(await cancelled.promise, reason);
    await assert.rejects(Deno.stat(`${at.path}/spool`), Deno.errors.NotFound);
  }
});

Deno.test("spoolStream() does not begin once its signal has come", async () => {
  const reason = new Error("invented reason");
  const options = { name: "x", place: await place(null), signal: AbortSignal.abort(reason) };
  await assert.rejects(spoolStream(streamOf(randomBytes(9)), options), (error) => error === reason);
});

Deno.test("spoolStream() of a stream that breaks says what it says, and leaves no file", async () => {
  await using folder = await TempFolder.make("spool");
  using at = await place(folder.path);
  const trouble = new Error("invented trouble");
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(randomBytes(2 * MIB)),
    pull: (controller) => controller.error(trouble),
  });
  await assert.rejects(spoolStream(stream, { name: "x", place: at }), (error) => error === trouble);
  await assert.rejects(Deno.stat(`${at.path}/spool`), Deno.errors.NotFound);
});

Deno.test({
  ...unless(
    await mountObstacle(),
    "spoolStream() without room says how far it came, and gives the room back",
  ),
  fn: async () => {
    await using disk = await TinyDisk.mount(4 * MIB);
    using at = await place(disk.path);
    let isCancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(randomBytes(300_000)),
      cancel: () => void (isCancelled = true),
    });
    await assert.rejects(spoolStream(endless, { name: "x", place: at }), (error) => {
      assert.ok(error instanceof Failure);
      assert.match(
        error.message,
        /could not keep what comes in .*\/spool: No space left on device, after [34] MiB/,
      );
      assert.match(error.hint ?? "", /XDG_STATE_HOME/);
      return true;
    });
    assert.equal(isCancelled, true);
    await spooledFile(randomBytes(3 * MIB), at);
  },
});
