import assert from "node:assert/strict";
import { memoryPair } from "../../../src/protocol/transport/memory.ts";
import { call, contract, stream } from "../../../src/protocol/rpc/contract.ts";
import { ApplicationError, ConnectionError } from "../../../src/protocol/rpc/errors.ts";
import { versionOnly } from "../../../src/protocol/rpc/handshake_policy.ts";
import { hmac } from "../../../src/protocol/rpc/hmac_handshake.ts";
import { implement } from "../../../src/protocol/rpc/implement.ts";
import { messagePackCodec } from "../../../src/protocol/rpc/messagepack_codec.ts";
import { openPeer } from "../../../src/protocol/rpc/open_peer.ts";

const TIMEOUT_MS = 20_000;
const host = contract({ add: call<[number, number], number>() });
const guest = contract({ name: call<null, string>() });
const addends = implement(host, { add: ([a, b]) => a + b });
const names = implement(guest, { name: () => "guest" });

for (const handshake of [versionOnly(), hmac("a secret of more than 16 bytes")]) {
  Deno.test({
    name: `openPeer() shakes hands (${handshake.mode}) and gives peers that call each other`,
    timeout: TIMEOUT_MS,
    async fn(): Promise<void> {
      const [first, second] = memoryPair();
      const common = { handshake, codec: messagePackCodec(), service: "MATH" };
      const [dialler, listener] = await Promise.all([
        openPeer({ ...common, connection: first, role: "dialler", serves: names, calls: host }),
        openPeer({ ...common, connection: second, role: "listener", serves: addends, calls: guest }),
      ]);
      assert.equal(await dialler.client.add([1, 2]), 3);
      assert.equal(await listener.client.name(null), "guest");
      assert.equal(dialler.info.authenticated, handshake.mode === "hmac" ? "secret" : "none");
      await dialler.drain();
      assert.equal((await listener.closed).reason, "normal");
    },
  });
}

Deno.test({
  name: "openPeer() refuses on both sides where the contracts differ, and closes the connection",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const [first, second] = memoryPair();
    const outcomes = await Promise.allSettled([
      openPeer({ connection: first, role: "dialler", calls: guest }),
      openPeer({ connection: second, role: "listener", serves: addends }),
    ]);
    for (const outcome of outcomes) {
      assert(outcome.status === "rejected" && outcome.reason instanceof ConnectionError);
      assert.equal(outcome.reason.reason, "contract_mismatch");
    }
    await assert.rejects(first.write(new Uint8Array(1)));
  },
});

Deno.test({
  name: "openPeer() keeps what each side told: bodies that are too long are refused where they are sent",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const echo = contract({ echo: call<string, string>() });
    const [first, second] = memoryPair();
    const [dialler, listener] = await Promise.all([
      openPeer({ connection: first, role: "dialler", calls: echo }),
      openPeer({
        connection: second,
        role: "listener",
        serves: implement(echo, { echo: (text) => text }),
        limits: { maxBodyBytes: 2000 },
      }),
    ]);
    assert.equal((await dialler.client.echo("x".repeat(1998))).length, 1998);
    await assert.rejects(dialler.client.echo("x".repeat(1999)), { code: "unencodable" });
    assert.equal(await dialler.client.echo("still here"), "still here");
    await dialler.drain();
    await listener.closed;
  },
});

Deno.test({
  name: "a side that takes no bodies at all is told what went wrong, and disturbs nobody",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const odd = contract({
      text: call<null, string>(),
      nothing: call<null, void>(),
      fails: call<null, string>(),
      refuses: call<null, string>(),
      texts: stream<null, string>(),
    });
    const [first, second] = memoryPair();
    const [dialler, listener] = await Promise.all([
      openPeer({ connection: first, role: "dialler", calls: odd, limits: { maxBodyBytes: 0 } }),
      openPeer({
        connection: second,
        role: "listener",
        serves: implement(odd, {
          text: () => "x",
          nothing: () => {},
          fails(): string {
            throw new Error("no");
          },
          refuses(): string {
            throw new ApplicationError("closed", "come back later");
          },
          texts: () => ["x"],
        }),
      }),
    ]);
    const { client } = dialler;
    await assert.rejects(client.text(null), { code: "unencodable" });
    await assert.rejects(client.fails(null), { code: "internal" });
    await assert.rejects(client.refuses(null), { reason: "closed", message: "come back later" });
    await assert.rejects(client.texts(null).next(), { code: "unencodable" });
    assert.equal(await client.nothing(null), undefined);
    listener.close("internal", "the disk is full");
    const { reason, by, message } = await dialler.closed;
    assert.deepEqual([reason, by, message], ["internal", "there", "the disk is full"]);
    await listener.closed;
  },
});

Deno.test({
  name: "openPeer() refuses handlers made for other methods of the other side before it shakes hands",
  timeout: TIMEOUT_MS,
  async fn(): Promise<void> {
    const [first, second] = memoryPair();
    const serves = implement(guest, { name: () => "guest" }, host);
    await assert.rejects(openPeer({ connection: first, role: "dialler", serves, calls: guest }), TypeError);
    assert.equal(await second.read(new Uint8Array(1)), null);
  },
});
