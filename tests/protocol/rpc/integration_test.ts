/** The same body over every transport and both codecs of plain values: both ends serve and call at once. */
import assert from "node:assert/strict";
import type { Codec } from "../../../src/protocol/rpc/codec.ts";
import { call, contract, duplex, stream, upload } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError, RpcError } from "../../../src/protocol/rpc/errors.ts";
import { implement, type Served } from "../../../src/protocol/rpc/implement.ts";
import { jsonCodec } from "../../../src/protocol/rpc/json_codec.ts";
import { messagePackCodec } from "../../../src/protocol/rpc/messagepack_codec.ts";
import type { Peer } from "../../../src/protocol/rpc/peer.ts";
import { EVERY_TRANSPORT, type TransportUnderTest } from "./every_transport.ts";
import { peerPair } from "./peer_pair.ts";

const TIMEOUT_MS = 60_000;
const NOTHING = { pending: 0, waiting: 0, handlers: 0, streams: 0, timers: 0, queuedBytes: 0 };

/** Each side serves this and calls it on the other. */
const duel = contract({
  echo: call<unknown, unknown>(),
  fail: call<string, null>(),
  never: call<null, null>(),
  bounce: call<number, number>(),
  count: stream<number, number>(),
  faulty: stream<number, number>(),
  sum: upload<number, number, number>(),
  firstOf: upload<null, number, number>(),
  double: duplex<null, number, number>(),
});

interface Watch {
  readonly aborted: string[];
  readonly returned: string[];
}

function served(watch: Watch): Served {
  return implement(duel, {
    echo: (value) => value,
    fail: (reason) => {
      throw new ApplicationError(reason, `because of ${reason}`);
    },
    never: (_input, { signal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          watch.aborted.push((signal.reason as RpcError).code);
          reject(signal.reason);
        });
      }),
    bounce: (height, { client }) => height === 0 ? 0 : client.bounce(height - 1).then((fallen) => fallen + 1),
    async *count(to): AsyncGenerator<number> {
      try {
        for (let i = 0; i < to; i++) yield i;
      } finally {
        watch.returned.push("count");
      }
    },
    *faulty(after): Generator<number> {
      for (let i = 0; i < after; i++) yield i;
      throw new ApplicationError("faulty", "no more");
    },
    async sum(start, items): Promise<number> {
      let sum = start;
      for await (const item of items) sum += item;
      return sum;
    },
    async firstOf(_input, items): Promise<number> {
      for await (const item of items) return item;
      return -1;
    },
    async *double(_input, items): AsyncGenerator<number> {
      for await (const item of items) yield 2 * item;
    },
  }, duel);
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function code(outcome: Promise<unknown>): Promise<string> {
  return await outcome.then(() => "no error", (error: RpcError) => error.code);
}

/** What one side does to the other. */
async function exercise({ client }: Peer<typeof duel>, watch: Watch): Promise<void> {
  const value = { text: "h\u00e4llo \u{1f600}", list: [1, -2.5, true, null, "x"], deep: { a: { b: {} } } };
  assert.deepEqual(await client.echo(value), value);
  assert.equal(await client.echo("x".repeat(1_000_000)), "x".repeat(1_000_000));
  const many = Array.from({ length: 3000 }, (_, i) => i);
  assert.deepEqual(await Promise.all(many.map((i) => client.echo(i))), many);
  assert.equal(await client.bounce(20), 20);

  const error: unknown = await client.fail("no_luck").catch((thrown) => thrown);
  assert(error instanceof ApplicationError);
  assert.deepEqual([error.reason, error.message], ["no_luck", "because of no_luck"]);
  assert.equal(await code(client.echo("x".repeat(5_000_000))), "unencodable");
  assert.equal(await code(client.never(null, { deadlineMs: 5 })), "deadline_exceeded");
  assert.equal(await code(client.never(null, { signal: AbortSignal.timeout(5) })), "cancelled");

  assert.deepEqual(await collect(client.count(5000)), Array.from({ length: 5000 }, (_, i) => i));
  for await (const item of client.count(1e9)) {
    if (item === 10) break;
  }
  const faulty = client.faulty(3), got: number[] = [];
  await assert.rejects(async () => {
    for await (const item of faulty) got.push(item);
  }, { code: "application", reason: "faulty" });
  assert.deepEqual(got, [0, 1, 2]);

  assert.equal(await client.sum(100, [1, 2, 3]), 106);
  assert.equal(await client.firstOf(null, endless(watch)), 0);
  const failing = client.sum(0, failingItems());
  const refused: unknown = await failing.catch((thrown) => thrown);
  assert(refused instanceof ApplicationError && refused.reason === "no_paper");
  assert(refused.cause instanceof ApplicationError);
  assert.deepEqual(await collect(client.double(null, [1, 2, 3])), [2, 4, 6]);
  for await (const item of client.double(null, endless(watch))) {
    if (item === 100) break;
  }
}

async function* endless(watch: Watch): AsyncGenerator<number> {
  try {
    for (let i = 0;; i++) yield i;
  } finally {
    watch.returned.push("endless");
  }
}

function* failingItems(): Generator<number> {
  yield 1;
  throw new ApplicationError("no_paper", "the printer is empty");
}

/** What is left to be told or to settle arrives soon; a ping goes behind everything before it. */
async function untilNothingIsOpen(peers: readonly Peer<typeof duel>[]): Promise<void> {
  const isBusy = (peer: Peer<typeof duel>): boolean =>
    Object.values(peer.counts()).some((count) => count > 0);
  for (let turns = 0; turns < 1000 && peers.some(isBusy); turns++) {
    await Promise.all(peers.map((peer) => peer.ping()));
  }
  for (const peer of peers) assert.deepEqual(peer.counts(), NOTHING);
}

async function run(transport: TransportUnderTest, codec: Codec): Promise<void> {
  await using ends = await transport.open();
  const watches = { dialler: { aborted: [], returned: [] }, listener: { aborted: [], returned: [] } };
  await using pair = peerPair({
    connections: ends.connections,
    codec,
    dialler: { serves: served(watches.dialler), calls: duel },
    listener: { serves: served(watches.listener), calls: duel },
  });
  const ours: Watch = { aborted: [], returned: [] }, theirs: Watch = { aborted: [], returned: [] };
  await Promise.all([exercise(pair.dialler, ours), exercise(pair.listener, theirs)]);
  await untilNothingIsOpen([pair.dialler, pair.listener]);
  for (const watch of [watches.dialler, watches.listener]) {
    assert.equal(watch.aborted.length, 2);
    assert.deepEqual(watch.returned, ["count", "count"]);
  }
  for (const watch of [ours, theirs]) assert.deepEqual(watch.returned, ["endless", "endless"]);

  const last = pair.listener.client.echo("last words");
  await pair.dialler.drain();
  assert.equal(await last, "last words");
  assert.deepEqual([(await pair.dialler.closed).reason, (await pair.dialler.closed).by], ["normal", "here"]);
  assert.deepEqual([(await pair.listener.closed).reason, (await pair.listener.closed).by], [
    "normal",
    "there",
  ]);
}

for (const transport of EVERY_TRANSPORT) {
  for (const codec of [jsonCodec(), messagePackCodec()]) {
    const unsupported = transport.unsupported ?? null;
    const skipped = unsupported === null ? "" : ` (skipped: ${unsupported})`;
    Deno.test({
      name:
        `peers over ${transport.name} with ${codec.id}: everything that can be called, both ways${skipped}`,
      ignore: unsupported !== null,
      timeout: TIMEOUT_MS,
      fn: () => run(transport, codec),
    });
  }
}
