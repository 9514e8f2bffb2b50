/** What becomes of the memory that an input lies on, with a codec whose values point into it. */
import assert from "node:assert/strict";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError, type RpcError } from "../../../src/protocol/rpc/errors.ts";
import { FRAME_KINDS } from "../../../src/protocol/rpc/frame.ts";
import { FrameWriter } from "../../../src/protocol/rpc/frame_writer.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { DEFAULT_LIMITS } from "../../../src/protocol/rpc/limits.ts";
import { Peer } from "../../../src/protocol/rpc/peer.ts";
import { viewCodec } from "../../../src/protocol/rpc/view_codec.ts";
import { FakeTimers, settled } from "./fake_timers.ts";
import { peerPair, STRANGER } from "./peer_pair.ts";

const TIMEOUT_MS = 20_000;
const files = contract({
  save: call<Uint8Array, null>(),
  watch: stream<Uint8Array, number>(),
  echo: call<Uint8Array, Uint8Array>(),
});

/** What a handler does with its input, and how its caller gives up. */
interface Ending {
  readonly save?: (signal: AbortSignal, whenTold: Promise<void>) => null | Promise<null>;
  readonly watch?: (whenTold: Promise<void>) => AsyncIterable<number>;
  readonly giveUp?: "signal" | "deadline" | "break";
  readonly code: string;
}

const endings: Readonly<Record<string, Ending>> = {
  "throws at once": {
    save: () => {
      throw new ApplicationError("no", "no");
    },
    code: "application",
  },
  "throws later": {
    save: (_signal, whenTold) => whenTold.then(() => Promise.reject(new Error("no"))),
    code: "internal",
  },
  "heeds its signal": {
    save: (signal) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    giveUp: "signal",
    code: "cancelled",
  },
  "settles well after it was cancelled": {
    save: (_signal, whenTold) => whenTold.then(() => null),
    giveUp: "signal",
    code: "cancelled",
  },
  "settles well after its deadline": {
    save: (_signal, whenTold) => whenTold.then(() => null),
    giveUp: "deadline",
    code: "deadline_exceeded",
  },
  "gives what cannot be sent": {
    save: () => Symbol() as unknown as null,
    code: "unencodable",
  },
  "gives items that are read no more": {
    watch: (whenTold) => ({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: 1 }),
        return: () => whenTold.then(() => ({ done: true, value: undefined })),
      }),
    }),
    giveUp: "break",
    code: "no error",
  },
};

for (const [how, { save, watch, giveUp, code }] of Object.entries(endings)) {
  for (const size of [10, 100_000]) {
    Deno.test({
      name: `the input of ${size} bytes of a handler that ${how} is used for nothing else`,
      timeout: TIMEOUT_MS,
      async fn(): Promise<void> {
        const timers = new FakeTimers(), told = Promise.withResolvers<void>();
        const kept: Uint8Array[] = [];
        await using pair = peerPair({
          codec: viewCodec(),
          timers,
          dialler: { calls: files },
          listener: {
            serves: implement(files, {
              save(input, { signal }): null | Promise<null> {
                kept.push(input);
                return save?.(signal, told.promise) ?? null;
              },
              watch(input): Iterable<number> | AsyncIterable<number> {
                kept.push(input);
                return watch?.(told.promise) ?? [];
              },
              echo: (input) => input,
            }),
          },
        });
        const { client } = pair.dialler;
        const controller = new AbortController();
        const input = new Uint8Array(size).fill(1);
        const outcome = (async (): Promise<void> => {
          if (watch === undefined) {
            await client.save(input, { signal: controller.signal, deadlineMs: 1000 });
          } else {
            for await (const _item of client.watch(input)) break;
          }
        })().then(() => "no error", (error: RpcError) => error.code);
        await settled();
        if (giveUp === "signal") controller.abort();
        if (giveUp === "deadline") await timers.pass(1000);
        await settled();
        told.resolve();
        assert.equal(await outcome, code);
        for (let i = 0; i < 5; i++) await client.echo(new Uint8Array(size).fill(9));
        assert.equal(pair.listener.counts().handlers, 0);
        // Not the arrays themselves: telling how two of them differ takes longer than the time there is.
        assert.deepEqual(kept.map((view) => [view.length, view.every((byte) => byte === 1)]), [[size, true]]);
      },
    });
  }
}

Deno.test({
  name: "the input of a handler whose items are stopped by a frame is used for nothing else",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const [near, far] = memoryPair(), codec = viewCodec(), kept: Uint8Array[] = [];
    let returned = false;
    const peer = new Peer({
      connection: far,
      role: "listener",
      codec,
      serves: implement(files, {
        save: () => null,
        watch(input): AsyncIterable<number> {
          kept.push(input);
          return {
            [Symbol.asyncIterator]: () => ({
              next: () => new Promise((resolve) => setTimeout(resolve, 1, { done: returned, value: 1 })),
              return(): Promise<IteratorResult<number>> {
                returned = true;
                return Promise.resolve({ done: true, value: undefined });
              },
            }),
          };
        },
        echo: (input) => input,
      }),
      calls: null,
      peer: STRANGER,
      limits: DEFAULT_LIMITS,
      told: DEFAULT_LIMITS,
      timers: new FakeTimers(),
    });
    const writer = new FrameWriter({ maxBodyBytes: 1000 });
    async function send(kind: number, method: number, id: number, input: Uint8Array | null): Promise<void> {
      writer.add(kind, method, id, 0, input === null ? null : codec.encode(input));
      for (const bytes of writer.take()) await near.write(bytes);
      await settled();
    }
    await send(FRAME_KINDS.call, files.names.indexOf("watch"), 1, new Uint8Array(10).fill(1));
    await send(FRAME_KINDS.stop, 0, 1, null);
    while (peer.counts().handlers > 0) await settled();
    await send(FRAME_KINDS.call, files.names.indexOf("echo"), 3, new Uint8Array(10).fill(9));
    assert.deepEqual(kept, [new Uint8Array(10).fill(1)]);
    near.close();
    await peer.closed;
  },
});
