import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sharedBodyPool } from "../../../src/protocol/rpc/body_pool.ts";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { giveBack } from "../../../src/protocol/rpc/give_back.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { viewCodec } from "../../../src/protocol/rpc/view_codec.ts";
import type { TypedArray } from "../../../src/protocol/rpc/view_format.ts";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import type { Connection } from "../../../src/protocol/transport/transport.ts";
import { peerPair } from "./peer_pair.ts";

const TIMEOUT_MS = 10_000;
const images = contract({ echo: call<TypedArray, TypedArray>(), relay: call<TypedArray, null>() });
const echo = (image: TypedArray): TypedArray => image;
const LONG_BYTES = 100_000;

Deno.test({
  name: "giveBack() empties an output at once for those that come next, and leaves the others alone",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    await using pair = peerPair({
      codec: viewCodec(),
      dialler: { calls: images },
      listener: { serves: implement(images, { echo, relay: () => null }) },
    });
    const { client } = pair.dialler;
    for (const size of [8, LONG_BYTES]) {
      const outputs: TypedArray[] = [];
      for (let i = 0; i < 20; i++) {
        const output = await client.echo(new Uint8Array(size).fill(i));
        assert.deepEqual(output, new Uint8Array(size).fill(i));
        outputs.push(output);
        if (i % 2 === 0) {
          const before = sharedBodyPool.keptBytes;
          giveBack(output);
          assert(sharedBodyPool.keptBytes > before);
        }
      }
      for (const [i, output] of outputs.entries()) {
        if (i % 2 === 0) assert.equal(output.length, 0);
        else assert.deepEqual(output, new Uint8Array(size).fill(i));
      }
    }
  },
});

Deno.test("giveBack() refuses memory that is not the array's alone", () => {
  const resizable = new Uint8Array(new ArrayBuffer(8, { maxByteLength: 16 }));
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  const ofWebAssembly = new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer);
  for (const array of [resizable, shared, ofWebAssembly]) {
    const before = array.length;
    assert.throws(() => giveBack(array), TypeError);
    assert.equal(array.length, before);
  }
  const own = new Float64Array(8);
  giveBack(own);
  giveBack(own);
  assert.equal(own.length, 0);
});

Deno.test("giveBack() refuses an array that is a part of something else, and leaves the neighbours alone", () => {
  const whole = new Uint8Array(64).fill(7);
  const pooled = Buffer.from("a secret of the neighbour").subarray(2, 8);
  for (
    const part of [whole.subarray(1), whole.subarray(0, 63), new Float64Array(whole.buffer, 8, 7), pooled]
  ) {
    assert.throws(() => giveBack(part), { name: "TypeError", message: /found a part of a buffer/ });
  }
  assert.deepEqual(whole, new Uint8Array(64).fill(7));
  assert.equal(pooled.toString(), "secret");
});

Deno.test({
  name: "giveBack() takes each array of an output and of an item, but not the input of a running handler",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    interface Pair {
      readonly first: TypedArray;
      readonly second: TypedArray;
    }
    const pairs = contract({ both: stream<TypedArray, Pair>(), first: call<Pair, null>() });
    const refusals: unknown[] = [];
    await using pair = peerPair({
      codec: viewCodec(),
      dialler: { calls: pairs },
      listener: {
        serves: implement(pairs, {
          both: (image) => [{ first: image, second: image }, { first: image, second: image }],
          first({ first }): null {
            try {
              giveBack(first);
            } catch (error) {
              refusals.push(error);
            }
            return null;
          },
        }),
      },
    });
    const { client } = pair.dialler;
    for (const size of [8, LONG_BYTES]) {
      const items = await Array.fromAsync(client.both(new Uint8Array(size).fill(3)));
      const [one, other] = items;
      assert(one !== undefined && other !== undefined);
      giveBack(one.first);
      giveBack(other.second);
      for (const item of items) assert.deepEqual([item.first.length, item.second.length], [0, 0]);
      await client.first({ first: new Uint8Array(size), second: new Uint8Array(size) });
    }
    assert.deepEqual(refusals.map((error) => error instanceof TypeError), [true, true]);
  },
});

Deno.test({
  name: "what is being sent stays as it is, though its handler has settled or it is given back",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    // The second hop writes nothing until it is told to.
    const [near, far] = memoryPair();
    const gate = Promise.withResolvers<void>();
    const arrived: TypedArray[] = [];
    await using second = peerPair({
      codec: viewCodec(),
      connections: [slow(near, gate.promise), far],
      dialler: { calls: images },
      listener: {
        serves: implement(images, {
          echo,
          relay(image): null {
            arrived.push(image.slice());
            return null;
          },
        }),
      },
    });
    const sent: Promise<unknown>[] = [];
    await using first = peerPair({
      codec: viewCodec(),
      dialler: { calls: images },
      listener: {
        serves: implement(images, {
          echo,
          relay(image): null {
            sent.push(second.dialler.client.relay(image)); // and does not wait for it
            return null;
          },
        }),
      },
    });
    const { client } = first.dialler;
    await client.relay(new Uint8Array(LONG_BYTES).fill(1));
    const output = await client.echo(new Uint8Array(LONG_BYTES).fill(2));
    sent.push(second.dialler.client.relay(output));
    giveBack(output);
    assert.equal(output.length, LONG_BYTES);
    for (let i = 0; i < 5; i++) await client.echo(new Uint8Array(LONG_BYTES).fill(9));
    gate.resolve();
    await Promise.all(sent);
    assert.deepEqual(arrived, [1, 2].map((byte) => new Uint8Array(LONG_BYTES).fill(byte)));
    giveBack(output);
    assert.equal(output.length, 0);
  },
});

/** Begins to write only when the promise has settled. */
function slow(connection: Connection, ready: Promise<void>): Connection {
  return {
    transport: connection.transport,
    confidential: connection.confidential,
    localAddress: connection.localAddress,
    remoteAddress: connection.remoteAddress,
    read: (buffer) => connection.read(buffer),
    async write(bytes): Promise<void> {
      await ready;
      await connection.write(bytes);
    },
    closeWrite: () => connection.closeWrite(),
    close: () => connection.close(),
  };
}
