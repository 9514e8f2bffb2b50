/**
 * Four things that ruck 0.1 gets wrong, each tried on receive() as programs call it, on real files: the sender is the
 * attacker, or stands on the way between two honest sides.
 */
import assert from "node:assert/strict";
import { receive } from "../../../src/client/transfer/receive.ts";
import { share } from "../../../src/client/transfer/share.ts";
import { TransferChannel } from "../../../src/protocol/transfer/channel.ts";
import { parseCode } from "../../../src/protocol/transfer/code.ts";
import { TransferError } from "../../../src/protocol/transfer/errors.ts";
import { fileHash } from "../../../src/protocol/transfer/file_hash.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/transfer/limits.ts";
import type { OfferEntry } from "../../../src/protocol/transfer/offer.ts";
import { pair } from "../../../src/protocol/transfer/pairing.ts";
import { systemRandomBytes, systemTimers } from "../../../src/protocol/rpc/timers.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import type { Connection, Listener } from "../../../src/protocol/transport/transport.ts";
import { TempFolder } from "../../e2e/temp_folder.ts";

const CODE = "482913-orbit-velvet-canoe";
const OTHER_WORDS = "482913-jungle-oxygen-panic";
const BYTES = new TextEncoder().encode("what was meant to be sent");

/** Somebody's folder, and what leads to it. */
interface Place {
  readonly folder: string;
  readonly listener: Listener;
  readonly connect: () => Promise<Connection>;
}

async function inPlace(act: (place: Place) => Promise<void>): Promise<void> {
  await using folder = await TempFolder.make("ruck");
  const transport = memory();
  const listener = await transport.listen();
  await Deno.mkdir(`${folder.path}/in`);
  try {
    await act({ folder: folder.path, listener, connect: () => transport.connect() });
  } finally {
    listener.close();
  }
}

function receiving({ folder, connect }: Place): Promise<unknown> {
  return receive(CODE, {
    connect,
    throughRelay: false,
    folder: `${folder}/in`,
    stateFolder: null,
    graceMs: 500,
    confirm: () => Promise.resolve(true),
  });
}

/** A sender who knows the code, and says what he likes. */
async function attacker({ listener }: Place): Promise<TransferChannel> {
  const connection = await listener.accept();
  assert(connection !== null);
  const paired = await pair(connection, {
    role: "sender",
    instance: systemRandomBytes(16),
    rendezvous: { kind: "code", code: parseCode(CODE) },
    sendIdentifier: false,
    memory: { spend: () => Promise.resolve(), proven: () => Promise.resolve() },
    timers: systemTimers,
    random: systemRandomBytes,
  });
  return new TransferChannel(connection, paired, { limits: DEFAULT_LIMITS, timers: systemTimers });
}

async function offerFile(channel: TransferChannel, path: string): Promise<void> {
  const entry: OfferEntry = { kind: "file", path, sizeBytes: BYTES.length, modifiedMs: 0, mode: 0o644 };
  await channel.send({ type: "offer", kind: "files", entries: 1, totalBytes: BYTES.length });
  await channel.send({ type: "entries", entries: [entry] });
}

async function wantHeard(channel: TransferChannel): Promise<void> {
  for (let type = ""; type !== "want";) type = (await channel.receive())?.message.type ?? "want";
}

/** Hears the other side out: a `stop`, or null for the end. */
async function stopHeard(channel: TransferChannel): Promise<string | null> {
  for (;;) {
    const heard = await channel.receive().catch(() => null);
    if (heard === null) return null;
    if (heard.message.type === "stop") return heard.message.reason;
  }
}

async function fails(receiving: Promise<unknown>, code: TransferError["code"]): Promise<void> {
  await assert.rejects(receiving, (error) => error instanceof TransferError && error.code === code);
}

/** Every path below a folder but our own working folders', sorted. */
function pathsBelow(folder: string): string[] {
  const found: string[] = [];
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    if (name.startsWith(".postern-")) continue;
    found.push(name);
    if (isDirectory) found.push(...pathsBelow(`${folder}/${name}`).map((path) => `${name}/${path}`));
  }
  return found.sort();
}

/** Forwards between two connections, and keeps what the first one says. */
async function forwarded(from: Connection, to: Connection, kept: number[]): Promise<void> {
  const buffer = new Uint8Array(65_536);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    kept.push(...buffer.subarray(0, count));
    await to.write(buffer.subarray(0, count));
  }
  await to.closeWrite();
}

