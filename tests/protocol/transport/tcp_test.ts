import assert from "node:assert/strict";
import {
  listenerConformance,
  pairsOf,
  transportConformance,
} from "../../../src/protocol/transport/conformance.ts";
import { tcp } from "../../../src/protocol/transport/tcp.ts";

const transport = tcp("127.0.0.1:0");
for (const { name, run } of transportConformance(pairsOf(transport))) {
  Deno.test(`tcp() connection ${name}`, run);
}
for (const { name, run } of listenerConformance(transport)) Deno.test(`tcp() listener ${name}`, run);

Deno.test("tcp() listens on IP version 6 and tells the address in brackets", async () => {
  const listener = await tcp("[::1]:0").listen();
  assert.match(listener.address, /^\[::1\]:[1-9][0-9]*$/);
  const accepting = listener.accept();
  const connection = await tcp().connect(listener.address);
  assert.equal(connection.remoteAddress, listener.address);
  assert.equal((await accepting)?.localAddress, listener.address);
  connection.close();
  (await accepting)?.close();
  listener.close();
});

Deno.test("tcp() says that it wants an address when it has none", async () => {
  const wanted = { code: "address", message: /no address was given, it wants host:port/ };
  await assert.rejects(tcp().listen(), wanted);
  await assert.rejects(tcp().connect(), wanted);
});

Deno.test("tcp() says address when it cannot listen there", async () => {
  // TEST-NET-1 of RFC 5737 is nobody's.
  await assert.rejects(tcp("192.0.2.1:0").listen(), {
    code: "address",
    message: /^cannot listen on tcp 192\.0\.2\.1:0: /,
  });
});

Deno.test("tcp() says refused when a name does not exist", async () => {
  await assert.rejects(tcp("postern.invalid:1").connect(), { code: "refused" });
});

Deno.test({
  name: "tcp() names the flag when the permission is missing",
  permissions: "none",
  async fn(): Promise<void> {
    const wanted = { code: "permission", message: /run it with --allow-net=127\.0\.0\.1:1$/ };
    await assert.rejects(tcp("127.0.0.1:1").listen(), wanted);
    await assert.rejects(tcp("127.0.0.1:1").connect(), wanted);
  },
});
