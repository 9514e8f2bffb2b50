/** What a program's author reads after a typical mistake: what could not be done, what was found, what is accepted. */
import assert from "node:assert/strict";
import { call, type Client, contract, type Schema } from "../../../src/protocol/rpc/contract.ts";
import { NodeBuilder } from "../../../src/protocol/rpc/node.ts";
import { memory } from "../../../src/protocol/transport/memory.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";

/** Refuses everything, for a reason three levels down. */
const picky: Schema<unknown> = {
  "~standard": {
    version: 1,
    validate: () => ({ issues: [{ message: "a secret", path: ["orders", 0, { key: "count" }] }] }),
  },
};
const SHOP = contract({
  length: call<string, number>(),
  take: call<unknown, unknown>(),
  order: call<unknown, void>({ input: picky }),
  wait: call<void, void>(),
  fail: call<void, void>(),
});

async function withShop(act: (client: Client<typeof SHOP>) => Promise<void>): Promise<void> {
  const transport = memory();
  await using client = await new NodeBuilder()
    .serve(SHOP, transport, {
      length: (text) => text.length,
      take: (value) => value,
      order: () => {},
      wait: (_, { signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      fail: () => {
        throw new Error("a secret");
      },
    })
    .connect(SHOP, transport)
    .start();
  await act(client);
}

Deno.test("a value that is too long is refused with its length, the limit and the limit's name", async () => {
  await withShop(async (client) => {
    const message =
      /^cannot send a body: found \d{7} bytes, accepted are 4194304 \(maxBodyBytes of the other side\)$/;
    await assert.rejects(client.length("x".repeat(5_000_000)), { code: "unencodable", message });
    await assert.rejects(client.take([..."x".repeat(2_000_000)]), { code: "unencodable", message });
  });
});

Deno.test("bytes are refused by the codec that would change them, with the names of those that take them", async () => {
  const message = "cannot write a value as JSON: found a Uint8Array, which would arrive as a plain object; " +
    "messagePackCodec() and viewCodec() take a Uint8Array";
  await withShop(async (client) => {
    await assert.rejects(client.take(Uint8Array.of(1)), { code: "unencodable", message });
    await assert.rejects(client.take({ a: [{ b: new Uint8Array() }] }), { code: "unencodable", message });
  });
});

Deno.test("what the schema refuses is named by its place, and by nothing that was in the value", async () => {
  await withShop(async (client) => {
    await assert.rejects(client.order({}), {
      code: "invalid_argument",
      message:
        'cannot take the input of "order": it does not have the form of the contract at orders.0.count',
    });
  });
});

Deno.test("a deadline that is over is named with its length", async () => {
  await withShop(async (client) => {
    await assert.rejects(client.wait(undefined, { deadlineMs: 20 }), {
      code: "deadline_exceeded",
      message: '"wait" did not answer within 20 ms, its deadline',
    });
  });
});

Deno.test("a handler's failure stays there; the caller is told where to look", async () => {
  await withShop(async (client) => {
    await assert.rejects(client.fail(), {
      code: "internal",
      message: '"fail" failed; the event "handler_failed" of the side that serves it says why',
    });
  });
});

Deno.test("a contract that differs is refused with what is compared", async () => {
  const transport = memory();
  await using _node = await new NodeBuilder()
    .serve(contract({ a: call<void, void>() }), transport, { a: () => {} }).start();
  await assert.rejects(new NodeBuilder().connect(contract({ b: call<void, void>() }), transport).start(), {
    reason: "contract_mismatch",
    message: /found another contract .*: names, shapes and version of the methods are compared$/,
  });
});

Deno.test("a port where something else is spoken is refused with that suspicion", async () => {
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: (): void => {} },
    () => new Response(),
  );
  await assert.rejects(new NodeBuilder().connect(SHOP, tcp(`127.0.0.1:${server.addr.port}`)).start(), {
    reason: "handshake_malformed",
    message: /what came is not this protocol: /,
  });
});

Deno.test("a node that is told the same thing twice says that another node takes it", () => {
  const handlers = { b: (): void => {} }, one = contract({ b: call<void, void>() });
  assert.throws(() => new NodeBuilder().serve(one, memory(), handlers).serve(one, memory(), handlers), {
    name: "TypeError",
    message: "cannot serve: the node was told so already, a second one is for another node",
  });
});