Deno.test("ruck's room id from the password: the relay is told the number alone, and nothing repeats with the words", async () => {
  // What a relay sees of two shares with the same number and other words, and of two with the same words.
  const seen: string[] = [];
  for (const code of [CODE, OTHER_WORDS, CODE]) {
    const transport = memory();
    const listener = await transport.listen();
    const abort = new AbortController();
    const sharing = share({ text: "hello" }, {
      connect: () => transport.connect(),
      code,
      stateFolder: null,
      signal: abort.signal,
    });
    sharing.catch(() => {});
    const connection = await listener.accept();
    assert(connection !== null);
    const said = new Uint8Array(33 + 23 + 33);
    for (let at = 0; at < said.length;) {
      const count = await connection.read(said.subarray(at));
      assert(count !== null);
      at += count;
    }
    abort.abort(new Error("seen enough"));
    await assert.rejects(sharing);
    connection.close();
    listener.close();
    seen.push(said.subarray(0, 33).toHex(), said.subarray(56).toHex());
  }
  const [id, element, otherId, otherElement, sameId, sameElement] = seen;
  assert.equal(otherId, id, "the identifier depends on the words");
  assert.equal(sameId, id);
  assert.notEqual(otherElement, element);
  assert.notEqual(sameElement, element, "what is derived from the words can be compared with guesses");
});

Deno.test("ruck's chunks without order: records that change places on the way end the transfer, and no file appears", async () => {
  await inPlace(async (place) => {
    const arrived = receiving(place);
    const channel = await attackerBehindSwap(place);
    await offerFile(channel, "report.txt");
    await assert.rejects(arrived, (error) => error instanceof TransferError && error.code === "tampered");
    channel.close();
    assert.deepEqual(pathsBelow(`${place.folder}/in`), []);
  });
});

/** An honest sender behind somebody who lets its first two records change places. */
async function attackerBehindSwap(place: Place): Promise<TransferChannel> {
  const toReceiver = await place.listener.accept();
  assert(toReceiver !== null);
  const inner = memory();
  const innerListener = await inner.listen();
  const near = inner.connect();
  const far = await innerListener.accept();
  assert(far !== null);
  innerListener.close();
  void swapped(far, toReceiver);
  void forwarded(toReceiver, far, []).catch(() => {});
  return await attacker({ ...place, listener: { address: "", accept: () => near, close: () => {} } });
}

/** Hello and confirmation as they are, then the second record before the first. */
async function swapped(from: Connection, to: Connection): Promise<void> {
  const reader = new Exactly(from);
  try {
    await to.write(await reader.bytes(23 + 33));
    await to.write(await reader.record());
    const first = await reader.record(), second = await reader.record();
    await to.write(second);
    await to.write(first);
  } catch {
    // The receiver has hung up on it.
  }
}

/** Reads as many bytes as are asked for. */
class Exactly {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async bytes(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const count = await this.#connection.read(bytes.subarray(at));
      assert(count !== null);
      at += count;
    }
    return bytes;
  }

  async record(): Promise<Uint8Array<ArrayBuffer>> {
    const head = await this.bytes(4);
    const body = await this.bytes(new DataView(head.buffer).getUint32(0));
    return Uint8Array.from([...head, ...body]);
  }
}

Deno.test("ruck's trusted paths: whatever leads out of the target folder is refused, and nothing is written anywhere", async () => {
  for (
    const path of [
      "../escaped.txt",
      "/tmp/escaped.txt",
      "a/../../escaped.txt",
      "C:\\escaped.txt",
      ".postern-0/pairing",
    ]
  ) {
    await inPlace(async (place) => {
      const arrived = receiving(place);
      arrived.catch(() => {});
      const channel = await attacker(place);
      await offerFile(channel, path);
      assert.equal(await stopHeard(channel), "path");
      channel.close();
      await fails(arrived, "path");
      assert.deepEqual(pathsBelow(place.folder), ["in"]);
    });
  }
});

Deno.test("ruck's size as integrity: a file of the right size and other content is no file", async () => {
  await inPlace(async (place) => {
    const arrived = receiving(place);
    arrived.catch(() => {});
    const channel = await attacker(place);
    await offerFile(channel, "report.txt");
    await wantHeard(channel);
    await channel.sendChunk({ type: "data", file: 0, chunk: 0 }, BYTES.map((byte) => byte ^ 1));
    const chunkHash = new Uint8Array(await crypto.subtle.digest("SHA-256", BYTES));
    await channel.send({ type: "hash", file: 0, hash: await fileHash(BYTES.length, chunkHash) });
    assert.equal(await stopHeard(channel), "hash");
    channel.close();
    await fails(arrived, "hash");
    assert.deepEqual(pathsBelow(`${place.folder}/in`), []);
  });
});
